"""What a workflow promises to return is looked at when its run ends."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats import Workflow, handler
from dagnats.testing import Harness

SCHEMA = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer"}}}


@handler("schema.answer")
async def answer(value: Any) -> Any:
    return value if value != "large" else {"total": 1, "text": "x" * 300_000}


def promising() -> Workflow[Any, Any]:
    workflow = Workflow("promising", output=SCHEMA)
    workflow.task("answer", answer)
    return workflow


@pytest.mark.parametrize("given", [{"total": 3}, {"total": 3, "more": []}, "large"])
async def test_a_run_whose_output_fits_completes(given: Any) -> None:
    async with Harness([promising()]) as harness:
        assert (await (await harness.start("promising", given)).wait()).status == "completed"


@pytest.mark.parametrize(
    ("given", "why"),
    [({}, "'total' is a required property"), ({"total": "3"}, "total"), (None, "$: None is not of type 'object'")],
)
async def test_a_run_whose_output_does_not_fit_fails_and_says_why(given: Any, why: str) -> None:
    async with Harness([promising()]) as harness:
        view = await (await harness.start("promising", given)).wait()
        assert view.status == "failed"
        assert view.error.startswith("the output does not fit the workflow's output_schema: ")
        assert why in view.error


async def test_a_child_whose_output_does_not_fit_fails_its_step() -> None:
    parent = Workflow("parent")
    parent.sub_workflow("child", "promising")
    async with Harness([promising(), parent]) as harness:
        view = await (await harness.start("parent", {})).wait()
        assert (view.status, view.failed_step) == ("failed", "child")
        assert "output_schema" in view.error
