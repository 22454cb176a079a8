"""New runs made of old ones: the same again, and one that takes over what is done already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError, NotFoundError
from dagnats.model.event import Start
from dagnats.model.identifier import near
from dagnats.model.json import NULL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph

_MOST_NAMED = 10


def rerun(definition: WorkflowDef, old: Graph, run: Run, *, by: str = "") -> Start:
    """The start of a run that repeats `run` from its beginning.

    Args:
        definition: The one to follow.
        old: What `run` followed.
    """
    return Start(
        workflow=definition.name,
        def_hash=definition.identity,
        input=run.input,
        labels=_own_labels(old, run),
        max_depth=run.max_depth,
        priority=run.priority,
        retry_of=run.run_id,
        by=by,
    )


def fork(graph: Graph, old: Graph, run: Run, from_step: str, *, by: str = "") -> Start:
    """The start of a run that begins at a step, and takes the outputs of all that does not depend on it from `run`.

    Args:
        graph: The definition to follow.
        old: What `run` followed.
        from_step: Where it begins.

    Raises:
        NotFoundError: The definition has no such step.
        ConflictError: It only runs for another step, or what the new run would take over was undone.
    """
    node = graph.nodes.get(from_step)
    if node is None:
        close = near(from_step, graph.nodes)
        raise NotFoundError(
            "step", from_step, near=close, hint="" if close else f"the workflow has {listed(graph.nodes)}"
        )
    if node.auxiliary:
        raise ConflictError(f"step {from_step!r} only runs for another step: a run cannot begin there")
    again = _downstream(graph, from_step)
    outputs = {
        step_id: state.output or NULL
        for step_id, state in run.steps.items()
        if state.status == "completed" and step_id not in again and _belongs(graph, step_id)
    }
    gone = [step_id for step_id in outputs if step_id in _undone(old, run)]
    if gone:
        raise ConflictError(
            f"run {run.run_id} cannot be forked at {from_step!r}: what came before was undone: {listed(gone)}",
            hint=f"`dagnats run retry {run.run_id} --mode rerun` starts it anew",
        )
    return Start(
        workflow=graph.name,
        def_hash=graph.identity,
        input=run.input,
        labels=_own_labels(old, run),
        max_depth=run.max_depth,
        priority=run.priority,
        forked_from=run.run_id,
        outputs=outputs,
        by=by,
    )


def listed(names: Iterable[str]) -> str:
    """The first of some names, as a hint shows them."""
    names = list(names)
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def _belongs(graph: Graph, step_id: str) -> bool:
    """Whether a step is one of the definition's own, and runs for no other."""
    node = graph.nodes.get(step_id)
    return node is not None and not node.auxiliary


def _undone(old: Graph, run: Run) -> set[str]:
    """Steps whose effect does not stand any more, or will not when the undoing is over."""
    if run.saga is None:
        return set()
    return {
        step_id
        for step_id, state in run.steps.items()
        if state.attempt and step_id in old.nodes and old.nodes[step_id].compensate
    }


def _downstream(graph: Graph, step_id: str) -> set[str]:
    """A step and all that depends on it."""
    found, waiting = {step_id}, [step_id]
    for each in waiting:  # grows while it is read
        new = [dependent for dependent in graph.nodes[each].dependents if dependent not in found]
        found.update(new)
        waiting += new
    return found


def _own_labels(old: Graph, run: Run) -> dict[str, str]:
    """The labels its starter gave it; the others are its definition's."""
    return {name: value for name, value in run.labels.items() if old.labels.get(name) != value}
