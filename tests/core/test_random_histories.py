"""Random graphs under random histories: what must hold for every one of them."""

from __future__ import annotations

import re
from contextlib import suppress
from copy import copy
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
from history import BEGIN, SECOND, History, content, copy_of, graph, typed
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from invariant import check, rests

from dagnats.model import pointer
from dagnats.model.event import (
    MAX_EVENTS,
    AnyEvent,
    ApprovalGranted,
    ApprovalRejected,
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    Failure,
    FailureType,
    Poison,
    Record,
    SignalReceived,
    Start,
    StepCompleted,
    StepContinued,
    StepFailed,
    StepHeartbeat,
    StepPaused,
    StepQueued,
    StepReleased,
    StepSkipped,
    StepStarted,
    TimerFired,
    WaitMatched,
    WorkflowAdmitted,
    WorkflowCancelled,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowPoisoned,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
)
from dagnats.model.json import encode
from dagnats.model.run import IN_FLIGHT, Run
from dagnats.runtime.core.action import (
    AddWaiter,
    AnyAction,
    AskApproval,
    CancelTasks,
    DropTimer,
    EndRun,
    EnqueueTask,
    SetTimer,
    StartChild,
)
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS: list[FailureType] = ["retriable", "non_retriable", "retry_after"]
MOST_TURNS = 400  # far more than the largest graph below needs to come to its end


