"""One attempt between its queueing and its result: handed out, begun, heard of, paused, given back, overdue."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from dagnats.model.duration import format_duration
from dagnats.model.event import MAX_PAUSE_MS, NOTHING, SILENT, TOO_SLOW, Failure
from dagnats.model.instant import parse_rfc3339
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core import sticky
from dagnats.runtime.core.action import EnqueueTask
from dagnats.runtime.core.inputs import input_of
from dagnats.runtime.core.path import Missing, decoded, text_of, value_at
from dagnats.runtime.core.release import release
from dagnats.runtime.core.turn import rests

if TYPE_CHECKING:
    from dagnats.model.event import Result, StepEvent, StepHeartbeat, StepPaused, StepReleased, StepStarted
    from dagnats.model.run import Run, StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

_MILLISECOND = 1_000_000


def is_current(state: StepState, event: StepEvent) -> bool:
    """The fence: answers to an older attempt, or to one that waits to be repeated, are too late."""
    if state.status not in IN_FLIGHT or rests(state):
        return False
    return event.attempt_number == state.attempt or not event.attempt_number


def is_over(run: Run, step_id: str, attempt: int) -> bool:
    """Whether nobody waits for an attempt that was handed out, and never will.

    What a run that goes on knows nothing of is not over: the step, or the number of an attempt that is 0.
    """
    state = run.steps.get(step_id)
    if state is None or not attempt:
        return run.ended
    if attempt != state.attempt:
        return attempt < state.attempt
    return run.ended or state.status not in IN_FLIGHT or rests(state) or state.left > 0


def is_out(run: Run, step_id: str, attempt: int) -> bool:
    """Whether an attempt is at a gate, in its queue or with a worker: whoever has it is waited for."""
    return step_id in run.steps and attempt == run.steps[step_id].attempt and not is_over(run, step_id, attempt)


def number(turn: Turn, state: StepState) -> None:
    """Make the next attempt the current one."""
    state.attempt += 1
    state.queued_ns = turn.run.clock_ns
    state.started_ns = 0
    state.retry_at_ns = 0
    state.worker_id = ""
    state.admitted = False
    state.sticky = ""


def hand_out(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Put the next attempt of a step into its queue: the first one, a retry, or a loop's next turn."""
    turn.move(step_id, state, "queued")
    number(turn, state)
    if node.queue_timeout_ns or state.deadline_ns:
        turn.limit_wait(node, step_id, state)
    if turn.run.worker_id:
        state.sticky = sticky.worker_for(turn, node)
    enqueue(turn, node, step_id, state)


def let_through(turn: Turn, step_id: str, state: StepState) -> None:
    """The gates have room for the current attempt: it goes to the workers, once.

    They do not know of a run that is paused: there the attempt gives its place back, and the next one asks anew.
    """
    if state.status != "queued" or state.admitted:
        return
    if turn.run.paused:
        turn.settle(step_id, state)
        turn.hold(step_id, state)
        return
    node = turn.node_of(step_id)
    if state.sticky:
        state.sticky = sticky.worker_for(turn, node)
    if state.sticky:  # it may have been let go of meanwhile
        sticky.limit_wait(turn, step_id, state)
    enqueue(turn, node, step_id, state, admitted=True)


def enqueue(turn: Turn, node: Node, step_id: str, state: StepState, *, admitted: bool = False) -> None:
    """Send the current attempt to the workers, through the gates."""
    received, key = input_of(turn.graph, turn.run, node, state), ""
    try:
        if node.limits.key:
            key = text_of(value_at(decoded(received), node.limits.key))
    except Missing as missing:
        why = f"the key of the step's rate limit, {node.limits.key!r}, is not in its input: {missing}"
        turn.fail(step_id, Failure(error=why, failure_type="non_retriable"))
        return
    state.admitted = admitted
    turn.act(_task(turn, node, step_id, state, received, key))


def _task(turn: Turn, node: Node, step_id: str, state: StepState, received: msgspec.Raw, key: str) -> EnqueueTask:
    run = turn.run
    task = EnqueueTask(
        id=turn.next_id(),
        run_id=run.run_id,
        workflow=run.workflow_id,
        step_id=step_id,
        task=node.task,
        attempt=state.attempt,
        input=received,
        timeout_ns=node.timeout_ns,
        heartbeat_ns=_silence_ns(node) if state.sticky else node.heartbeat_timeout_ns,
        expires_ns=_expires_ns(state) if state.sticky_due_ns else state.deadline_ns,
        deadline_ns=run.deadline_ns,
        trace_parent=run.trace_parent,
    )
    tries = state.retries + 1
    plain = not (node.extra or key or state.admitted or state.consumed or turn.graph.sticky)
    if plain and tries == state.attempt:  # most steps: each field costs time
        return task
    return msgspec.structs.replace(
        task,
        iteration=state.iteration,
        previous=state.input if state.iteration else NOTHING,
        key=key,
        admitted=state.admitted,
        tries=tries if tries != state.attempt else 0,
        consumed=state.consumed,
        sticky=turn.graph.sticky,
        worker_id=state.sticky,
        **node.extra,
    )


