"""What a step receives, and what a run gives: payloads joined as raw bytes, never decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dagnats.model.json import NULL, encode, join_object

if TYPE_CHECKING:
    from dagnats.model.run import Run, StepState
    from dagnats.runtime.core.graph import Graph, Node


def input_of(graph: Graph, run: Run, node: Node, state: StepState) -> msgspec.Raw:
    """The input of a step that is about to run.

    No dependency: the run input. One: its output. Several: `{dependency: output}`, null for a skipped one.
    A failure or compensation step gets the description of what it is for, an item of a map itself, a turn of a loop
    what the turn before gave it.
    """
    if state.input:
        return state.input
    if state.serves:
        return _auxiliary_input(graph, run, node, state.serves)
    return _graph_input(run, node.needs)


def _graph_input(run: Run, needs: tuple[str, ...]) -> msgspec.Raw:
    if not needs:
        return run.input
    if len(needs) == 1:
        return output_of(run, needs[0])
    return join_object((needed, output_of(run, needed)) for needed in needs)


def output_of(run: Run, step_id: str) -> msgspec.Raw:
    """What a step returned; null for nothing."""
    state = run.steps.get(step_id)
    return state.output if state is not None and state.output else NULL


class _FailureInfo(msgspec.Struct):
    failed_step: str
    error: str
    failure_type: str
    attempts: int
    input: msgspec.Raw


class _Compensation(msgspec.Struct):
    original_step: str
    original_output: msgspec.Raw
    trigger_step: str
    trigger_error: str


def _auxiliary_input(graph: Graph, run: Run, node: Node, step_id: str) -> msgspec.Raw:
    if run.saga is not None and graph.nodes[step_id].compensate == node.id:
        return encode(_Compensation(step_id, output_of(run, step_id), run.saga.trigger_step, run.saga.error))
    failed = run.steps[step_id]
    original = _graph_input(run, graph.nodes[step_id].needs) or NULL
    return encode(_FailureInfo(step_id, failed.error, failed.failure_type, failed.attempt, original))


def run_output(graph: Graph, run: Run) -> msgspec.Raw:
    """The run's output: the one leaf's, or `{leaf: output}` when the graph ends in several; null when skipped."""
    if len(graph.leaves) == 1:
        return output_of(run, graph.leaves[0])
    return join_object((leaf, output_of(run, leaf)) for leaf in graph.leaves)