PLANS: list[Any] = [
    {"steps": [{"id": "x", "task": "x.task"}, {"id": "y", "task": "y.task", "depends_on": ["x"]}]},
    {"steps": [{"id": "x", "task": "x.task", "retry": {"max_attempts": 1}}, {"id": "y", "task": "y.task"}]},
    {"steps": [{"id": "x"}]},
    {"steps": []},
]
OUTPUTS: list[Any] = [[1, 2, 3], [], [{"n": 1}], 7, None, *PLANS]
ODD = [b"null", b"1e999", b"[" * 400 + b"]" * 400, b"9" * 400, b'{"approved":1}', b'"[[["', b"{}"]
"""What an event can carry: it is read as JSON, but nobody has looked into it."""


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to six steps of all types, with joins, limits, retries, failure steps and compensations, some shared."""
    auxiliary = ["x0", "x1"][: draw(st.sampled_from([2, 1, 2, 0]))]
    used: set[str] = set()
    steps: list[dict[str, Any]] = []
    count = draw(st.sampled_from([3, 4, 5, 6, 2, 1]))
    for at in range(count):
        needs = draw(st.lists(st.sampled_from(range(at)), unique=True, max_size=3)) if at else []
        made = draw(made_step(f"s{at}", [f"s{needed}" for needed in needs], steps))
        if needs and draw(st.sampled_from([False, False, True])):
            made["skip_if"] = {"step_id": f"s{needs[0]}", "field": "0", "op": "==", "value": 1}
        for key in ("on_failure", "compensate"):
            target = draw(st.sampled_from([None, *auxiliary]))
            if target is not None:
                made[key] = target
                used.add(target)
        steps.append(made)
    steps += [draw(made_step(name, [], [])) for name in sorted(used)]
    return graph(*draw(st.permutations(steps)), **draw(workflow_settings()))


@st.composite
def workflow_settings(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "timeout": draw(st.sampled_from([0, 0, 5 * SECOND, 60 * SECOND, 600 * SECOND])),
        "failure_mode": draw(st.sampled_from(["fail_fast", "fail_fast", "drain"])),
        "compensate_on": draw(st.sampled_from([["failure", "timeout"], ["failure", "timeout", "cancel"], ["cancel"]])),
        "concurrency": {
            "max_steps": draw(st.sampled_from([0, 0, 0, 1, 2])),
            "max_runs": draw(st.sampled_from([0, 0, 0, 1])),
        },
    }
    made["sticky"] = draw(st.sampled_from(["", "", "soft", "hard" if made["timeout"] else ""]))
    if draw(st.booleans()):
        made["cancel_on"] = [{"event": "e", "match": {"left": "n", "op": "eq", "right": "input.n"}}]
    return made


TYPES = ["normal"] * 8 + [
    "agent_loop",
    "map",
    "planner",
    "sub_workflow",
    "sleep",
    "wait_for_event",
    "approval",
    "respond",
]


@st.composite
def made_step(draw: st.DrawFn, step_id: str, needs: list[str], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    kind = draw(st.sampled_from(TYPES))
    maps = {step["id"] for step in earlier if step["type"] == "map"}
    if kind == "map" and (len(needs) != 1 or needs[0] in maps):
        kind = "agent"
    made = typed(step_id, kind, *needs, **_settings(draw))
    match kind:
        case "agent_loop":
            made["config"] = {
                "max_iterations": draw(st.integers(1, 3)),
                "loop_delay": draw(st.sampled_from([0, SECOND])),
                "max_duration": draw(st.sampled_from([0, 4 * SECOND])),
            }
        case "map":
            collect = draw(st.sampled_from(["fail", "collect"]))
            made["config"] = {"max_items": 2 + draw(st.integers(0, 1)), "on_item_failure": collect}
            made["config"]["max_parallel"] = draw(st.sampled_from([0, 1, 2]))
        case "planner":
            made["config"] = {"max_steps": draw(st.sampled_from([2, 2, 1]))}
        case "sub_workflow":
            made["config"] = {"workflow": "child", "detach": draw(st.booleans())}
        case "sleep":
            made["config"] = draw(
                st.sampled_from([{"duration": "2s"}, {"cron": "* * * * *"}, {"until_input_path": "n"}])
            )
        case "wait_for_event":
            right = draw(st.sampled_from(["input.n", "input.missing", {"value": 1}]))
            made["config"] = {"event": "e", "timeout": "3s", "match": {"left": "n", "op": "eq", "right": right}}
        case "approval":
            made["config"] = {"subject": "ask", "timeout": "3s"}
        case "respond":
            made["config"] = {"body_from": "n"} if draw(st.booleans()) else {}
        case _:
            pass
    return made


def _settings(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {
        "timeout": draw(st.sampled_from([0, 0, SECOND, 3 * SECOND])),
        "queue_timeout": draw(st.sampled_from([0, 0, 2 * SECOND])),
        "heartbeat_timeout": draw(st.sampled_from([0, SECOND, SECOND])),
    }
    retries = draw(st.integers(0, 3))
    if retries:
        made["retry"] = {"max_attempts": retries - 1, "initial_delay": "2s", "jitter": 0.5}
    return made


class Watched(History):
    """A history whose run is looked at after every event."""

    def _fold(self, event: AnyEvent) -> None:
        super()._fold(event)
        check(self)


FACTS = [
    *["complete"] * 4,
    *["answer"] * 3,
    *["fail", "fail", "start", "start", "beat", "release", "continue", "rest", "signal", "wait"],
]
BY_HAND = ["skip", "give_up", "pause", "resume", "let_through", "odd", "admit", "admit"]
ENGINE = [*["tick"] * 6, "own", "own", "again"]
END = ["cancel", "poison", "reopen"]
moves = st.tuples(st.sampled_from([*FACTS, *FACTS, *BY_HAND, *ENGINE, *END]), st.integers(0, 99))
live_moves = moves.filter(lambda move: move[0] not in ("cancel", "reopen"))
endings: st.SearchStrategy[FailureType | Literal["answered", "open"]] = st.sampled_from(["answered", *KINDS, "open"])


def _played(
    made: Graph,
    script: list[tuple[str, int]],
    end: FailureType | Literal["answered", "open"],
    later: bool,
    most: int = MAX_EVENTS,
) -> History:
    """A history of random moves, answers to any attempt ever handed out among them, so late and stale ones too.

    Unless it stays open, every task is then answered (with success, or with a failure of one kind) until it ends.
    """
    history = Watched(made, loops_back=False)
    history.start({"n": 1}, run_at_ns=BEGIN + SECOND if later else 0, max_events=most)
    for move, choice in script:
        _play(history, move, choice)
    if end == "open":
        return history
    return _finished(history, None if end == "answered" else end)


seldom = st.sampled_from([False, False, False, True])
histories = st.builds(_played, graphs(), st.lists(moves, min_size=4, max_size=24), endings, seldom)
short_histories = st.builds(
    _played,
    graphs(),
    st.lists(live_moves, min_size=4, max_size=24),
    endings.filter(lambda end: end != "open"),
    seldom,
    st.integers(3, 14),
)
uncancelled_histories = st.builds(
    _played, graphs(), st.lists(live_moves, min_size=4, max_size=24), endings.filter(lambda end: end != "open"), seldom
)


def _play(history: History, move: str, choice: int) -> None:
    event = _fact(history, move, choice) or _order(history, move, choice)
    if event is not None:
        history.feed(event)
        return
    match move:
        case "wait":
            history.wait(choice / 20 - 0.5)
        case "tick" if history.run.wake_ns:
            history.tick()
        case "own" if history.unfed:
            history.feed_own()
        case "again":
            history.feed(history.log[choice % len(history.log)].event)
        case _:
            pass


def _fact(history: History, move: str, choice: int) -> AnyEvent | None:
    """What a worker says of some attempt that was handed out, or somebody answers to a step of the engine's."""
    if move == "answer":
        return _answer(history, choice)
    tasks = history.of(EnqueueTask)
    if not tasks:
        return None
    task = tasks[-1 - choice % len(tasks)]
    attempt = 0 if choice == 99 else task.attempt
    common: dict[str, Any] = {"run_id": "r", "step_id": task.step_id, "attempt_number": attempt}
    match move:
        case "complete":
            output = encode(_output(history, task.step_id, choice))
            return StepCompleted(**common, payload=output, worker_id=f"w{choice % 3}" if choice % 4 else "")
        case "fail":
            failure = Failure(error="boom", failure_type=KINDS[choice % 3], retry_after_ms=choice * 100)
            return StepFailed(**common, payload=encode(failure))
        case "start":
            return StepStarted(**common, worker_id=f"w{choice % 3}")
        case "beat":
            return StepHeartbeat(**common, worker_id=f"w{choice % 3}")
        case "release":
            return StepReleased(**common, worker_id=f"w{choice % 3}")
        case "continue":
            return StepContinued(**common, payload=encode(choice))
        case "rest":
            return StepPaused(**common, delay_ms=choice % 4 * 700, consumed={"go": choice} if choice % 2 else {})
        case "let_through":
            return StepQueued(**common)
        case "odd":
            kind = ODD_KINDS[choice % len(ODD_KINDS)]
            return kind(**common, payload=msgspec.Raw(ODD[choice % len(ODD)]))
        case _:
            return None


