"""Runs and events as people and programs read them: complete, in the definition's order, with plain JSON values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.model.config import WaitForEventConfig
from dagnats.model.event import Record, SignalReceived, StepEvent, event_type
from dagnats.model.pulse import Pulse
from dagnats.model.run import IN_FLIGHT, Run, RunStatus, StepState, StepStatus
from dagnats.model.trace import run_trace_parent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.model.scalar import StepType
    from dagnats.runtime.core.gate.view import GateView, TaskGateView, TaskPlace
    from dagnats.runtime.core.graph import Graph

_SILENT = Pulse()


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a run.

    Attributes:
        id: The step's id; a shared auxiliary step runs under a derived one.
        task: Its task type.
        status: Where it is.
        attempts: How often it was handed out.
        needs: The steps it depends on.
        auxiliary: Whether it only runs for another step.
        serves: The step it runs for, when it is auxiliary and runs.
        output: What it returned (a JSON value); None before.
        error: What its newest failed attempt said.
        worker_id: Who ran it.
        queued_ns: When its newest attempt was handed out, by the log's clock; 0 before.
        started_ns: When a worker began it; 0 before.
        ended_ns: When it reached its last status; 0 before.
        retry_at_ns: When the next attempt is due, while one waits; else 0. Without an `error`, nothing has failed: the
            handler paused, or asked for another turn.
        type: How it is run.
        due_ns: When what the engine itself waits for is over: a sleep, a wait, an approval; else 0.
        held: Whether it is ready, and waits in the run's line.
        iteration: Of a loop: how many turns are done.
        part_of: Of an item of a map and a generated step: the map or the planner.
        items: Of a map: how many it has.
        left: Of a map or a planner: how many of its parts are not done.
        failed_items: Of a map: how many failed.
        child_run_id: Of a child step: the run that runs for it.
        awaits: The event that it waits for.
        progress: How much the running attempt says is done, from 0 to 1; None when it does not say.
        message: What it says that it is doing.
        details: What its handler gave to `heartbeat` last, or the last attempt's did: a JSON value, or None.
        gate: What it waits for before it is handed out, when that was asked for: "" for nothing.
    """

    id: str
    task: str
    status: StepStatus
    attempts: int
    needs: tuple[str, ...]
    auxiliary: bool
    serves: str
    output: Any
    error: str
    worker_id: str
    queued_ns: int
    started_ns: int
    ended_ns: int
    retry_at_ns: int
    type: StepType = "normal"
    due_ns: int = 0
    held: bool = False
    iteration: int = 0
    part_of: str = ""
    items: int = 0
    left: int = 0
    failed_items: int = 0
    child_run_id: str = ""
    awaits: str = ""
    progress: float | None = None
    message: str = ""
    details: Any = None
    gate: str = ""

    @property
    def in_flight(self) -> bool:
        return self.status in IN_FLIGHT


@dataclass(frozen=True, slots=True)
class RunView:
    """One run.

    Attributes:
        run_id: Which.
        workflow: The workflow's name.
        def_hash: The definition it is pinned to.
        status: Where it is; terminal once it ended.
        steps: All of them, in the definition's order.
        leaves: The ids of the steps whose outputs are the run's.
        input: A JSON value.
        output: The run output, once completed.
        error: Why it did not complete.
        failed_step: The step to blame, or "".
        compensating: Whether it is being undone.
        created_ns: When it was started, by the log's clock.
        ended_ns: When it ended; 0 before.
        seq: The last event this view knows.
        paused: Whether somebody holds it.
        run_at_ns: When it is to begin, while it is scheduled; else 0.
        labels: Its definition's, and its starter's.
        parent_run_id: The run that it runs for; "" for one of its own.
        retry_of: The run that it repeats, or "".
        forked_from: The run whose outputs it took over, or "".
        events: How many its history has.
        trace_parent: The starter's W3C trace context, or "".
    """

    run_id: str
    workflow: str
    def_hash: str
    status: RunStatus
    steps: tuple[StepView, ...]
    leaves: tuple[str, ...]
    input: Any
    output: Any
    error: str
    failed_step: str
    compensating: bool
    created_ns: int
    ended_ns: int
    seq: int
    paused: bool = False
    run_at_ns: int = 0
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    parent_run_id: str = ""
    retry_of: str = ""
    forked_from: str = ""
    events: int = 0
    trace_parent: str = ""

    @property
    def ended(self) -> bool:
        return self.ended_ns > 0


@dataclass(frozen=True, slots=True)
class EventView:
    """One event of a run's history.

    Attributes:
        seq: Its place in the log.
        time_ns: The log's time for it.
        type: `step.completed`, …
        run_id: Which run.
        step_id: The step, or "".
        attempt: The attempt it answers; 0 when it carries none.
        payload: A JSON value, or None.
        trace_parent: W3C trace context.
        worker_id: Who ran the attempt, or "".
        name: Of a signal, which; else "".
    """

    seq: int
    time_ns: int
    type: str
    run_id: str
    step_id: str
    attempt: int
    payload: Any
    trace_parent: str
    worker_id: str
    name: str = ""


