"""What must hold after every execution, whatever happened in it. Each check says what is wrong, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from dagnats.model.event import (
    CompensateStepCompleted,
    Record,
    StepCompleted,
    StepSkipped,
    TerminalEvent,
    TimerFired,
    WaitMatched,
    WaitTimeout,
    WorkflowReopened,
    WorkflowStarted,
    decode_event,
)
from dagnats.model.identifier import is_reserved
from dagnats.model.run import IN_FLIGHT, Run, decode_run, encode_run
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.memory.server import MemoryServer
    from tests.simulation.hand import Acknowledged
    from tests.simulation.workload import Effect

_DONE = frozenset({"completed", "skipped", "recovered"})


class Outcome(NamedTuple):
    """All that an execution leaves behind.

    Attributes:
        started: The runs whose start was acknowledged.
        acknowledged: What else was.
        calm: Whether no fault happened at all.
        tail_was_lost: Whether the disk lost what was acknowledged.
        clock_was_set: Whether the server's clock was.
        began_anew: Whether an engine folded everything again, and dropped all snapshots.
    """

    server: MemoryServer
    definitions: list[WorkflowDef]
    started: dict[str, WorkflowDef]
    acknowledged: list[Acknowledged]
    effects: list[Effect]
    broken: list[str]
    calm: bool
    tail_was_lost: bool
    clock_was_set: bool
    began_anew: bool


class Story(NamedTuple):
    """A run, folded again.

    Attributes:
        records: Its history.
        run: After all of it.
        done_at: When which step was done: the event that did it.
        snapshots: The run after each event, as bytes, by sequence: only of those that a snapshot was made at.
        wrong: What was seen on the way.
    """

    graph: Graph
    records: list[Record]
    run: Run | None
    done_at: dict[str, int]
    saved: bytes
    wrong: list[str]


def live_runs(outcome: Outcome, graphs: dict[str, Graph]) -> set[str]:
    """Runs that have not ended."""
    found: set[str] = set()
    for run_id in _run_ids(outcome):
        run: Run | None = None
        for record in _records(outcome, run_id):
            run = _advanced(graphs, run, record)
        if run is not None and not run.ended:
            found.add(run_id)
    return found


def faults_of(outcome: Outcome, graphs: dict[str, Graph]) -> list[str]:
    """Everything that is wrong."""
    stories = {run_id: _story(outcome, graphs, run_id) for run_id in _run_ids(outcome)}
    wrong = list(outcome.broken)
    wrong += _letters(outcome)
    wrong += _acknowledged(outcome)
    for run_id, story in stories.items():
        for check in (_life, _results, _skips, _undone, _early, _snapshot):
            wrong += [f"{run_id}: {what}" for what in check(outcome, story)]
        wrong += [f"{run_id}: {what}" for what in story.wrong]
    wrong += _effects(outcome, stories)
    wrong += _left_over(outcome)
    return wrong


def _run_ids(outcome: Outcome) -> list[str]:
    run_ids = [subject.partition(".")[2] for subject in outcome.server.history.subjects()]
    return [run_id for run_id in run_ids if not is_reserved(run_id)]


def _records(outcome: Outcome, run_id: str) -> list[Record]:
    messages = outcome.server.history.of(f"history.{run_id}")
    return [Record(each.seq, each.time_ns, decode_event(each.data)) for each in messages]


def _advanced(graphs: dict[str, Graph], run: Run | None, record: Record) -> Run | None:
    start = record.event
    if run is not None:
        return advance(graphs[run.def_hash], run, record).run
    return advance(graphs[start.payload.def_hash], None, record).run if isinstance(start, WorkflowStarted) else None


def _story(outcome: Outcome, graphs: dict[str, Graph], run_id: str) -> Story:
    records, wrong = _records(outcome, run_id), list[str]()
    stored = outcome.server.runs.last(f"run.{run_id}")
    saved_at = decode_run(stored.data).seq if stored is not None else 0
    run: Run | None = None
    saved = b""
    ended_at = 0
    done_at: dict[str, int] = {}
    for record in records:
        try:
            run = _advanced(graphs, run, record)
        except Exception as error:  # noqa: BLE001  # a mistake of ours, to be told
            wrong.append(f"event {record.seq} cannot be folded: {type(error).__name__}: {error}")
            break
        if run is None:
            continue
        for step_id, state in run.steps.items():
            if step_id not in done_at and state.status in _DONE:
                done_at[step_id] = record.seq
        wrong += _limits(graphs[run.def_hash], run)
        event = record.event
        if isinstance(event, TerminalEvent) and run.ended:  # else it did not end it: a cancelled run is undone first
            if ended_at and not outcome.tail_was_lost:
                wrong.append(f"event {record.seq} ends it again, it had ended at {ended_at}")
            ended_at = record.seq
        elif isinstance(event, WorkflowReopened) and not run.ended:
            ended_at = 0
        if record.seq == saved_at:
            saved = encode_run(run)
    graph = graphs[run.def_hash] if run is not None else next(iter(graphs.values()))
    return Story(graph, records, run, done_at, saved, wrong)


# -- 1: nothing acknowledged is missing ------------------------------------------------------------------------


def _acknowledged(outcome: Outcome) -> Iterator[str]:
    if outcome.tail_was_lost:
        return
    history = outcome.server.history
    for run_id in outcome.started:
        if not history.of(f"history.{run_id}"):
            yield f"{run_id}: its start was acknowledged and is not in the log"
    for run_id, data in outcome.acknowledged:
        if not any(message.data == data for message in history.of(f"history.{run_id}")):
            yield f"{run_id}: {data.decode()} was acknowledged and is not in the log"


def _letters(outcome: Outcome) -> Iterator[str]:
    for message in outcome.server.letters.fitting("dead.>"):
        name = message.subject.split(".")[1]
        if name in ("parked", "unreadable") or message.subject.endswith(".unmarshal-failed"):
            yield f"dead letter {message.subject}: {dict(message.headers)}"


# -- 2: one start, one end -------------------------------------------------------------------------------------


def _life(outcome: Outcome, story: Story) -> Iterator[str]:
    starts = sum(isinstance(record.event, WorkflowStarted) for record in story.records)
    if starts != 1 and not outcome.tail_was_lost:
        yield f"it has {starts} starts"
    run = story.run
    if run is None:
        return
    if not run.ended:
        flying = {name: state.status for name, state in run.steps.items() if state.status not in _DONE}
        paused = "paused" if run.paused else ""
        yield f"it has not ended: {run.status} {run.ending} {paused} {flying}, wakes at {run.wake_ns}"
    elif any(state.status in IN_FLIGHT for state in run.steps.values()):
        yield f"it has ended ({run.status}) with steps in flight"


# -- 3, 4, 5: order, fences, limits ----------------------------------------------------------------------------


def _results(outcome: Outcome, story: Story) -> Iterator[str]:
    """The output of a step that workers run is what the first result of its last attempt says."""
    run = story.run
    if run is None:
        return
    first: dict[tuple[str, int], bytes] = {}
    over: set[tuple[str, int]] = set()
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
        if state.part_of and run.steps[state.part_of].items:
            continue
        said = first.get((step_id, state.attempt))
        if (step_id, state.attempt) in over:  # what came later came too late
            said = b'{"timeout":true}'
        if said is None and node.type == "wait_for_event" and outcome.began_anew:
            continue  # of runs that had ended by then, nobody says what they had decided
        if said is None or said != bytes(state.output):
            yield f"step {step_id} has the output {bytes(state.output)!r}; attempt {state.attempt} gave {said!r}"


def _limits(graph: Graph, run: Run) -> Iterator[str]:
    flying = [name for name, state in run.steps.items() if state.status in IN_FLIGHT and not state.part_of]
    working = [name for name in flying if not run.steps[name].serves]
    if graph.max_steps and len(working) > graph.max_steps:
        yield f"at event {run.seq} steps {working} are in flight; max_steps is {graph.max_steps}"
    for name in flying:
        node = graph.node(name, run)
        most = getattr(node.config, "max_parallel", 0) if node is not None and node.type == "map" else 0
        if most:
            items = [one for one, state in run.steps.items() if state.part_of == name and state.status in IN_FLIGHT]
            if len(items) > most:
                yield f"at event {run.seq} items {items} are in flight; max_parallel is {most}"


def _skips(outcome: Outcome, story: Story) -> Iterator[str]:
    """A step is skipped by its condition, by hand, or because what it depends on was recovered; never by a skip."""
    run, graph = story.run, story.graph
    if run is None:
        return
    by_hand = {
        record.event.step_id
        for record in story.records
        if isinstance(record.event, StepSkipped) and record.event.payload.by
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
    for stream, what in ((server.tasks, "task"), (server.timers, "timer")):
        for subject in stream.subjects():
            yield f"{what} {subject} is left"


def _snapshot(outcome: Outcome, story: Story) -> Iterator[str]:
    run = story.run
    if run is None:
        return
    stored = outcome.server.runs.last(f"run.{run.run_id}")
    if stored is None:
        if not outcome.began_anew:  # else ended runs are left without, their histories will do
            yield "it has no snapshot"
        return
    snapshot = decode_run(stored.data)
    if run.ended and snapshot.seq != run.seq:
        yield f"its snapshot is of event {snapshot.seq}, it ended at {run.seq}"
    elif stored.data != story.saved:
        yield f"its snapshot of event {snapshot.seq} differs from its history:\n  {stored.data!r}\n  {story.saved!r}"


def _effects(outcome: Outcome, stories: dict[str, Story]) -> Iterator[str]:
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


def _order(outcome: Outcome, stories: dict[str, Story]) -> Iterator[str]:
    """A handler begins after all that its step depends on is done."""
    for effect in outcome.effects:
        story = stories.get(effect.run_id)
        node = story.graph.nodes.get(effect.step_id) if story is not None else None
        if story is None or node is None or node.auxiliary:
            continue
        for need in node.needs:
            if not 0 < story.done_at.get(need, 0) <= effect.begun_after:
                yield f"{effect.run_id}: step {effect.step_id} began after event {effect.begun_after}, before {need}"
