"""A history as events: what readers of the log fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import DecodeError
from dagnats.model.event import Record, WorkflowStarted, decode_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagnats.runtime.ports import Entry


def decoded(entries: Iterable[Entry]) -> list[Record]:
    """The entries that are events of ours; the engine puts the others into the dead letters."""
    records: list[Record] = []
    for entry in entries:
        try:
            records.append(Record(entry.seq, entry.time_ns, decode_event(entry.data)))
        except DecodeError:
            continue
    return records


def has_start(entries: Iterable[Entry]) -> bool:
    """Whether a history has its run's start. Where a server has lost it, late results and wake-ups may be there."""
    return any(isinstance(record.event, WorkflowStarted) for record in decoded(entries))


def from_start(records: Sequence[Record]) -> Sequence[Record]:
    """A history from its start on; all of it when it has none.

    A log that lost its tail may have results of before in front of a start that was written again.
    """
    begins = next((at for at, record in enumerate(records) if isinstance(record.event, WorkflowStarted)), 0)
    return records[begins:] if begins else records
