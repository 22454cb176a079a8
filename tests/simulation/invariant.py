"""What must hold after every execution, whatever happened in it. Each check says what is wrong, in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dagnats.model.event import (
    CompensateStepCompleted,
    Result,
    StepCompleted,
    StepSkipped,
    TimerFired,
    WaitMatched,
    WaitTimeout,
    WorkflowStarted,
    encode_event,
)
from dagnats.model.pointer import content, pointers, put_in
from dagnats.model.run import IN_FLIGHT, decode_run, encode_run
from tests.simulation.chronicle import DONE, TIMED_OUT
from tests.simulation.trouble import START

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagnats.runtime.core.gate.book import Page
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message
    from tests.simulation.chronicle import Chronicle, Story
    from tests.simulation.gating import Watchman
    from tests.simulation.hand import Acknowledged
    from tests.simulation.workshop import Effect

_NAMELESS = "worker-"  # with what was drawn for it; others are called by their place


class Outcome(NamedTuple):
    """All that an execution leaves behind.

    Attributes:
        started: The runs whose start was acknowledged, with their workflows.
        acknowledged: What else was.
        calm: Whether no fault happened at all.
        tail_was_lost: Whether the disk lost what was acknowledged.
        lost: The events among that.
        lost_snapshots: The snapshots among that: their subjects. What came before is there again, or nothing.
        lost_lease: Whether records of engines are among that: who led, and that everything was to be folded again.
        clock_was_set: Whether the server's clock was.
        was_scribbled: Whether somebody put into histories what is no event.
        gates: What the engine has stored of the gates; None when it is not whole.
        began_anew: Whether an engine folded everything again, and dropped all snapshots.
    """

    server: MemoryServer
    chronicle: Chronicle
    watchman: Watchman
    started: Mapping[str, str]
    acknowledged: list[Acknowledged]
    effects: list[Effect]
    broken: list[str]
    calm: bool
    tail_was_lost: bool
    lost: list[Message]
    lost_snapshots: set[str]
    lost_lease: bool
    clock_was_set: bool
    was_scribbled: bool
    gates: Page | None
    began_anew: bool


def faults_of(outcome: Outcome) -> list[str]:
    """Everything that is wrong."""
    stories = outcome.chronicle.stories
    wrong = list(outcome.broken)
    wrong += _letters(outcome)
    wrong += _acknowledged(outcome)
    for run_id, story in stories.items():
        for check in (_life, _results, _skips, _undone, _early, _snapshot):
            wrong += [f"{run_id}: {what}" for what in check(outcome, story)]
        wrong += [f"{run_id}: {what}" for what in story.wrong]
        # One that is set forward forgets the ids of what was stored just now; and where the lease is lost, two engines
        # may lead for a while, the one in another epoch.
        if not (outcome.clock_was_set or outcome.lost_lease):
            wrong += [f"{run_id}: {what}" for what in story.said_again]
    wrong += _effects(outcome, stories)
    wrong += _left_over(outcome)
    wrong += _gates(outcome)
    return wrong


# -- 1: nothing acknowledged is missing ------------------------------------------------------------------------


def _acknowledged(outcome: Outcome) -> Iterator[str]:
    known: dict[str, list[bytes]] = defaultdict(list)
    for message in (*outcome.server.history.fitting("history.*"), *outcome.lost):
        known[message.subject].append(message.data)
    for run_id in outcome.started:
        if not any(START in data for data in known[f"history.{run_id}"]):
            yield f"{run_id}: its start was acknowledged and is not in the log"
    for run_id, said in outcome.acknowledged:
        if not any(said in data for data in known[f"history.{run_id}"]):
            yield f"{run_id}: {said.decode()} was acknowledged and is not in the log"


def _letters(outcome: Outcome) -> Iterator[str]:
    for message in outcome.server.letters.fitting("dead.>"):
        name = message.subject.split(".")[1]
        if name == "unreadable" and outcome.was_scribbled:
            continue
        if name in ("parked", "unreadable") or message.subject.endswith(".unmarshal-failed"):
            yield f"dead letter {message.subject}: {dict(message.headers)}"


# -- 2: one start, one end -------------------------------------------------------------------------------------


def _life(outcome: Outcome, story: Story) -> Iterator[str]:
    starts = sum(isinstance(record.event, WorkflowStarted) for record in story.records)
    if starts != 1:
        yield f"it has {starts} starts"
    run = story.run
    if run is None:
        return
    if not run.ended:
        flying = {name: state.status for name, state in run.steps.items() if state.status not in DONE}
        paused = "paused" if run.paused else ""
        yield f"it has not ended: {run.status} {run.ending} {paused} {flying}, wakes at {run.wake_ns}"
    elif any(state.status in IN_FLIGHT for state in run.steps.values()):
        yield f"it has ended ({run.status}) with steps in flight"


# -- 3, 4: order, fences ----------------------------------------------------------------------------


def _results(outcome: Outcome, story: Story) -> Iterator[str]:
    """The output of a step that workers run is what the first result of its last attempt says."""
    run = story.run
    if run is None:
        return
    first: dict[tuple[str, int], bytes] = {}
    over = set(story.late)
    for record in story.records:
        event = record.event
        if isinstance(event, StepCompleted | WaitMatched):
            first.setdefault((event.step_id, event.attempt_number), bytes(event.payload))
        elif isinstance(event, WaitTimeout):
            over.add((event.step_id, event.attempt_number))
    for step_id, state in run.steps.items():
        node = story.graph.node(step_id, run)
        if node is None or state.status != "completed" or node.type not in ("normal", "agent", "wait_for_event"):
            continue
        if not state.attempt:  # another run's
            continue
        if state.part_of and run.steps[state.part_of].items:
            continue
        said = first.get((step_id, state.attempt))
        if (step_id, state.attempt) in over:  # what came later came too late
            said = TIMED_OUT
        if said is None and node.type == "wait_for_event" and outcome.began_anew:
            continue  # of runs that had ended by then, nobody says what they had decided
        output = _whole(story, bytes(state.output))
        if said is None or said != output:
            yield f"step {step_id} has the output {output!r}; attempt {state.attempt} gave {said!r}"


def _whole(story: Story, data: bytes) -> bytes:
    """Some JSON out of a run's state, with what its events carry in the place of pointers."""
    events = {record.seq: record.event for record in story.records}
    found = {each: content(encode_event(events[each.seq]), each) for each in pointers(data) if each.seq in events}
    return put_in(data, {each: content for each, content in found.items() if content is not None})