def _silence_ns(node: Node) -> int:
    """How long the worker that has a sticky attempt may be silent."""
    return node.heartbeat_timeout_ns or sticky.SILENCE_NS


def _expires_ns(state: StepState) -> int:
    """When it is too late for one worker to begin it."""
    return min(state.deadline_ns or state.sticky_due_ns, state.sticky_due_ns)


def started(turn: Turn, node: Node, state: StepState, event: StepStarted | StepHeartbeat) -> None:
    """A worker runs the attempt. A second start is a redelivery: the first worker is gone, all time counts anew."""
    turn.move(event.step_id, state, "running")
    state.worker_id = event.worker_id
    state.started_ns = turn.run.clock_ns
    limit_work(turn, node, event.step_id, state)
    _listen(turn, node, event.step_id, state)


def limit_work(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """The current attempt is being worked on from now on."""
    state.deadline_ns = 0
    if node.timeout_ns:
        state.deadline_ns = turn.run.clock_ns + node.timeout_ns
        turn.add_deadline(state.deadline_ns, step_id, state.attempt)


def heard(turn: Turn, node: Node, state: StepState, event: StepHeartbeat) -> None:
    """The attempt is alive. If it was believed to wait in its queue, it does not: somebody runs it."""
    if state.status == "queued":
        started(turn, node, state, event)
    else:
        _listen(turn, node, event.step_id, state)


def _listen(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    state.sticky_due_ns = 0
    if node.heartbeat_timeout_ns:
        state.heartbeat_due_ns = turn.run.clock_ns + node.heartbeat_timeout_ns
        turn.add_deadline(state.heartbeat_due_ns, step_id, state.attempt)
    elif state.sticky:
        sticky.limit_silence(turn, step_id, state)


def released(turn: Turn, node: Node, state: StepState, event: StepReleased) -> None:
    """The attempt is in its queue again; its time counts anew when somebody begins it."""
    if state.worker_id and event.worker_id and state.worker_id != event.worker_id:
        return  # another worker has the attempt by now
    if state.sticky and turn.graph.sticky == "soft":  # the worker it prefers is on its way out
        sticky.let_go(turn, event.step_id, state)
        return
    turn.move(event.step_id, state, "queued")
    state.started_ns = state.heartbeat_due_ns = 0
    state.worker_id = ""
    turn.limit_wait(node, event.step_id, state)
    if state.sticky:
        sticky.limit_wait(turn, event.step_id, state)


def paused(turn: Turn, state: StepState, event: StepPaused) -> None:
    """The handler lets its step rest; then it begins anew, as the same try."""
    if turn.run.saga is not None and not turn.undoes(state):
        why = "the run is being undone: the handler paused, and does not begin again"
        turn.fail(event.step_id, Failure(error=why, failure_type="non_retriable", detail="pause"))
        return
    state.error = state.failure_type = ""
    turn.move(event.step_id, state, "queued")
    turn.settle(event.step_id, state)
    turn.again_in(event.step_id, state, min(event.delay_ms, MAX_PAUSE_MS) * _MILLISECOND)


def note_result(turn: Turn, state: StepState, result: Result) -> None:
    """Who had the attempt, and since when: a fast one's start comes with its result.

    It is kept between its queueing and now, whatever clock wrote it.
    """
    state.worker_id = result.worker_id
    if turn.graph.sticky:
        sticky.bind(turn, turn.node_of(result.step_id), result.worker_id)
    if result.consumed:
        state.consumed = {**state.consumed, **result.consumed}
    if state.started_ns:
        return
    try:
        instant = parse_rfc3339(result.started_at)
    except (ValueError, OverflowError):
        instant = turn.run.clock_ns
    state.started_ns = min(max(instant, state.queued_ns), turn.run.clock_ns)


def overdue(turn: Turn, step_id: str, state: StepState, due_ns: int) -> None:
    """A limit of the attempt is reached: it fails, and whoever has it need not go on."""
    node = turn.node_of(step_id)
    if due_ns != state.deadline_ns:
        failure = _over(SILENT, node.heartbeat_timeout_ns)
        detail = "heartbeat_timeout"
    elif state.status == "queued":
        failure = _over("no worker began it within the step's queue timeout", node.queue_timeout_ns)
        detail = "queue_timeout"
    else:
        failure = _over(TOO_SLOW, node.timeout_ns)
        detail = "timeout"
    release(turn, step_id, state)
    turn.fail(step_id, Failure(error=failure, detail=detail))


def _over(what: str, limit_ns: int) -> str:
    return f"{what} of {format_duration(timedelta(microseconds=limit_ns // 1_000))}"
