"""Child steps: runs of other workflows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from history import SECOND, History, graph, step, typed

from dagnats.model.event import (
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    ChildSpawned,
    Parent,
    Spawn,
    WorkflowCancelled,
)
from dagnats.runtime.core.action import StartChild

ABOVE = Parent(run_id="top", step_id="s", attempt=1, root="top", depth=1, ancestors=("top",))


def spawned(*, parent: Parent | None = None, max_depth: int = 8, **settings: Any) -> History:
    config = {"workflow": "child.flow", "detach": settings.pop("detach", False)}
    history = History(graph(typed("c", "sub_workflow", config=config, **settings), step("after", "c")))
    history.start({"n": 1}, parent=parent, max_depth=max_depth)
    return history


def test_the_child_gets_what_the_step_receives_and_knows_whom_it_runs_for() -> None:
    history = spawned(parent=ABOVE)
    (child,) = history.of(StartChild)
    start = child.start.payload
    assert (child.run_id, child.step_id, child.attempt, child.detached) == ("r", "c", 1, False)
    assert (start.workflow, bytes(start.input), start.by, start.max_depth) == ("child.flow", b'{"n":1}', "run r", 8)
    assert start.parent == Parent(run_id="r", step_id="c", attempt=1, root="top", depth=2, ancestors=("r", "top"))
    assert history.said(ChildSpawned)[0].payload.child_run_id == child.start.run_id == history.state("c").child_run_id


def test_the_output_of_the_child_is_the_steps() -> None:
    history = spawned()
    history.child_completed("c", [1])
    assert (history.enqueued, bytes(history.task.input)) == (["after"], b"[1]")


def test_a_child_that_failed_fails_the_step_and_a_retry_starts_another_one() -> None:
    history = spawned(retry={"max_attempts": 1})
    history.child_failed("c", "boom")
    assert history.child_failed("c", attempt=1) == []
    history.tick()
    first, second = history.of(StartChild)
    assert first.start.run_id != second.start.run_id
    history.child_failed("c", "stopped", "cancelled")
    assert history.run.outcome.error == "child workflow failed (cancelled): stopped"
    assert history.abroad == []


def test_a_detached_child_is_not_waited_for_nor_cancelled() -> None:
    history = spawned(detach=True)
    (child,) = history.of(StartChild)
    assert (child.detached, child.start.payload.parent) == (True, None)
    assert history.output("c") == {"child_run_id": child.start.run_id}
    history.cancel()
    assert history.abroad == []


@pytest.mark.parametrize("end", ["cancel", "give_up", "skip", "fail", "timeout"])
def test_nobody_lets_a_child_run_on_whose_step_was_given_up(end: str) -> None:
    history = History(graph(typed("c", "sub_workflow", config={"workflow": "child"}, timeout=SECOND), step("b")))
    history.start()
    child = history.state("c").child_run_id
    {
        "cancel": history.cancel,
        "give_up": lambda: history.failed_by_hand("c"),
        "skip": lambda: history.skipped_by_hand("c"),
        "fail": lambda: history.failed("b"),
        "timeout": history.tick,
    }[end]()
    assert [(type(event), event.run_id) for event in history.abroad] == [(WorkflowCancelled, child)]


def test_runs_start_runs_only_so_deep() -> None:
    history = spawned(parent=ABOVE, max_depth=1)
    assert history.run.outcome.error == "the run has 1 runs above it, and max_depth is 1: it starts no other one"
    assert history.of(StartChild) == []


UNDONE = [step("a", compensate="u"), step("b", "a"), step("u")]
ENDS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "completed": ([step("a")], ["completed a"]),
    "failed": ([step("a")], ["failed a"]),
    "cancelled": ([step("a")], ["cancel"]),
    "compensated": (UNDONE, ["completed a", "failed b", "completed u"]),
    "compensate_failed": (UNDONE, ["completed a", "failed b", "failed u"]),
}


@pytest.mark.parametrize("status", ENDS)
def test_the_parent_is_told_how_its_child_ended_whatever_the_end(status: str) -> None:
    steps, moves = ENDS[status]
    history = History(graph(*steps))
    history.start(parent=ABOVE)
    for move in moves:
        name, *step_id = move.split()
        getattr(history, name)(*step_id)
    (told,) = history.abroad
    assert isinstance(told, ChildCompleted if status == "completed" else ChildFailed)
    assert (told.run_id, told.step_id, told.attempt_number) == ("top", "s", 1)
    assert (told.payload.child_run_id, told.payload.status) == ("r", status)
    assert (bytes(told.payload.output) == b"null") is (status == "completed")


def test_a_child_that_cannot_begin_tells_its_parent() -> None:
    history = History(graph(step("a")))
    history.start(parent=ABOVE, refusal="the input is not valid")
    (told,) = history.abroad
    assert isinstance(told, ChildFailed)
    assert told.payload.error == "the input is not valid"


def asking(*, parent: Parent | None = None, max_depth: int = 8) -> History:
    """A run whose worker may ask for a child."""
    history = History(graph(step("w"), step("after", "w")))
    history.start({"n": 1}, parent=parent, max_depth=max_depth)
    return history


def asking_beside() -> History:
    """One that has a step with a child, too."""
    history = History(graph(step("w"), typed("c", "sub_workflow", config={"workflow": "child.flow"})))
    history.start({"n": 1})
    return history


def ask(history: History, *, step_id: str = "w", child: str = "made-by-go", **payload: Any) -> list[StartChild]:
    """What a worker's wish leads to."""
    spawn = Spawn(child_run_id=child, child_workflow="other.flow", **payload)
    actions = history.feed(ChildSpawned(run_id="r", step_id=step_id, payload=spawn))
    return [action for action in actions if isinstance(action, StartChild)]