ODD_KINDS: list[Any] = [StepCompleted, StepFailed, StepContinued, WaitMatched, ApprovalGranted, ApprovalRejected]


def _output(history: History, step_id: str, choice: int) -> Any:
    node = history.graph.node(step_id, history.run)
    return (PLANS if node is not None and node.type == "planner" else OUTPUTS)[choice % 4]


def _answer(history: History, choice: int) -> AnyEvent | None:
    """An answer to a step that the engine runs; the older it is, the more likely a late one."""
    asked = [a for a in history.actions if isinstance(a, AddWaiter | AskApproval | StartChild)]
    if not asked:
        return None
    action = asked[-1 - choice % len(asked)]
    common: dict[str, Any] = {"run_id": "r", "step_id": action.step_id, "attempt_number": action.attempt}
    match action:
        case AddWaiter() if action.step_id.startswith("__"):
            return WorkflowCancelled(run_id="r") if choice > 90 else None
        case AddWaiter():
            return WaitMatched(**common, payload=encode({"n": 1}))
        case AskApproval():
            kind = ApprovalGranted if choice % 3 else ApprovalRejected
            return kind(**common, payload=encode({"why": choice}))
        case StartChild():
            outcome = ChildOutcome(child_run_id=action.start.run_id, status="failed", error="no", output=encode([1]))
            return (ChildCompleted if choice % 3 else ChildFailed)(**common, payload=outcome)


def _order(history: History, move: str, choice: int) -> AnyEvent | None:
    """What people say."""
    names = [*history.run.steps, *history.graph.nodes, "s0.map.7", "s0.x", "nobody", "a.b.c", ""]
    step_id = names[choice % len(names)]
    match move:
        case "skip":
            return StepSkipped(run_id="r", step_id=step_id)
        case "give_up":
            failure = Failure(error="enough", failure_type=KINDS[choice % 2], detail="by_hand")
            return StepFailed(run_id="r", step_id=step_id, payload=encode(failure))
        case "signal":
            return SignalReceived(run_id="r", name="go", payload=encode(choice))
        case "pause":
            return WorkflowPaused(run_id="r")
        case "resume":
            return WorkflowResumed(run_id="r")
        case "admit":
            return WorkflowAdmitted(run_id="r")
        case "reopen":
            return WorkflowReopened(run_id="r")
        case "cancel" if choice > 80:
            return WorkflowCancelled(run_id="r")
        case "poison" if choice > 80:
            return WorkflowPoisoned(run_id="r", payload=Poison(error="unreadable"))
        case _:
            return None


