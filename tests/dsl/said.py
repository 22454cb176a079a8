"""For tests: what a workflow's JSON says, and what is wrong with it."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any

import pytest

from dagnats.dsl.workflow import Workflow
from dagnats.errors import DefinitionError, Problem


def untyped(value: Any) -> Any:
    """`value`, as a program sees it that no type checker looks at."""
    return value


def written(wf: Workflow) -> dict[str, Any]:
    """The built definition as JSON, without what every workflow says."""
    document: dict[str, Any] = json.loads(wf.to_json())
    return {key: value for key, value in document.items() if key not in ("$schema", "name")}


def step_of(wf: Workflow, at: int = -1) -> dict[str, Any]:
    """One step of the built definition, without id and task."""
    return {key: value for key, value in written(wf)["steps"][at].items() if key not in ("id", "task")}


def problems_of(wf: Workflow) -> tuple[Problem, ...]:
    """All that the build complains of."""
    with pytest.raises(DefinitionError) as caught:
        wf.build()
    return caught.value.problems


def told(wf: Workflow) -> list[tuple[str, str, int]]:
    """Path, rule and line of every problem; all of them must lie in the caller's file."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    here = os.path.relpath(frame.f_back.f_code.co_filename)
    found: list[tuple[str, str, int]] = []
    for problem in problems_of(wf):
        file, _, line = problem.source.rpartition(":")
        assert file == here, problem
        found.append((problem.path, problem.rule, int(line)))
    return found


def line() -> int:
    """The caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno
