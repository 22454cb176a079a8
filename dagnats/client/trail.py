"""A run by its history: folded as far as that goes, followed as it goes on, and added to."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeVar

import msgspec

from dagnats.client.stamp import stamp
from dagnats.errors import ConflictError, NotFoundError
from dagnats.model.event import Record, TimerFired, WorkflowReopened, encode_event
from dagnats.runtime.blob import filled
from dagnats.runtime.core.advance import advance
from dagnats.runtime.recall import recall
from dagnats.runtime.record import decoded, from_start
from dagnats.runtime.standing import graph_behind, parked, standing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dagnats.model.event import AnyEvent
    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import Ports

OrderT = TypeVar("OrderT", bound="AnyEvent")


class Trail:
    """What a handle knows of its run: the ground of `RunHandle`."""

    def __init__(self, ports: Ports, run_id: str) -> None:
        self.run_id = run_id
        self._ports = ports

    @property
    def ports(self) -> Ports:
        """Where it is looked at."""
        return self._ports

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def _records(self) -> list[Record]:
        records = decoded(await self._ports.log.read(self.run_id))
        if not records:
            raise NotFoundError("run", self.run_id)
        return records

    async def _fold(self) -> tuple[Graph, Run]:
        """The run as it is now: its snapshot, and the events after it."""
        return await standing(self._ports, self.run_id)

    async def _follow(self) -> AsyncIterator[tuple[Record, Run]]:
        """Every event with the run as it is after it; ends with the run."""
        records = from_start(await self._records())
        graph = await graph_behind(self._ports, records[0])
        run: Run | None = None
        reopened = max((record.seq for record in records if isinstance(record.event, WorkflowReopened)), default=0)
        for record in records:
            run = await self._moved(graph, run, record)
            yield record, run
            if run.ended and record.seq > reopened:
                return
        async for entry in self._ports.log.watch(self.run_id, after=records[-1].seq):
            for record in decoded([entry]):
                run = await self._moved(graph, run, record)
                yield record, run
                if run.ended:
                    return

    async def _moved(self, graph: Graph, run: Run | None, record: Record) -> Run:
        record = await filled(self._ports, graph, record)
        try:
            run = advance(graph, run, record).run
        except Exception as error:
            raise parked(self.run_id, error) from error
        assert run is not None, "a history that begins with a start gives a run"
        return run

    async def _tell(self, decide: Callable[[Graph, Run], OrderT]) -> OrderT:
        """Append what `decide` makes of the run as it is; ask it again whenever another event was first.

        Time passes on the way: when the log's own time for the event has brought a deadline that decides otherwise,
        such as an approval's, it is asked once more, and raises.
        """
        mark = stamp(self._ports.clock)
        event_id = f"{self.run_id}.order.{secrets.token_hex(12)}"  # one caller's orders may share a trace
        while True:
            recalled = await recall(self._ports, self.run_id)
            graph, run = await standing(self._ports, self.run_id, recalled)
            event = msgspec.structs.replace(decide(graph, run), **mark)
            data = encode_event(event)
            try:
                receipt = await self._ports.log.append_after(self.run_id, data, id=event_id, last=recalled.last)
            except ConflictError:
                # An event came in between, or it is our own from a try whose answer was lost.
                if await self._has(data, after=recalled.last):
                    return event
                continue
            if run.deadlines:
                await self._ask_again(graph, run, receipt.seq, decide)
            return event

    async def _ask_again(self, graph: Graph, run: Run, seq: int, decide: Callable[[Graph, Run], OrderT]) -> None:
        """Raise what `decide` says of the run at the instant of event `seq`, with all deadlines up to it applied."""
        entry = await self._ports.log.at(seq)
        if entry is not None:
            tick = TimerFired(run_id=self.run_id, due_ns=0)
            decide(graph, await self._moved(graph, run, Record(seq, entry.time_ns, tick)))

    async def _has(self, data: bytes, *, after: int) -> bool:
        return any(entry.data == data for entry in await self._ports.log.read(self.run_id, after=after))