def _finished(history: History, failing: FailureType | None) -> History:
    """The same run, with every task answered and every wake-up delivered until it ends."""
    for _ in range(MOST_TURNS):
        run = history.run
        if run.ended:
            return history
        if history.unfed:
            history.feed_own()
        elif run.paused:
            history.resumed()
        elif run.status == "pending":
            history.admitted()
        else:
            _go_on(history, failing)
    raise AssertionError(f"the run has not ended: {content(history.run).decode()}")


def _go_on(history: History, failing: FailureType | None) -> None:
    for step_id, state in history.run.steps.items():
        node = history.graph.node(step_id, history.run)
        assert node is not None
        if state.status not in IN_FLIGHT or rests(state) or state.left or node.type == "sleep":
            continue
        if node.worker_run and failing is not None:
            history.failed(step_id, kind=failing)
        elif node.worker_run:
            history.completed(step_id, {"steps": []} if node.type == "planner" else "late")
        elif node.type == "wait_for_event":
            history.matched(step_id, {"n": 1})
        elif node.type == "approval":
            history.granted(step_id)
        else:
            history.child_completed(step_id)
        return
    history.tick()


@st.composite
def graphs_with_parts(draw: st.DrawFn) -> Graph:
    """A map and a planner, with failure steps and compensations of their own or shared; these may be planners too."""
    kinds = {name: draw(st.sampled_from(["normal", "planner"])) for name in ("x0", "x1")}
    main = [
        typed("s0", "normal"),
        typed("s1", "map", "s0", config={"max_parallel": draw(st.sampled_from([0, 1]))}),
        typed("s2", "planner", config={"max_steps": 2}),
        typed("s3", "normal", "s1"),
    ]
    for made in main:
        for key in ("on_failure", "compensate"):
            target = draw(st.sampled_from([None, "x0", "x1"]))
            if target is not None:
                made[key] = target
    used = {made[key] for made in main for key in ("on_failure", "compensate") if key in made}
    auxiliary = [
        typed(name, kinds[name], config={"max_steps": 2}) if kinds[name] == "planner" else typed(name, "normal")
        for name in sorted(used)
    ]
    return graph(
        *main,
        *auxiliary,
        failure_mode=draw(st.sampled_from(["fail_fast", "drain"])),
        compensate_on=draw(st.sampled_from([["cancel"], ["failure"]])),
    )


in_lives = st.sampled_from([*["complete"] * 6, *["fail"] * 3, "skip", "skip", "own", "own", "admit", "break_off"])
lives = st.lists(
    st.tuples(st.lists(st.tuples(in_lives, st.integers(0, 99)), max_size=12), st.sampled_from(["non_retriable", None])),
    min_size=2,
    max_size=4,
)


def _lived(made: Graph, lives: list[tuple[list[tuple[str, int]], FailureType | None]], most: int) -> History:
    """A run that is opened again whenever it has ended; what workers have in hand is answered, now well and now ill."""
    history = Watched(made, loops_back=False)
    history.start({"n": 1}, max_events=most)
    for script, failing in lives:
        for move, choice in script:
            _live(history, move, choice)
        _finished(history, failing)
        history.reopened(held=len(script) % 2 == 1)
    return _finished(history, None)


def _live(history: History, move: str, choice: int) -> None:
    in_hand = sorted(_in_hand(history.graph, history.run))
    step_id = in_hand[choice % len(in_hand)][0] if in_hand else ""
    match move:
        case "complete" if step_id:
            history.completed(step_id, _output(history, step_id, choice))
        case "fail" if step_id:
            history.failed(step_id)
        case "break_off":
            history.feed(WorkflowFailed(run_id="r"))
        case _:
            _play(history, move, choice)


lived_histories = st.builds(_lived, graphs_with_parts(), lives, st.sampled_from([MAX_EVENTS, *range(4, 20)]))


def _replayed(made: Graph, log: list[Record], run: Run | None = None) -> tuple[Run | None, list[AnyAction]]:
    actions: list[AnyAction] = []
    for record in log:
        decision = advance(made, run, record)
        run = decision.run
        actions += decision.actions
    return run, actions


# -- determinism -------------------------------------------------------------------------------------------


