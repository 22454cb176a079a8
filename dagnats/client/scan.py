"""Runs as the log has them, newest first: a page of the log at a time, however long it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from dagnats.client.run import RunHandle
from dagnats.errors import DagnatsError
from dagnats.model.event import WorkflowStarted
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from dagnats.client.view import RunView
    from dagnats.runtime.ports import Ports

_PAGE = 1_000
_AT_ONCE = 16


class Window(NamedTuple):
    """Which runs are meant.

    Attributes:
        workflow: Of this workflow; "" for all.
        after_ns: Started at this instant or later; 0 for no limit.
        before_ns: Started before this instant; 0 for no limit.
        below: Whose first event is below this sequence; 0 for no limit.
    """

    workflow: str = ""
    after_ns: int = 0
    before_ns: int = 0
    below: int = 0


async def pages(ports: Ports, window: Window) -> AsyncIterator[list[tuple[str, int]]]:
    """The runs in a window, each with the sequence of its first event, newest first: a page of the log at a time."""
    before = window.below
    while entries := await ports.log.tail(before=before, count=_PAGE):
        found = [
            (record.event.run_id, record.seq)
            for record in reversed(decoded(entries))
            if isinstance(record.event, WorkflowStarted)
            and window.workflow in ("", record.event.payload.workflow)
            and window.after_ns <= record.time_ns
            and (not window.before_ns or record.time_ns < window.before_ns)
        ]
        if found:
            yield found
        if entries[0].time_ns < window.after_ns:
            return
        before = entries[0].seq


async def views(ports: Ports, run_ids: Iterable[str]) -> list[RunView]:
    """Runs as they are now, in the same order; one that cannot be folded is left out: `verify` names it."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def look(run_id: str) -> RunView | None:
        async with room:
            try:
                return await RunHandle(ports, run_id).view()
            except DagnatsError:
                return None

    return [view for view in await asyncio.gather(*map(look, run_ids)) if view is not None]
