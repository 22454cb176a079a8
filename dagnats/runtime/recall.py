"""A run as it was left: its snapshot, and the events after it. What a reader of one run begins with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.model.run import Run, decode_run
from dagnats.runtime.record import decoded, from_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.event import Record
    from dagnats.runtime.ports import Entry, Ports, Stored

log = logging.getLogger("dagnats.engine")


class Recalled(NamedTuple):
    """What is known of a run.

    Attributes:
        run: As its snapshot has it; None when the history is all there is.
        revision: The snapshot's, readable or not; 0 when there is none.
        size: The snapshot's, in bytes.
        later: The events that are not in `run`, in order.
        last: The newest entry of the history, event or not; 0 when there is none.
    """

    run: Run | None
    revision: int
    size: int
    later: Sequence[Record]
    last: int


async def recall(ports: Ports, run_id: str, *, ahead_from: int = 0) -> Recalled:
    """What snapshot and history hold of a run. Raises UnavailableError.

    A snapshot counts only when the log still has the event it was made at: a log that lost its tail takes the
    snapshots that were ahead of it with it.

    Args:
        ahead_from: No snapshot can know this event, or a later one; 0 for none such.
    """
    stored = await ports.snapshots.load(run_id)
    run = _readable(run_id, stored)
    if run is not None and ahead_from and run.seq >= ahead_from:
        log.warning("the snapshot of run %s is ahead of the log, its history will do", run_id)
        run = None
    entries = await ports.log.read(run_id, after=run.seq - 1 if run is not None else 0)
    if run is not None and not _has(entries, run):
        log.warning("the snapshot of run %s is of another log, its history will do", run_id)
        run, entries = None, await ports.log.read(run_id)
    later = from_start(decoded(entries)) if run is None else decoded(entries[1:])
    last = entries[-1].seq if entries else 0
    if stored is None:
        return Recalled(run, 0, 0, later, last)
    return Recalled(run, stored.revision, len(stored.data), later, last)


def _readable(run_id: str, stored: Stored | None) -> Run | None:
    try:
        return decode_run(stored.data) if stored is not None else None
    except msgspec.DecodeError as error:
        log.warning("the snapshot of run %s cannot be read, its history will do: %s", run_id, error)
        return None


def _has(entries: list[Entry], run: Run) -> bool:
    """Whether a history goes on from where a run is."""
    return bool(entries) and entries[0].seq == run.seq and entries[0].time_ns == run.time_ns