@given(histories)
def test_a_replay_gives_the_same_run_and_the_same_actions(history: History) -> None:
    run, actions = _replayed(history.graph, history.log)
    assert content(run) == content(history.run)
    assert actions == history.actions


@given(histories)
def test_every_event_delivered_twice_is_delivered_once(history: History) -> None:
    run, actions = _replayed(history.graph, [record for record in history.log for _ in range(2)])
    assert content(run) == content(history.run)
    assert actions == history.actions


@given(histories, st.integers(0, 99))
def test_an_old_stretch_of_the_log_read_again_changes_nothing(history: History, choice: int) -> None:
    before = content(history.run)
    run, actions = _replayed(history.graph, history.log[choice % len(history.log) :], copy_of(history.run))
    assert content(run) == before
    assert actions == []


@given(histories)
def test_a_run_continued_from_any_snapshot_goes_the_same_way(history: History) -> None:
    run: Run | None = None
    actions: list[AnyAction] = []
    for record in history.log:
        decision = advance(history.graph, copy_of(run), record)  # as if every event met a new engine
        run = decision.run
        actions += decision.actions
    assert content(run) == content(history.run)
    assert actions == history.actions


def _said(history: History, actions: Sequence[AnyAction]) -> list[bytes]:
    """Actions as they are sent, with what the log has in the place of pointers."""
    return [history.put_in(msgspec.json.encode(action)) for action in actions]


@given(histories)
def test_what_is_decided_does_not_depend_on_what_the_state_keeps_of_payloads(history: History) -> None:
    keeping = copy(history.graph)
    keeping.whole = True
    light: Run | None = None
    whole: Run | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pointer, "STATE_BYTES", 0)
        for record in history.log:
            before = copy_of(light)
            light, did, _ = advance(history.graph, before, record)
            whole, would, _ = advance(keeping, whole, record)
            assert _said(history, did) == _said(history, would)
    assert history.put_in(content(light)) == history.put_in(content(whole))


# -- tasks -------------------------------------------------------------------------------------------------


@given(histories)
def test_each_attempt_of_a_step_is_handed_out_at_most_once(history: History) -> None:
    attempts = [(task.step_id, task.attempt) for task in history.of(EnqueueTask) if not task.admitted]
    let_through = [(task.step_id, task.attempt) for task in history.of(EnqueueTask) if task.admitted]
    assert len(let_through) == len(set(let_through))
    assert set(let_through) <= set(attempts)
    for step_id in {step_id for step_id, _ in attempts}:
        numbers = [attempt for name, attempt in attempts if name == step_id]
        assert numbers == sorted(set(numbers))


@given(histories)
def test_a_step_is_handed_out_only_when_all_it_depends_on_has_completed(history: History) -> None:
    run: Run | None = None
    for record in history.log:
        run, actions, _ = advance(history.graph, run, record)
        assert run is not None
        for task in actions:
            if isinstance(task, EnqueueTask) and task.step_id in history.graph.nodes:
                needs = history.graph.nodes[task.step_id].needs
                assert {run.steps[needed].status for needed in needs} <= {"completed", "skipped"}


@given(histories)
def test_nothing_is_handed_out_twice_side_by_side_while_a_run_is_undone(history: History) -> None:
    run: Run | None = None
    for record in history.log:
        run, _, _ = advance(history.graph, run, record)
        assert run is not None
        if run.saga is not None:
            undoing = [state for state in run.steps.values() if state.status in IN_FLIGHT and state.serves]
            assert len(undoing) <= 1
            assert not (undoing and run.saga.awaiting)


@given(histories)
def test_what_is_undone_is_undone_before_what_it_depended_on(history: History) -> None:
    if history.run.saga is None:
        return
    order = history.run.saga.order
    undone_later: set[str] = set(order)
    for step_id in order:
        undone_later.discard(step_id)
        assert not undone_later & _dependents(history.graph, step_id)


def _dependents(made: Graph, step_id: str) -> set[str]:
    found = list(made.nodes[step_id].dependents)
    for name in found:  # grows while it is read
        found += made.nodes[name].dependents
    return set(found)


