"""Steps that fail without a worker having said so: they lead where every failure leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from history import History, graph, step, typed

if TYPE_CHECKING:
    from collections.abc import Callable

MATCH = {"left": "n", "op": "eq", "right": "input.nowhere"}
FAILING: dict[str, tuple[dict[str, Any], Callable[[History], Any]]] = {
    "approval": ({"subject": "ask", "timeout": "1h"}, lambda history: history.rejected("s")),
    "approval that expires": ({"subject": "ask", "timeout": "1h"}, lambda history: history.tick()),
    "sleep": ({"until_input_path": "nowhere"}, lambda _: None),
    "wait_for_event": ({"event": "e", "timeout": "1h", "match": MATCH}, lambda _: None),
    "sub_workflow": ({"workflow": "child"}, lambda history: history.child_failed("s")),
    "planner": ({"max_steps": 2}, lambda history: history.completed("s", "no plan")),
    "agent_loop": ({"max_iterations": 1}, lambda history: history.continued("s")),
    "map": ({"max_items": 3}, lambda history: history.failed("s.map.1")),
    "map of nothing": ({"max_items": 1}, lambda _: None),
    "respond": ({"body_from": "nowhere"}, lambda _: None),
}


def failed(kind: str, **settings: Any) -> History:
    """A run whose step `s` has failed after `a` had completed."""
    config, fail = FAILING[kind]
    undone = {"compensate": "undo"} if "undo" in settings else {}
    ways = {"on_failure": "rescue"} if "rescue" in settings else {}
    steps = [step("a", **undone), typed("s", kind.split()[0], "a", config=config, **ways)]
    history = History(graph(*steps, *(step(name) for name in settings), step("after", "s")))
    history.start({})
    history.completed("a", [1, 2])
    fail(history)
    return history


@pytest.mark.parametrize("kind", FAILING)
def test_a_failed_step_of_every_type_leads_to_its_failure_step(kind: str) -> None:
    history = failed(kind, rescue=True)
    assert (history.status("s"), history.status("rescue")) == ("failed", "queued")
    history.completed("rescue")
    assert (history.run.status, history.status("s"), history.status("after")) == ("completed", "recovered", "skipped")


@pytest.mark.parametrize("kind", FAILING)
def test_a_failed_step_of_every_type_has_what_was_completed_undone(kind: str) -> None:
    history = failed(kind, undo=True)
    assert (history.run.status, history.status("undo")) == ("running", "queued")
    history.completed("undo")
    assert (history.run.status, history.run.outcome.step_id) == ("compensated", "s")


@pytest.mark.parametrize("kind", FAILING)
def test_a_failed_step_of_every_type_fails_its_run_when_nothing_else_is_said(kind: str) -> None:
    history = failed(kind)
    assert (history.run.status, history.run.outcome.step_id) == ("failed", "s")
