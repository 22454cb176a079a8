"""A handle on one run: look at it, follow it, wait for it, cancel it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from dagnats.client.view import EventView, RunView, event_view, run_view
from dagnats.dsl.duration import duration_text
from dagnats.errors import (
    ConflictError,
    DagnatsError,
    DecodeError,
    NotFoundError,
    ResultTimeout,
    RunCancelled,
    RunCompensated,
    RunFailed,
)
from dagnats.handling.codec import codec_for
from dagnats.model.duration import parse_duration
from dagnats.model.event import (
    TERMINAL_PREFIXES,
    Record,
    TerminalEvent,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowStarted,
    decode_event,
    encode_event,
)
from dagnats.model.instant import rfc3339
from dagnats.model.run import Run
from dagnats.runtime.core.advance import advance, fold
from dagnats.runtime.core.ending import STATUS
from dagnats.runtime.core.graph import Graph, graph_of
from dagnats.runtime.recall import Recalled, recall
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagnats.runtime.ports import Ports

T = TypeVar("T")

_AT_ONCE_S = 0.002

_ERRORS = {
    "failed": RunFailed,
    "compensate_failed": RunFailed,
    "compensated": RunCompensated,
    "cancelled": RunCancelled,
}


class RunHandle:
    """One run. Making a handle asks nothing; every call looks at the log."""

    def __init__(self, ports: Ports, run_id: str, *, begun: int = 0) -> None:
        self.run_id = run_id
        self._ports = ports
        self._begun = begun  # the sequence of its start, when we started it
        self._made_s = asyncio.get_running_loop().time() if begun else 0.0

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def view(self) -> RunView:
        """The run as it is now, folded from its history: never stale.

        Raises:
            NotFoundError: There is no such run.
        """
        graph, run = await self._fold()
        return run_view(graph, run)

    async def history(self) -> list[EventView]:
        """All its events so far. Raises NotFoundError."""
        return [event_view(record) for record in await self._records()]

    async def events(self, *, after: int = 0) -> AsyncIterator[EventView]:
        """Its events with sequences above `after`, then those that follow, up to and including its last.

        Raises:
            NotFoundError: There is no such run.
        """
        async for record, _ in self._follow():
            if record.seq > after:
                yield event_view(record)

    @overload
    async def result(self, *, timeout: timedelta | str | None = None) -> Any: ...
    @overload
    async def result(self, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...

    async def result(self, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any:
        """Wait for the run's output: the one leaf's, or an object by step id when the graph ends in several.

        Args:
            type: What to read the output as; plain JSON values when left out.
            timeout: How long to wait: a timedelta or a string such as `"30s"`.

        Raises:
            RunFailed, RunCompensated, RunCancelled: It ended another way, with the failing step's error.
            ResultTimeout: It has not ended; it goes on.
            CodecError: The output does not fit `type`.
            NotFoundError: There is no such run.
        """
        end = await self._end(timeout)
        outcome = end.payload
        if not isinstance(end, WorkflowCompleted):
            raise _ERRORS[STATUS[end.__class__]](self.run_id, step=outcome.step_id, error=outcome.error)
        return codec_for(type).decode(bytes(outcome.output))

    async def wait(self, *, timeout: timedelta | str | None = None) -> RunView:
        """The run once it has ended, whatever way. Raises NotFoundError and ResultTimeout, like `result`."""
        await self._end(timeout)
        return await self.view()

    async def cancel(self) -> None:
        """End the run now. What was completed stays as it is; running handlers' results are dropped.

        Raises:
            ConflictError: It has ended already, or is being undone, which is not cut off half-way.
            NotFoundError: There is no such run.
        """
        event_id = f"{self.run_id}.cancel.{self._ports.clock.now_ns()}"
        event = WorkflowCancelled(run_id=self.run_id, timestamp=rfc3339(self._ports.clock.now_ns()))
        data = encode_event(event)
        while True:
            recalled = await recall(self._ports, self.run_id)
            _, run = await self._folded(recalled)
            _refuse_cancel(run)
            try:
                await self._ports.log.append_after(self.run_id, data, id=event_id, last=recalled.last)
            except ConflictError:
                # An event came in between, or it is our own from a try whose answer was lost.
                if await self._has(data, after=recalled.last):
                    return
                continue
            return

    # -- reading ---------------------------------------------------------------------------------------------

    async def _has(self, data: bytes, *, after: int) -> bool:
        return any(entry.data == data for entry in await self._ports.log.read(self.run_id, after=after))

    async def _records(self) -> list[Record]:
        records = decoded(await self._ports.log.read(self.run_id))
        if not records:
            raise NotFoundError("run", self.run_id)
        return records

    async def _graph(self, first: Record) -> Graph:
        event = first.event
        if not isinstance(event, WorkflowStarted):
            raise DecodeError(f"the history of run {self.run_id} does not begin with its start")
        return await self._definition(event.payload.workflow, event.payload.def_hash)

    async def _graph_of(self, run: Run) -> Graph:
        return await self._definition(run.workflow_id, run.def_hash)

    async def _definition(self, workflow: str, identity: str) -> Graph:
        return graph_of(workflow, identity, await self._ports.definitions.version(workflow, identity))

    async def _fold(self) -> tuple[Graph, Run]:
        """The run as it is now: its snapshot, and the events after it."""
        return await self._folded(await recall(self._ports, self.run_id))

    async def _folded(self, recalled: Recalled) -> tuple[Graph, Run]:
        if recalled.run is None and not recalled.later:
            raise NotFoundError("run", self.run_id)
        graph = await (self._graph(recalled.later[0]) if recalled.run is None else self._graph_of(recalled.run))
        try:
            run = fold(graph, recalled.later, recalled.run)
        except Exception as error:
            raise _parked(self.run_id, error) from error
        assert run is not None, "a history that begins with a start gives a run"
        return graph, run

    async def _follow(self) -> AsyncIterator[tuple[Record, Run]]:
        """Every event with the run as it is after it; ends with the run."""
        records = await self._records()
        graph = await self._graph(records[0])
        run: Run | None = None
        for record in records:
            run = _moved(graph, run, record)
            yield record, run
            if run.ended:
                return
        async for entry in self._ports.log.watch(self.run_id, after=records[-1].seq):
            for record in decoded([entry]):
                run = _moved(graph, run, record)
                yield record, run
                if run.ended:
                    return

    async def _ended(self, event: TerminalEvent) -> bool:
        """Whether it was this event that ended the run."""
        if not isinstance(event, WorkflowCancelled):
            return True
        _, run = await self._fold()  # a run whose end was decided, or that is being undone, has absorbed it
        return run.status == "cancelled"

    async def _end(self, timeout: timedelta | str | None) -> TerminalEvent:
        """The run's last event."""
        limit = parse_duration(duration_text(timeout)) if timeout is not None else None
        try:
            async with asyncio.timeout(limit.total_seconds() if limit is not None else None):
                if not self._begun and not await self._ports.log.first(self.run_id):
                    raise NotFoundError("run", self.run_id)
                # Whoever waits from the start on hears the end; later it may have been said already.
                soon = asyncio.get_running_loop().time() - self._made_s < _AT_ONCE_S
                after = self._begun if soon else 0
                while True:
                    entry = await self._ports.log.wait_for(self.run_id, TERMINAL_PREFIXES, after=after)
                    event = decode_event(entry.data)
                    if isinstance(event, TerminalEvent) and await self._ended(event):
                        return event
                    after = entry.seq
        except TimeoutError:
            assert limit is not None, "only our own limit ends the wait"
            raise ResultTimeout(self.run_id, limit) from None


def _moved(graph: Graph, run: Run | None, record: Record) -> Run:
    try:
        run = advance(graph, run, record).run
    except Exception as error:
        raise _parked(record.event.run_id, error) from error
    assert run is not None, "a history that begins with a start gives a run"
    return run


def _parked(run_id: str, error: Exception) -> DagnatsError:
    return DagnatsError(
        f"run {run_id} is parked: DagNats cannot decide one of its events ({type(error).__name__}: {error})",
        hint="this is a fault of DagNats; the run goes on under a version that has it fixed. `dagnats run events` "
        "shows its history",
    )


def _refuse_cancel(run: Run) -> None:
    if run.ended:
        raise ConflictError(f"run {run.run_id} has ended already: {run.status}")
    if run.ending:
        raise ConflictError(f"run {run.run_id} is ending: {run.ending}")
    if run.saga is not None:
        done = len(run.saga.order) - len(run.saga.queue)
        raise ConflictError(
            f"run {run.run_id} is being undone (step {done} of {len(run.saga.order)}) and cannot be cancelled half-way",
            hint="wait for it to end as compensated",
        )
