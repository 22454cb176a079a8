"""Every event of every run, each on one line, as the log gets it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from dagnats.cli.history import event_document, event_row
from dagnats.cli.option import current
from dagnats.cli.output import cut, emit_line, one_line, pad, paint, room, say
from dagnats.cli.target import short
from dagnats.client.view import event_view
from dagnats.model.identifier import is_reserved
from dagnats.runtime.patience import persist
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from dagnats.cli.output import Paint
    from dagnats.client import EventView
    from dagnats.runtime.ports import Log

_PAGE = 256
_LOOK_S = 0.1
_TYPE_WIDTH = 18  # workflow.completed
_COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow", "started": "cyan"}


async def tick(log: Log) -> NoReturn:
    """Print what the log gets from now on, until cancelled."""
    after = await persist(log.last)
    while True:
        page = await persist(partial(log.page, after=after, count=_PAGE))
        for record in decoded(entry for entry in page if not is_reserved(entry.run_id)):
            _tell(event_view(record))
        if page:
            after = page[-1].seq
        else:
            await asyncio.sleep(_LOOK_S)


def _tell(event: EventView) -> None:
    if current().json:
        emit_line(event_document(event))
    else:
        say(tick_line(event, width=room(), painter=paint))


def tick_line(event: EventView, *, width: int | None, painter: Paint) -> str:
    """An event on one line: when, which run, what, which step, and its data."""
    time, type, step, _, data = event_row(event, full=False)
    words = [time[11:], short(event.run_id), pad(type, _TYPE_WIDTH), step if step != "-" else "", one_line(data)]
    line = cut("  ".join(word for word in words if word).rstrip(), width)
    colour = _COLOURS.get(type.rpartition(".")[2], "")
    return line.replace(type, painter(type, colour), 1) if colour else line
