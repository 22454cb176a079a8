"""How a run begins: refused, at its time, when the gates let it, or at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.run import Run
from dagnats.runtime.core import cancel, completion, ending, saga
from dagnats.runtime.core.action import AskAdmission
from dagnats.runtime.core.path import Missing, decoded, text_of, value_at
from dagnats.runtime.core.turn import RUN_BEGINS, RUN_OVER

if TYPE_CHECKING:
    from dagnats.model.event import Record, Start, WorkflowStarted
    from dagnats.model.run import StepState
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

_SECOND = 1_000_000_000


def new_run(graph: Graph, event: WorkflowStarted, record: Record) -> Run:
    """The run that a start begins."""
    start = event.payload
    run = Run(
        run_id=event.run_id,
        workflow_id=start.workflow,
        def_hash=start.def_hash,
        status="scheduled" if start.run_at_ns > record.time_ns else "pending",
        seq=record.seq,
        time_ns=record.time_ns,
        clock_ns=record.time_ns,
        created_ns=record.time_ns,
        input=start.input,
        events=1,
        trace_parent=event.trace_parent,
        core_version=start.core_version,
    )
    if graph.labels or start.labels:
        run.labels = {**graph.labels, **start.labels}
    run.parent = start.parent
    run.retry_of, run.forked_from = start.retry_of, start.forked_from
    run.max_events, run.max_depth = start.max_events, start.max_depth
    run.priority = start.priority
    return run


def started(turn: Turn, start: Start) -> None:
    """The first event of a run."""
    run, graph = turn.run, turn.graph
    run.input = turn.kept("", start.input, "input")
    refusal = start.refusal or graph.unusable  # who refuses knows why
    if refusal:
        ending.fail(turn, "", refusal)
        return
    run.remaining = graph.size
    if start.outputs:
        _take_over(turn, start)
    run.held = start.held or graph.is_admitted
    if run.status == "scheduled":
        run.run_at_ns = start.run_at_ns
        turn.add_deadline(run.run_at_ns, "", RUN_BEGINS)
    else:
        begin(turn)


def _take_over(turn: Turn, start: Start) -> None:
    """Outputs that another run has made already: their steps are done."""
    for step_id, output in start.outputs.items():
        node = turn.graph.nodes.get(step_id)
        if node is None or node.auxiliary:
            continue
        state = turn.state_of(step_id)
        turn.move(step_id, state, "completed")
        state.output = turn.kept(step_id, output, f"outputs.{step_id}")
        completion.done(turn, node)


def begin(turn: Turn) -> None:
    """The run's time has come: it goes on at once, or asks the gates."""
    run = turn.run
    run.run_at_ns = 0
    if run.status == "scheduled":
        turn.become("pending")
    if run.held:
        _ask(turn)
    else:
        admitted(turn)


def _ask(turn: Turn) -> None:
    run, graph = turn.run, turn.graph
    singleton, concurrency = graph.singleton, graph.concurrency
    run.asked = turn.seq
    turn.act(
        AskAdmission(
            id=turn.next_id(),
            run_id=run.run_id,
            seq=turn.seq,
            workflow=run.workflow_id,
            max_runs=concurrency.max_runs if concurrency is not None else 0,
            key=_key(run, concurrency.key if concurrency is not None else None),
            singleton=singleton.mode if singleton is not None else "",
            singleton_key=_key(run, singleton.key if singleton is not None else None),
            offset_ns=_offset_ns(graph, run),
            ancestors=run.parent.ancestors if run.parent is not None else (),
        )
    )


def _key(run: Run, path: str | None) -> str:
    """The value that a limit counts for; a run whose input does not have it counts with all others like it."""
    if path is None:
        return ""
    try:
        return text_of(value_at(decoded(run.input), path))
    except Missing:
        return ""


def _offset_ns(graph: Graph, run: Run) -> int:
    if run.priority is not None:
        return run.priority * _SECOND
    priority = graph.priority
    if priority is None:
        return 0
    try:
        value = text_of(value_at(decoded(run.input), priority.key))
    except Missing:
        return priority.default_offset * _SECOND
    return priority.rules.get(value, priority.default_offset) * _SECOND


def admitted(turn: Turn) -> None:
    """The run begins, or goes on with its undoing: its time counts from here."""
    run, graph = turn.run, turn.graph
    turn.become("running")
    run.held = False
    if run.saga is not None:
        saga.go_on(turn, run.saga)
        return
    if graph.timeout_ns:
        run.deadline_ns = run.clock_ns + graph.timeout_ns
        turn.add_deadline(run.deadline_ns, "", RUN_OVER)
    turn.ready = _ready(turn) if run.steps else [*graph.roots]
    if graph.cancel_on:
        cancel.watch(turn)


def _ready(turn: Turn) -> list[str]:
    """The steps that wait for nothing any more, of a run that some steps of are done already."""
    steps = turn.run.steps
    return [
        node.id for node in turn.graph.nodes.values() if not node.auxiliary and _may_begin(node, steps.get(node.id))
    ]


def _may_begin(node: Node, state: StepState | None) -> bool:
    return not node.needs if state is None else state.status == "pending" and not state.waits_for
