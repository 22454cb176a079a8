"""The committed JSON of every workflow in `workflows/` is what its Python says, byte for byte."""

from __future__ import annotations

import asyncio
import json

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension

from dagnats import Workflow
from dagnats.model.check import load_definition
from tests.support.processes import ROOT
from workflows import hello, order

WORKFLOWS = [hello.wf, order.wf]
BUILT = ROOT / "workflows" / "build"


class ExactJson(SingleFileSnapshotExtension):
    """One file a snapshot, compared byte for byte."""

    file_extension = "json"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_a_workflow_compiles_to_its_pinned_bytes(workflow: Workflow, snapshot: SnapshotAssertion) -> None:
    assert workflow.to_json() == snapshot(extension_class=ExactJson)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_the_committed_file_is_up_to_date(workflow: Workflow) -> None:
    assert (BUILT / f"{workflow.name}.json").read_bytes() == workflow.to_json()


def test_nothing_else_is_committed_there() -> None:
    expected = {f"{workflow.name}.json" for workflow in WORKFLOWS} | {"workflow.schema.json"}
    assert {file.name for file in BUILT.iterdir()} == expected


def test_the_order_saga_says_what_undoes_what() -> None:
    steps = {step["id"]: step for step in json.loads(order.wf.to_json())["steps"]}
    assert steps["reserve"]["compensate"] == "release"
    assert steps["charge"]["compensate"] == "refund"
    assert steps["record"]["on_failure"] == "notify-billing"
    assert steps["ship"]["depends_on"] == ["charge"]


def test_the_pipeline_greets_the_world_when_it_is_started_without_input() -> None:
    name = hello.greet.input_codec.decode(b"")
    assert asyncio.run(hello.greet(name)) == "Hello, World!"


def test_the_pipeline_has_the_retry_policy_of_the_first_workflow_guide() -> None:
    guide: dict[str, object] = {
        "name": "hello-pipeline",
        "version": "1.0",
        "steps": [
            {
                "id": "greet",
                "task": "greet",
                "depends_on": [],
                "timeout": "30s",
                "type": "normal",
                "retry": {
                    "max_attempts": 3,
                    "strategy": "exponential",
                    "initial_delay": "1s",
                    "max_delay": "30s",
                    "multiplier": 2.0,
                },
            },
            {"id": "uppercase", "task": "uppercase", "depends_on": ["greet"]},
            {"id": "reverse", "task": "reverse", "depends_on": ["uppercase"]},
        ],
    }
    assert load_definition(guide) == hello.wf.build()