@pytest.mark.parametrize("where", [{"step_id": "w"}, {"step_id": "", "parent_step_id": "w"}], ids=["event", "payload"])
def test_a_child_that_a_worker_asks_for_is_started_beside_the_step(where: dict[str, str]) -> None:
    history = asking(parent=ABOVE)
    (child,) = ask(history, **where, input=msgspec.Raw(b'{"n":2}'))
    start = child.start.payload
    assert (child.start.run_id, child.step_id, child.attempt) == ("made-by-go", "w", 1)
    assert (start.workflow, bytes(start.input), start.by) == ("other.flow", b'{"n":2}', "run r")
    assert start.parent == Parent(run_id="r", step_id="w", attempt=1, root="top", depth=2, ancestors=("r", "top"))
    assert child.detached, "nobody waits for it: where it cannot begin, that is for the dead letters"
    history.feed(ChildCompleted(run_id="r", step_id="w", attempt_number=1, payload=ChildOutcome(child_run_id="x")))
    assert history.state("w").status == "queued"
    history.completed("w")
    assert history.state("w").status == "completed"


def test_a_child_that_a_worker_asks_for_on_its_own_has_no_parent_and_no_input_of_the_steps() -> None:
    (child,) = ask(asking(), detach=True)
    assert (child.start.payload.parent, bytes(child.start.payload.input)) == (None, b"null")


@pytest.mark.parametrize("step_id", ["", "c", "nobody"])
def test_a_child_that_a_worker_asks_for_is_never_taken_for_the_one_of_a_step(step_id: str) -> None:
    history = asking_beside()
    (child,) = ask(history, step_id=step_id)
    parent = child.start.payload.parent
    assert parent is not None
    assert (parent.run_id, parent.step_id, parent.attempt) == ("r", "", 0)


def test_what_the_engine_says_of_its_own_children_starts_no_other_one() -> None:
    history = asking_beside()
    assert len(history.of(StartChild)) == len(history.said(ChildSpawned)) == 1


def test_nothing_is_started_for_a_run_that_is_over() -> None:
    history = asking()
    history.cancel()
    assert ask(history) == []


@pytest.mark.parametrize(
    ("child", "deep", "why"),
    [("a b", False, "'a b' cannot name a run"), ("fine", True, "the run has 1 runs above it, and max_depth is 1")],
    ids=["name", "depth"],
)
def test_a_child_that_a_worker_does_not_get_is_refused_in_its_history(child: str, deep: bool, why: str) -> None:
    history = asking(parent=ABOVE, max_depth=1) if deep else asking()
    assert ask(history, child=child) == []
    said = history.said(ChildFailed)[-1]
    assert (said.step_id, said.payload.child_run_id) == ("w", child)
    assert said.payload.error.startswith(why)
    assert history.state("w").status == "queued"


def test_a_wish_of_a_worker_that_has_not_begun_is_no_reason_to_begin() -> None:
    history = History(graph(step("w"), concurrency={"max_runs": 1}))
    history.start()
    assert history.run.status == "pending"
    assert ask(history) == []