@given(histories)
def test_every_attempt_is_answered_or_stopped_or_in_flight(history: History) -> None:
    run: Run | None = None
    for record in history.log:
        before = _in_hand(history.graph, run)
        run, actions, _ = advance(history.graph, run, record)
        assert run is not None
        queued = {(task.step_id, task.attempt) for task in actions if isinstance(task, EnqueueTask)}
        queued -= {(task.step_id, task.attempt) for task in actions if isinstance(task, EnqueueTask) and task.admitted}
        told = [action for action in actions if isinstance(action, CancelTasks)]
        assert len(told) <= 1
        stopped = [(step_id, attempt) for action in told for step_id, _, attempt in action.steps]
        assert len(stopped) == len(set(stopped))
        assert all(action.steps and action.ended == bool(run.ended or run.ending) for action in told)
        left = (before | queued) - _in_hand(history.graph, run)
        assert set(stopped) <= left
        answered = left - set(stopped)
        if isinstance(record.event, StepCompleted | StepFailed | StepContinued | StepPaused | StepQueued):
            assert {step_id for step_id, _ in answered} <= {record.event.step_id}
            assert len(answered) <= 1
        else:
            assert not answered


def _in_hand(made: Graph, run: Run | None) -> set[tuple[str, int]]:
    """The attempts that workers have, or that lie in their queues."""
    found: set[tuple[str, int]] = set()
    for name, state in run.steps.items() if run is not None else ():
        node = made.node(name, run) if run is not None else None
        whole = state.left or (node is not None and node.type == "map" and not state.part_of)
        if node is not None and node.worker_run and not whole and state.status in IN_FLIGHT and not rests(state):
            found.add((name, state.attempt))
    return found


# -- endings -----------------------------------------------------------------------------------------------


@given(uncancelled_histories)
def test_a_run_whose_tasks_are_all_answered_ends_with_exactly_one_terminal_event(history: History) -> None:
    assert history.run.ended
    assert len(history.of(EndRun)) == (history.run.status != "cancelled")  # that one somebody else has written


@given(short_histories)
def test_a_run_ends_whatever_event_makes_its_history_too_long(history: History) -> None:
    assert history.run.ended


@given(histories)
def test_an_ended_run_leaves_nothing_in_flight_and_absorbs_its_whole_history(history: History) -> None:
    reopened = [record for record in history.log if isinstance(record.event, WorkflowReopened)]
    assert len(history.of(EndRun)) <= 1 + len(reopened)
    if not history.run.ended:
        return
    assert not [state for state in history.run.steps.values() if state.status in IN_FLIGHT]
    before = content(history.run)
    for event in [record.event for record in history.log] + [TimerFired(run_id="r", due_ns=2**62)]:
        if not isinstance(event, WorkflowReopened):
            assert history.feed(event) == []
    assert content(history.run) == before


@given(histories)
def test_a_completed_run_has_done_every_step(history: History) -> None:
    if history.run.status == "completed":
        main = [node.id for node in history.graph.nodes.values() if not node.auxiliary]
        assert {history.status(name) for name in main} <= {"completed", "recovered", "skipped"}
        assert history.run.remaining == 0


@given(lived_histories)
def test_a_run_can_be_opened_again_whatever_happened_to_it_before(history: History) -> None:
    assert history.run.ended
    assert history.run.ending == ""


# -- time and ids ------------------------------------------------------------------------------------------


@given(histories)
def test_a_live_run_with_a_deadline_has_a_wake_up_no_later_than_it(history: History) -> None:
    run: Run | None = None
    for record in history.log:
        before = run.clock_ns if run is not None else 0
        run, _, _ = advance(history.graph, run, record)
        assert run is not None
        assert run.clock_ns >= before
        if run.ended or run.ending:
            continue
        due: list[int] = [run.deadline_ns, run.run_at_ns]
        for state in run.steps.values():
            due += [state.retry_at_ns, state.deadline_ns, state.heartbeat_due_ns, state.due_ns, state.loop_ends_ns]
        standing = [instant for instant in due if instant]
        assert all(instant > run.clock_ns for instant in standing)
        if standing:
            assert 0 < run.wake_ns <= min(standing)


