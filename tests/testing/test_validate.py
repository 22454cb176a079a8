"""`validate` is strict where a build only warns, and reads whatever a definition can be in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagnats import DefinitionError, Workflow
from dagnats.testing import validate

if TYPE_CHECKING:
    from pathlib import Path


def solo() -> Workflow:
    wf = Workflow("solo")
    wf.task("a", "t")
    return wf


def parent(child: str) -> Workflow:
    wf = Workflow("parent")
    wf.sub_workflow("part", child)
    return wf


def rules(wf: Any, **settings: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        validate(wf, **settings)
    return [problem.rule for problem in caught.value.problems]


def test_a_definition_is_taken_from_wherever_it_is(tmp_path: Path) -> None:
    wf = solo()
    definition = wf.build()
    file = tmp_path / "solo.json"
    file.write_bytes(wf.to_json())
    for given in (wf, definition, file, wf.to_json(), wf.to_json().decode()):
        assert validate(given) == definition


def test_something_else_is_a_type_error() -> None:
    nothing: Any = None
    with pytest.raises(TypeError, match="a workflow, a definition, a path or JSON is expected, not None"):
        validate(nothing)


def test_every_mistake_is_told() -> None:
    wf = Workflow("w", timeout="soon")
    wf.task("a", "t").after("b")
    assert sorted(rules(wf)) == ["duration", "unknown-step"]
    assert rules(b"{}") == ["required", "required"]


def test_a_warning_is_a_mistake_unless_it_is_allowed() -> None:
    wf = Workflow("w")
    wf.sleep("nap", "1m").with_retries(2)
    assert rules(wf) == ["no-effect"]
    assert validate(wf, allow={"no-effect"}) == wf.build()


def test_what_a_step_runs_must_be_known_when_one_says_what_is() -> None:
    wf = parent("solo")
    assert validate(wf) == validate(wf, known=[solo()]) == validate(wf, known=["solo"])
    assert rules(parent("sole"), known=[solo()]) == ["unknown-workflow"]
    assert rules(wf, known=[]) == ["unknown-workflow"]
