"""Durable wake-ups on SLEEP_TIMERS: native schedules, each on a subject of its own.

Firing a schedule purges its subject, so timers that share one lose wake-ups: a timer is named by its run and by the
event that set it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from dagnats.model.identifier import is_run_id
from dagnats.model.instant import rfc3339
from dagnats.runtime.burial import bury
from dagnats.runtime.jetstream.acknowledgement import DEAD, acknowledge
from dagnats.runtime.jetstream.publish import MSG_ID
from dagnats.runtime.jetstream.pull import Pull, place_of
from dagnats.runtime.jetstream.read import messages_of, subject_of
from dagnats.runtime.jetstream.resources import TIMERS, WAKEUPS
from dagnats.runtime.ports import Outstanding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import DeadLetters, Wakeup

log = logging.getLogger("dagnats.nats")

_BATCH = 256


class JetStreamTimers:
    """`ports.Timers`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def set(self, run_id: str, *, due_ns: int, seq: int, replaces: int, id: str) -> Awaitable[object]:
        headers = {
            MSG_ID: id,
            "Nats-Schedule": f"@at {rfc3339(due_ns)}",
            "Nats-Schedule-Target": f"due.{run_id}.{seq}",
        }
        if replaces:  # the server removes the old one as it stores this; if it has fired by then, it has fired
            headers |= {"Nats-Schedule-Next": "purge", "Nats-Scheduler": f"sleep.{run_id}.{replaces}"}
        return self._link.publish_surely(f"sleep.{run_id}.{seq}", b"%d" % due_ns, headers)

    async def drop(self, run_id: str, seq: int) -> None:
        await self._link.api(f"STREAM.PURGE.{TIMERS}", {"filter": f"sleep.{run_id}.{seq}"})

    async def all(self) -> list[Outstanding]:
        found: list[Outstanding] = []
        for pattern in ("sleep.>", "due.>"):  # in this order: one that fires in between is seen twice, not never
            for message in await messages_of(self._link, TIMERS, pattern):
                with suppress(ValueError):  # what is no wake-up of ours is seen to where it comes due
                    _, run_id, seq = subject_of(message).split(".")
                    found.append(Outstanding(run_id, int(seq), int(message.data)))
        return found


class JetStreamWakeup:
    """`ports.Wakeup`. Its message is the instant it was set for.

    Raises:
        ValueError: The message is no wake-up of ours.
    """

    __slots__ = ("_link", "_message", "due_ns", "run_id", "seq")

    def __init__(self, link: Link, message: Message) -> None:
        self._link = link
        self._message = message
        _, self.run_id, seq, *more = [*message.subject.split("."), "", ""]
        if any(more) or not is_run_id(self.run_id) or not (seq.isascii() and seq.isdigit()):
            raise ValueError(f"the subject {message.subject!r} is not due.<run>.<sequence>")
        if not message.data.isdigit():
            raise ValueError(f"{message.data[:64]!r} is not an instant in nanoseconds")
        self.seq = int(seq)
        self.due_ns = int(message.data)

    def acknowledge(self) -> None:
        acknowledge(self._link, self._message)


class JetStreamWakeupFeed:
    """`ports.WakeupFeed`."""

    def __init__(self, link: Link, pull: Pull, letters: DeadLetters) -> None:
        self._link = link
        self._pull = pull
        self._letters = letters
        self._burials: dict[int, asyncio.Task[None]] = {}

    @classmethod
    async def open(cls, link: Link, letters: DeadLetters) -> JetStreamWakeupFeed:
        config = {
            "name": WAKEUPS,
            "durable_name": WAKEUPS,
            "description": "Wake-ups that came due, for the engine.",
            "deliver_policy": "all",
            "filter_subject": "due.>",
            "ack_policy": "explicit",
            "ack_wait": 5_000_000_000,
            "max_ack_pending": 100_000,
        }
        call = f"CONSUMER.CREATE.{TIMERS}.{WAKEUPS}"
        make = partial(link.api, call, {"stream_name": TIMERS, "config": config})
        await make()
        pull = Pull(link, TIMERS, WAKEUPS, most=_BATCH, make=make)
        pull.start()
        return cls(link, pull, letters)

    async def batch(self) -> Sequence[Wakeup]:
        while True:
            wakeups: list[Wakeup] = []
            for message in await self._pull.take(_BATCH):
                try:
                    wakeups.append(JetStreamWakeup(self._link, message))
                except ValueError as error:  # it can wake nobody
                    self._begin_burial(message, str(error))
            if wakeups:
                return wakeups

    def _begin_burial(self, message: Message, why: str) -> None:
        """Aside: wake-ups do not wait for it. One that comes again while it is buried is the same one."""
        seq, _, _ = place_of(message)
        if seq not in self._burials:
            self._burials[seq] = asyncio.create_task(self._bury(seq, message, why), name=f"burial of wake-up {seq}")

    async def _bury(self, seq: int, message: Message, why: str) -> None:
        log.error("message %d on %s goes to the dead letters: %s", seq, message.subject, why)
        headers = {
            "Dagnats-Dlq-Error": why,
            "Dagnats-Dlq-Consumer": TIMERS,
            "Dagnats-Dlq-Sequence": str(seq),
            "Dagnats-Dlq-Subject": message.subject,
        }
        try:
            await bury(
                self._letters, f"{WAKEUPS}.unmarshal-failed.{seq}", message.data, headers, id=f"dlq:timers:{seq}"
            )
            acknowledge(self._link, message, DEAD)
        finally:
            del self._burials[seq]

    async def close(self) -> None:
        self._pull.close()
        for burial in list(self._burials.values()):
            burial.cancel()