def _skips(outcome: Outcome, story: Story) -> Iterator[str]:
    """A step is skipped by its condition, by hand, or because what it depends on was recovered; never by a skip."""
    run, graph = story.run, story.graph
    if run is None:
        return
    by_hand = {
        record.event.step_id
        for record in story.records
        if isinstance(record.event, StepSkipped) and record.event.payload.reason
    }
    for step_id, state in run.steps.items():
        if state.status != "skipped" or step_id in by_hand or step_id not in graph.nodes:
            continue
        above = _above(graph, step_id)
        if any(run.steps[one].status == "recovered" for one in above if one in run.steps):
            continue
        condition: Any = graph.nodes[step_id].skip_if
        if condition is None:
            yield f"step {step_id} is skipped, and nothing says so"
            continue
        output = run.steps[condition.step_id].output
        if not output or not msgspec.json.decode(bytes(output)).get("n", 99) < condition.value:
            yield f"step {step_id} is skipped against its condition"


def _above(graph: Graph, step_id: str) -> set[str]:
    found = list(graph.nodes[step_id].needs)
    for one in found:  # grows while it is read
        found += graph.nodes[one].needs
    return set(found)


def _undone(outcome: Outcome, story: Story) -> Iterator[str]:
    """What depended on a step is undone before it."""
    told = [record.event for record in story.records if isinstance(record.event, CompensateStepCompleted)]
    told.sort(key=lambda event: story.done_at.get(event.step_id, 0))  # what is told may be told late
    order = [event.payload.original_step for event in told]
    for at, step_id in enumerate(order):
        late = [other for other in order[at + 1 :] if other != step_id and step_id in _above(story.graph, other)]
        if late:
            yield f"step {step_id} was undone before {late}, which came after it"


# -- time ------------------------------------------------------------------------------------------------------


def _early(outcome: Outcome, story: Story) -> Iterator[str]:
    if outcome.clock_was_set:
        return
    for record in story.records:
        if isinstance(record.event, TimerFired) and record.time_ns < record.event.due_ns:
            early_ms = (record.event.due_ns - record.time_ns) / 1e6
            yield f"the wake-up at event {record.seq} was {early_ms:.3f} ms early"


# -- 6, 7, 8: leftovers, snapshots, effects --------------------------------------------------------------------


def _left_over(outcome: Outcome) -> Iterator[str]:
    server = outcome.server
    kinds = ((server.tasks, "task"), (server.own_tasks, "task"), (server.timers, "timer"), (server.waiters, "waiter"))
    for stream, what in kinds:
        for subject in stream.subjects():
            if stream is not server.own_tasks or not _is_forsaken(outcome, subject):
                yield f"{what} {subject} is left"


