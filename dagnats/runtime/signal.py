"""Signals between runs, as workers send and take them: the log has them, in order."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError
from dagnats.model.event import SignalReceived, encode_event
from dagnats.model.instant import rfc3339
from dagnats.runtime.blob import carried
from dagnats.runtime.recall import recall
from dagnats.runtime.standing import standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.model.run import Run, Signal
    from dagnats.runtime.ports import Ports

SIGNAL = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$"
"""Names of signals: a key of the bucket where Go workers look for them."""

SIGNAL_LENGTH = 128

_KINDS = (b'{"type":"signal.received"',)


async def send_signal(ports: Ports, run_id: str, name: str, data: bytes, *, trace: str = "") -> None:
    """Append a signal to a run's history. `data` is JSON.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It has ended.
        RefusedError: The data cannot be carried.
    """
    payload = msgspec.Raw(await carried(ports, run_id, data, what="the signal's value"))
    stamped = rfc3339(ports.clock.now_ns())
    event = SignalReceived(run_id=run_id, name=name, payload=payload, timestamp=stamped, trace_parent=trace)
    encoded, event_id = encode_event(event), f"{run_id}.signal.{secrets.token_hex(12)}"
    while True:
        recalled = await recall(ports, run_id)
        _, run = await standing(ports, run_id, recalled)
        if run.ended:
            raise ConflictError(f"run {run_id} has ended: it is {run.status}")
        with suppress(ConflictError):  # an event came in between, or it is ours, from a try whose answer was lost
            await ports.log.append_after(run_id, encoded, id=event_id, last=recalled.last)
            return
        if any(entry.data == encoded for entry in await ports.log.read(run_id, after=recalled.last)):
            return


def next_signal(run: Run, name: str, taken: Mapping[str, int]) -> Signal | None:
    """The oldest signal of a name behind the newest that was `taken`; None when it has not come yet."""
    return next((each for each in run.signals if each.name == name and each.seq > taken.get(name, 0)), None)


async def signalled(ports: Ports, run_id: str, *, after: int, within_s: float) -> None:
    """Return when a signal has come to a run behind event `after`, or when that long has passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await ports.log.wait_for(run_id, _KINDS, after=after)