@given(histories)
def test_of_all_wake_ups_only_the_one_the_run_knows_is_still_to_come(history: History) -> None:
    run: Run | None = None
    coming: dict[int, int] = {}
    for record in history.log:
        run, actions, _ = advance(history.graph, run, record)
        assert run is not None
        for action in actions:
            if isinstance(action, SetTimer):
                assert action.seq == record.seq
                if action.replaces:
                    assert coming.pop(action.replaces) > action.due_ns
                coming[action.seq] = action.due_ns
            if isinstance(action, DropTimer):
                assert coming.pop(action.seq) > run.clock_ns + 60 * SECOND
        late = {seq: due_ns for seq, due_ns in coming.items() if due_ns > run.clock_ns}
        if run.ended:
            assert all(due_ns <= run.clock_ns + 60 * SECOND for due_ns in late.values())
            coming.clear()  # they come for nothing, even when the run is opened again
        else:
            assert late.items() <= {(run.wake_seq, run.wake_ns)}
            assert (run.wake_seq == 0) == (run.wake_ns == 0)


@given(histories)
def test_every_deadline_that_stands_is_kept_and_few_that_do_not(history: History) -> None:
    run: Run | None = None
    for record in history.log:
        run, _, _ = advance(history.graph, run, record)
        assert run is not None
        if run.ended or run.ending:
            continue
        standing = {(run.deadline_ns, "", 0), (run.run_at_ns, "", 1)}
        for name, state in run.steps.items():
            standing.add((state.loop_ends_ns, name, 0))
            for due_ns in (state.retry_at_ns, state.deadline_ns, state.heartbeat_due_ns, state.due_ns):
                standing.add((due_ns, name, state.attempt))
        assert {deadline for deadline in standing if deadline[0]} <= set(run.deadlines)
        assert len(run.deadlines) <= 4 * len(run.steps) + 64


@given(histories)
def test_every_action_has_an_id_of_its_own(history: History) -> None:
    ids = [action.id for action in history.actions]
    assert len(ids) == len(set(ids))
    sequences = {str(record.seq) for record in history.log}
    for text in ids:
        found = re.fullmatch(r"r\.(\d+)\.\d+", text)
        assert found is not None
        assert found[1] in sequences


@given(graphs(), st.lists(moves.filter(lambda move: move[0] in FACTS), max_size=30))
def test_wake_ups_that_come_in_time_or_never_decide_the_same(made: Graph, script: list[tuple[str, int]]) -> None:
    facts: list[tuple[int, AnyEvent]] = []
    probe = History(made)
    probe.start({"n": 1})
    for move, choice in script:
        before = len(probe.log)
        _play(probe, move, choice if move != "wait" else 10 + choice)
        facts += [(record.time_ns, record.event) for record in probe.log[before : before + 1]]
    never, in_time = History(made), History(made)
    for history, watched in ((never, False), (in_time, True)):
        history.feed(WorkflowStarted(run_id="r", payload=Start(workflow="w", def_hash="", input=encode({"n": 1}))))
        for at, event in facts:
            while watched and not history.run.ended and history.run.wake_ns and history.run.wake_ns <= at:
                history.tick()
            history.time_ns = at
            history.feed(event)
    assert _decisions(never) == _decisions(in_time)
    assert _stopped(never) == _stopped(in_time)
    assert never.run.steps == in_time.run.steps
    assert (never.run.status, never.run.saga, never.run.outcome) == (
        in_time.run.status,
        in_time.run.saga,
        in_time.run.outcome,
    )


def _decisions(history: History) -> list[tuple[Any, ...]]:
    return [(task.step_id, task.attempt, bytes(task.input), task.expires_ns) for task in history.of(EnqueueTask)]


def _stopped(history: History) -> list[tuple[str, str, int]]:
    return [attempt for action in history.of(CancelTasks) for attempt in action.steps]


ENDS = ["completed", "failed", "cancelled", "compensated", "compensate_failed", "recovered", "skipped"]


LIMITS = ["step's timeout", "queue timeout", "heartbeat timeout", "run's timeout", "unreadable"]


def test_such_histories_reach_every_ending_and_every_limit() -> None:
    """A guard against properties that hold because nothing ever happens."""
    missing = {*ENDS, *LIMITS}

    def nothing_is_missing(history: History) -> bool:
        statuses, errors = _statuses(history), _errors(history)
        missing.difference_update({it for it in missing if it in statuses or any(it in error for error in errors)})
        return not missing

    search = settings(max_examples=2_000, database=None, phases=[Phase.generate])
    with suppress(NoSuchExample):
        find(histories, nothing_is_missing, settings=search, random=Random(0))
    assert not missing


def _errors(history: History) -> list[str]:
    return [history.run.outcome.error, *(state.error for state in history.run.steps.values())]


def _statuses(history: History) -> set[str]:
    return {history.run.status, *(state.status for state in history.run.steps.values())}
