"""A run as it stands now, folded by whoever asks: its snapshot, and the events after it. Never stale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError, DecodeError, NotFoundError
from dagnats.model.event import Record, WorkflowStarted
from dagnats.runtime.blob import filled
from dagnats.runtime.core.advance import fold
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.recall import recall

if TYPE_CHECKING:
    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.recall import Recalled


async def standing(ports: Ports, run_id: str, recalled: Recalled | None = None) -> tuple[Graph, Run]:
    """A run as it is now.

    Args:
        recalled: What is known of it, when somebody has asked already.

    Raises:
        NotFoundError: There is no such run.
        DagnatsError: It is parked: DagNats cannot decide one of its events.
        UnavailableError: NATS did not answer.
    """
    recalled = recalled or await recall(ports, run_id)
    if recalled.run is None and not recalled.later:
        raise NotFoundError("run", run_id)
    graph = await graph_behind(ports, recalled.later[0] if recalled.run is None else recalled.run)
    later = [await filled(ports, graph, record) for record in recalled.later]
    try:
        run = fold(graph, later, recalled.run)
    except Exception as error:
        raise parked(run_id, error) from error
    assert run is not None, "a history that begins with a start gives a run"
    return graph, run


async def graph_behind(ports: Ports, known: Record | Run, *, whole: bool = False) -> Graph:
    """The graph of a run, known by its first event or its snapshot. Raises DecodeError for another event. For `whole`
    see `Graph`."""
    if isinstance(known, Record):
        event = known.event
        if not isinstance(event, WorkflowStarted):
            raise DecodeError(f"the history of run {event.run_id} does not begin with its start")
        workflow, identity = event.payload.workflow, event.payload.def_hash
    else:
        workflow, identity = known.workflow_id, known.def_hash
    return graph_of(workflow, identity, await ports.definitions.version(workflow, identity), whole=whole)


def parked(run_id: str, error: Exception) -> DagnatsError:
    """Why nobody can say how a run is."""
    return DagnatsError(
        f"run {run_id} is parked: DagNats cannot decide one of its events ({type(error).__name__}: {error})",
        hint="this is a fault of DagNats; the run goes on under a version that has it fixed. `dagnats run events` "
        "shows its history",
    )
