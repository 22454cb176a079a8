import asyncio

from syrupy.assertion import SnapshotAssertion

from dagnats.testing import validate
from workflows.greeting import fetch_name, greet, wf


def test_it_is_a_valid_workflow_and_nothing_looks_wrong() -> None:
    definition = validate(wf)
    assert [step.id for step in definition.steps] == ["name", "greeting"]


def test_its_json_changes_only_when_somebody_means_it(workflow_snapshot: SnapshotAssertion) -> None:
    assert wf == workflow_snapshot


def test_a_stranger_is_greeted_too() -> None:
    name = asyncio.run(fetch_name(7))
    assert asyncio.run(greet(name)) == "Hello, stranger!"