def _is_forsaken(outcome: Outcome, subject: str) -> bool:
    """Whether a task is for a name that nobody has again, and was answered by a worker that died before it said so, or
    is of an attempt that the run never came to: what led to it is lost, and another one may yet be opened. Or the run's
    start is lost, which somebody may yet repeat.

    It is nobody's then, and goes with its run.
    """
    _, _, worker, run_id, attempt = subject.split(".", 4)
    step_id, _, number = attempt.rpartition(".")
    story = outcome.chronicle.stories.get(run_id)
    if story is None:
        return worker.startswith(_NAMELESS) and outcome.tail_was_lost
    answers = [record.event for record in story.records if isinstance(record.event, Result)]
    is_answered = (step_id, int(number)) in {(answer.step_id, answer.attempt_number) for answer in answers}
    state = story.run.steps.get(step_id) if story.run is not None else None
    is_lost = outcome.tail_was_lost and state is not None and int(number) > state.attempt
    return worker.startswith(_NAMELESS) and (is_answered or is_lost)


def _gates(outcome: Outcome) -> Iterator[str]:
    """No limit was exceeded, nobody has or waits for anything, and the engine has stored what the log says."""
    page, stored = outcome.chronicle.gates.page(), outcome.gates
    for name in (*page.tasks, *page.runs):
        yield f"{name} still has a place at a gate"
    if stored is None:
        yield "what the engine has stored of the gates is not whole"
    elif not (outcome.tail_was_lost or outcome.began_anew):
        for kind in ("tasks", "runs", "buckets", "task_limits", "workflow_limits"):
            mine, theirs = (_entries(getattr(each, kind)) for each in (page, stored))
            if mine != theirs:
                yield f"the gates' {kind} are {theirs}; the log says {mine}"
    elif any(_entries(stored.tasks)) or any(_entries(stored.runs)):
        yield f"the gates have kept {_entries(stored.tasks)} and {_entries(stored.runs)}"
    if not outcome.tail_was_lost:
        yield from outcome.watchman.wrong
        # What a gate had granted and nobody had said is said with a later time, when everything is folded again.
        if not (outcome.clock_was_set or outcome.began_anew):
            yield from outcome.watchman.paces()


def _entries(page: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in page.items() if entry is not None}


def _snapshot(outcome: Outcome, story: Story) -> Iterator[str]:
    run = story.run
    if run is None:
        return
    subject = f"run.{run.run_id}"
    stored = outcome.server.runs.last(subject)
    # Then ended runs may be left without, or with one of before: their histories will do.
    is_lost = outcome.began_anew or outcome.lost_lease or subject in outcome.lost_snapshots
    if stored is None:
        if not is_lost:
            yield "it has no snapshot"
        return
    snapshot = decode_run(stored.data)
    if run.ended and snapshot.seq != run.seq:
        if not is_lost or snapshot.seq > run.seq:
            yield f"its snapshot is of event {snapshot.seq}, it ended at {run.seq}"
    elif run.ended and stored.data != encode_run(run):
        yield f"its snapshot differs from its history:\n  {stored.data!r}\n  {encode_run(run)!r}"


def _effects(outcome: Outcome, stories: Mapping[str, Story]) -> Iterator[str]:
    done = Counter((each.run_id, each.step_id, each.attempt) for each in outcome.effects if each.done)
    for run_id, story in stories.items():
        for record in story.records:
            event = record.event
            if isinstance(event, StepCompleted) and not done[run_id, event.step_id, event.attempt_number]:
                yield f"{run_id}: event {record.seq} completes step {event.step_id}, which had no effect"
    if outcome.calm:
        for what, count in done.items():
            if count > 1:
                yield f"{what} had its effect {count} times, and nothing had happened"
    if not outcome.tail_was_lost:
        yield from _order(outcome, stories)


def _order(outcome: Outcome, stories: Mapping[str, Story]) -> Iterator[str]:
    """A handler begins after all that its step depends on is done."""
    for effect in outcome.effects:
        story = stories.get(effect.run_id)
        node = story.graph.nodes.get(effect.step_id) if story is not None else None
        if story is None or node is None or node.auxiliary:
            continue
        for need in node.needs:
            if not 0 < story.done_at.get(need, 0) <= effect.begun_after:
                yield f"{effect.run_id}: step {effect.step_id} began after event {effect.begun_after}, before {need}"