def run_view(graph: Graph, run: Run, pulses: Mapping[str, Pulse] | None = None) -> RunView:
    """`run` made complete with what only its definition knows.

    Args:
        graph: Its definition.
        run: The run.
        pulses: What its running steps say of themselves.
    """
    said = pulses or {}
    states = [(step_id, run.steps.get(step_id, StepState())) for step_id in graph.nodes]
    states += [(step_id, state) for step_id, state in run.steps.items() if step_id not in graph.nodes]
    steps = [_step_view(graph, run, step_id, state, said.get(step_id, _SILENT)) for step_id, state in states]
    saga = run.saga
    return RunView(
        run_id=run.run_id,
        workflow=run.workflow_id,
        def_hash=run.def_hash,
        status=run.status,
        steps=tuple(steps),
        leaves=graph.leaves,
        input=json_value(run.input),
        output=json_value(run.outcome.output),
        error=run.outcome.error or (saga.error if saga else ""),
        failed_step=run.outcome.step_id or (saga.trigger_step if saga else ""),
        compensating=saga is not None and not run.ended,
        created_ns=run.created_ns,
        ended_ns=run.ended_ns,
        seq=run.seq,
        paused=run.paused,
        run_at_ns=run.run_at_ns,
        labels=dict(run.labels),
        parent_run_id=run.parent.run_id if run.parent is not None else "",
        retry_of=run.retry_of,
        forked_from=run.forked_from,
        events=run.events,
        trace_parent=run.trace_parent,
    )


def at_gates(view: RunView, gates: GateView) -> RunView:
    """`view` with what its steps wait for at the gates."""
    told = {(place.step_id, place.attempt): _held(gate, place) for gate, place in gates.steps(view.run_id)}
    steps = (replace(step, gate=told.get((step.id, step.attempts), "")) for step in view.steps)
    return replace(view, steps=tuple(steps))


def _held(gate: TaskGateView, place: TaskPlace) -> str:
    """Why an attempt waits at a gate, and in which place."""
    if gate.said is not None and gate.said.paused:
        why = f"queue {gate.task} is paused"
    elif gate.concurrency and len(gate.out) >= gate.concurrency:
        why = f"a slot of {gate.task} ({len(gate.out)} of {gate.concurrency} in flight)"
    else:
        why = f"the rate of {gate.task}"
    return f"{why}, place {place.place} in line"


def _step_view(graph: Graph, run: Run, step_id: str, state: StepState, pulse: Pulse) -> StepView:
    node = graph.node(step_id, run)
    assert node is not None, f"state without a step: {step_id}"
    is_its = pulse.attempt == state.attempt  # else an earlier attempt's, which says nothing of how far this one is
    return StepView(
        id=step_id,
        task=node.task,
        status=state.status,
        attempts=state.attempt,
        needs=node.needs,
        auxiliary=node.auxiliary,
        serves=state.serves,
        output=json_value(state.output),
        error=state.error,
        worker_id=state.worker_id,
        queued_ns=state.queued_ns,
        started_ns=state.started_ns,
        ended_ns=state.ended_ns,
        retry_at_ns=state.retry_at_ns,
        type=node.type,
        due_ns=state.due_ns,
        held=state.held,
        iteration=state.iteration,
        part_of=state.part_of,
        items=state.items,
        left=state.left,
        failed_items=state.failed_items,
        child_run_id=state.child_run_id,
        awaits=node.config.event if isinstance(node.config, WaitForEventConfig) else "",
        progress=pulse.fraction if is_its else None,
        message=pulse.message if is_its else "",
        details=json_value(pulse.details),
    )


def event_view(record: Record, trace_parent: str = "") -> EventView:
    """An event, flat.

    Args:
        record: The event.
        trace_parent: The starter's context: what a timer or a limit has made, which knows of none, belongs to the run.
    """
    event = record.event
    fields = msgspec.to_builtins(event, builtin_types=(msgspec.Raw,))
    payload = fields.get("payload")
    return EventView(
        seq=record.seq,
        time_ns=record.time_ns,
        type=event_type(event),
        run_id=event.run_id,
        step_id=str(getattr(event, "step_id", "")),
        attempt=event.attempt_number if isinstance(event, StepEvent) else 0,
        payload=json_value(payload) if isinstance(payload, msgspec.Raw) else _plain(payload),
        trace_parent=event.trace_parent or run_trace_parent(trace_parent, event.run_id),
        worker_id=event.worker_id if isinstance(event, StepEvent) else "",
        name=event.name if isinstance(event, SignalReceived) else "",
    )


def _plain(value: Any) -> Any:
    """`value` with embedded raw JSON decoded."""
    return json_value(msgspec.Raw(msgspec.json.encode(value))) if value is not None else None


def json_value(raw: msgspec.Raw) -> Any:
    """The value of raw JSON; None when there is none, the text itself for what no Python value can hold."""
    data = bytes(raw)
    try:
        return msgspec.json.decode(data) if data else None
    except msgspec.DecodeError:  # a number like 1e999
        return data.decode(errors="replace")
