"""The committed JSON of every workflow in `workflows/` is what its Python says, byte for byte."""

from __future__ import annotations

import asyncio
import json
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from syrupy.assertion import SnapshotAssertion

from dagnats import Workflow
from dagnats.dsl.discover import discover
from dagnats.model.check import load_definition
from dagnats.model.definition import WorkflowDef
from dagnats.model.scalar import StepType
from dagnats.testing import CompiledJson, validate
from tests.support.processes import ROOT
from workflows import code_review, hello, order

WORKFLOWS = list(discover([str(ROOT / "workflows")]).workflows.values())
BUILT = ROOT / "workflows" / "build"
VALIDATOR: Any = Draft202012Validator(json.loads((BUILT / "workflow.schema.json").read_bytes()))
NAMES = {
    "code-review",
    "etl",
    "expense-approval",
    "fulfilment",
    "hello-pipeline",
    "nightly-report",
    "order",
    "parcel",
    "quote-api",
    "research",
}


def test_every_example_is_found() -> None:
    assert {workflow.name for workflow in WORKFLOWS} == NAMES


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_a_workflow_compiles_to_its_pinned_bytes(workflow: Workflow, snapshot: SnapshotAssertion) -> None:
    assert workflow == snapshot(extension_class=CompiledJson)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_the_committed_file_is_up_to_date(workflow: Workflow) -> None:
    assert (BUILT / f"{workflow.name}.json").read_bytes() == workflow.to_json()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_an_independent_validator_accepts_the_committed_file(workflow: Workflow) -> None:
    document = json.loads((BUILT / f"{workflow.name}.json").read_bytes())
    assert VALIDATOR.is_valid(document)
    assert load_definition(document) == workflow.build()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_an_example_has_not_even_a_warning(workflow: Workflow) -> None:
    assert validate(workflow, known=WORKFLOWS) == workflow.build()


def test_the_examples_have_a_step_of_every_type() -> None:
    types = {step.type for workflow in WORKFLOWS for step in workflow.build().steps}
    assert types == set(get_args(StepType))


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
    assert load_definition(guide) == without_schemas(hello.wf)


def test_the_code_review_is_that_of_the_guide() -> None:
    guide = (ROOT / "tests" / "model" / "documents" / "code-review.json").read_bytes()
    assert load_definition(guide) == without_schemas(code_review.wf)


def without_schemas(workflow: Workflow) -> WorkflowDef:
    """The definition without what is derived from the handlers' types."""
    return workflow.build().model_copy(update={"input_schema": None, "output_schema": None})
