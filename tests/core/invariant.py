"""What holds of every run at every moment, whatever its steps are and whatever happened to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dagnats.model.event import ChildCompleted, ChildFailed, WorkflowCancelled
from dagnats.model.run import IN_FLIGHT, Run, StepState
from dagnats.runtime.core.action import (
    AddWaiter,
    AppendEvent,
    DropDeadLetters,
    DropWaiter,
    SendDeadLetter,
    StartChild,
)

if TYPE_CHECKING:
    from history import History

    from dagnats.runtime.core.graph import Graph

DONE = frozenset({"completed", "skipped", "recovered"})
UNFINISHED = frozenset({"pending", *IN_FLIGHT})


def rests(state: StepState) -> bool:
    return state.retry_at_ns > 0 or state.held


def check(history: History) -> None:
    """Raises AssertionError when the run contradicts itself, or what was ordered for it."""
    run, graph = history.run, history.graph
    _counts(graph, run)
    _line(graph, run)
    _parts(graph, run)
    _waiters(history)
    _children(history)
    _letters(history)
    if run.ended:
        _nothing_is_left(run)
    elif run.status == "running" and not run.ending and not run.paused:
        assert run.flying > 0, "the run is stuck"


def _counts(graph: Graph, run: Run) -> None:
    whole = [state for state in run.steps.values() if not state.part_of]
    assert run.flying == sum(state.status in IN_FLIGHT for state in whole)
    done = sum(state.status in DONE for step_id, state in run.steps.items() if step_id in _main(graph))
    if run.saga is None:  # while a run is undone, nobody waits for the rest
        assert run.remaining in (0, len(_main(graph)) - done)
    for state in run.steps.values():
        assert state.status != "pending" or not rests(state) or state.held
        assert state.status in ("pending", *IN_FLIGHT) or not rests(state)


def _main(graph: Graph) -> set[str]:
    return {node.id for node in graph.nodes.values() if not node.auxiliary}


def _line(graph: Graph, run: Run) -> None:
    standing = [step_id for step_id in run.line if run.steps[step_id].held]
    held = [step_id for step_id, state in run.steps.items() if state.held]
    assert set(standing) == set(held)
    places = [graph.nodes[step_id.partition(".")[0]].place for step_id in run.line]
    assert places == sorted(places)
    if not run.paused:
        assert all(run.steps[step_id].status in ("pending", "skipped") for step_id in run.line) or run.saga


def _parts(graph: Graph, run: Run) -> None:
    left = Counter(state.part_of for state in run.steps.values() if state.part_of and state.status in UNFINISHED)
    for step_id, state in run.steps.items():
        if state.status == "running":
            assert state.left == left[step_id], step_id
            assert state.left or step_id not in run.plans, "a planner waits for nothing"
        if state.part_of and state.status in IN_FLIGHT:
            assert run.steps[state.part_of].status == "running"
    for step_id, state in run.steps.items():
        node = graph.node(step_id, run)
        assert node is not None
        most = getattr(node.config, "max_parallel", 0)
        if most and state.items:
            flying = [part for part in run.steps.values() if part.part_of == step_id and part.status in IN_FLIGHT]
            assert len(flying) <= most


def _waiters(history: History) -> None:
    run, standing = history.run, set[tuple[str, int]]()
    for action in history.actions:
        if isinstance(action, AddWaiter):
            assert (action.step_id, action.attempt) not in standing
            standing.add((action.step_id, action.attempt))
        elif isinstance(action, DropWaiter):
            standing.discard((action.step_id, action.attempt))
    own = {(step_id, attempt) for step_id, attempt in standing if not step_id.startswith("__cancel_")}
    waits = {
        (step_id, state.attempt)
        for step_id, state in run.steps.items()
        if state.status == "running" and history.graph.nodes[step_id.partition(".")[0]].type == "wait_for_event"
    }
    assert own == waits
    if run.status == "running":
        assert len(standing - own) == len(history.graph.cancel_on) or run.saga
    else:
        assert standing == own


def _children(history: History) -> None:
    """Each attached child is waited for, or has answered, or was cancelled."""
    run = history.run
    alone: set[str] = set()
    for action in history.actions:
        if isinstance(action, StartChild) and not action.detached:
            alone.add(action.start.run_id)
        elif isinstance(action, AppendEvent) and isinstance(action.event, WorkflowCancelled):
            alone.discard(action.event.run_id)
    for record in history.log:
        if isinstance(record.event, ChildCompleted | ChildFailed):
            alone.discard(record.event.payload.child_run_id)
    waited = {s.child_run_id for s in run.steps.values() if s.status == "running" and s.child_run_id}
    assert alone <= waited


def _letters(history: History) -> None:
    letters: set[str] = set()
    for action in history.actions:
        if isinstance(action, SendDeadLetter):
            letters.add(action.step_id)
        elif isinstance(action, DropDeadLetters):
            letters.remove(action.step_id)
    assert {step_id for step_id, state in history.run.steps.items() if state.dead} <= letters
    assert letters & history.run.steps.keys() <= {step_id for step_id, state in history.run.steps.items() if state.dead}
    for state in history.run.steps.values():
        assert not state.dead or not _is_needless(history.run, state)


def _is_needless(run: Run, state: StepState) -> bool:
    """Whether a step, or what it is a part of, was to catch the failure of another one that has succeeded after all."""
    whole = run.steps[state.part_of] if state.part_of else state
    return whole.serves != "" and run.steps[whole.serves].status == "completed" and run.saga is None


def _nothing_is_left(run: Run) -> None:
    assert not [step_id for step_id, state in run.steps.items() if state.status in IN_FLIGHT or rests(state)]
    assert (run.flying, run.line, run.deadlines, run.wake_ns, run.deadline_ns, run.run_at_ns) == (0, [], [], 0, 0, 0)
    assert run.ending == ""
