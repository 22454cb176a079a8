"""What a run has done before one of its steps: its input, and what the steps above have returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import NotFoundError
from dagnats.model.event import NOTHING, WorkflowStarted
from dagnats.model.identifier import near
from dagnats.runtime.blob import filled, resolved
from dagnats.runtime.core.advance import fold
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.patience import persist
from dagnats.runtime.pointer import Carriers
from dagnats.runtime.recall import recall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import Ports


class Past:
    """What is above one step. Read once: it does not change while the step runs."""

    def __init__(self, ports: Ports, run_id: str, step_id: str) -> None:
        self._ports = ports
        self._run_id = run_id
        self._step_id = step_id
        self._known: tuple[Graph, Run] | None = None

    async def run_input(self) -> bytes:
        """What the run was started with."""
        _, run = await self._folded()
        return await self._whole(bytes(run.input))

    async def output(self, step_id: str) -> bytes:
        """What a step above has returned; b"" when it was skipped. Raises NotFoundError."""
        graph, run = await self._folded()
        above = dict.fromkeys(_above(graph, run, self._step_id))
        if step_id not in above:
            hint = f"step {self._step_id!r} comes after {', '.join(above)}" if above else ""
            hint = hint or f"step {self._step_id!r} comes after nothing"
            close = near(step_id, above)
            raise NotFoundError("step above", step_id, near=close, hint="" if close else hint)
        state = run.steps.get(step_id)
        data = bytes(state.output if state is not None else NOTHING)
        return await self._whole(data)

    async def _whole(self, data: bytes) -> bytes:
        whole = await persist(lambda: Carriers(self._ports.log).whole(self._run_id, data))
        return await persist(lambda: resolved(self._ports, whole))

    async def _folded(self) -> tuple[Graph, Run]:
        if self._known is None:
            self._known = await persist(self._fold)
        return self._known

    async def _fold(self) -> tuple[Graph, Run]:
        recalled = await recall(self._ports, self._run_id)
        if recalled.run is not None:
            name, identity = recalled.run.workflow_id, recalled.run.def_hash
        else:
            starts = [each.event.payload for each in recalled.later if isinstance(each.event, WorkflowStarted)]
            if not starts:  # purged, while we were asleep
                raise NotFoundError("run", self._run_id)
            name, identity = starts[0].workflow, starts[0].def_hash
        graph = graph_of(name, identity, await self._ports.definitions.version(name, identity))
        run = fold(graph, [await filled(self._ports, graph, record) for record in recalled.later], recalled.run)
        assert run is not None, "a history that begins with a start gives a run"
        return graph, run


def _above(graph: Graph, run: Run, step_id: str) -> Iterator[str]:
    """The steps that had to be done before a step, nearest first. For an auxiliary step: the one it runs for, too."""
    waiting, seen = [step_id], {step_id}
    for below in waiting:  # grows while it is read
        node, state = graph.node(below, run), run.steps.get(below)
        serves = (state.serves,) if state is not None and state.serves else ()
        whole = (state.part_of,) if state is not None and state.part_of else ()
        # A map is not done while its items run; what is above it is above them.
        hidden = {each for each in whole if node is not None and node.type == "map"}
        for each in (*serves, *whole, *(node.needs if node is not None else ())):
            if each not in seen:
                seen.add(each)
                waiting.append(each)
                if each not in hidden:
                    yield each
