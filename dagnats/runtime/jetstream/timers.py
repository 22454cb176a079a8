"""Durable wake-ups on SLEEP_TIMERS: native schedules, each on a subject of its own.

Firing a schedule purges its subject, so timers that share one lose wake-ups: a timer is named by its run and by the
event that set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.instant import rfc3339
from dagnats.runtime.jetstream.link import MSG_ID
from dagnats.runtime.jetstream.pull import Pull
from dagnats.runtime.jetstream.resources import TIMERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Wakeup

_DURABLE = "sleep-timer"
_BATCH = 256


class JetStreamTimers:
    """`ports.Timers`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def set(self, run_id: str, *, due_ns: int, seq: int, id: str) -> Awaitable[object]:
        headers = {
            MSG_ID: id,
            "Nats-Schedule": f"@at {rfc3339(due_ns)}",
            "Nats-Schedule-Target": f"due.{run_id}.{seq}",
        }
        return self._link.publish_surely(f"sleep.{run_id}.{seq}", b"%d" % due_ns, headers)


class JetStreamWakeup:
    """`ports.Wakeup`. Its message is the instant it was set for."""

    __slots__ = ("_link", "_message", "due_ns", "run_id", "seq")

    def __init__(self, link: Link, message: Message) -> None:
        self._link = link
        self._message = message
        _, self.run_id, seq = message.subject.split(".")
        self.seq = int(seq)
        self.due_ns = int(message.data)

    def acknowledge(self) -> None:
        self._link.send(self._message.reply, b"+ACK")


class JetStreamWakeupFeed:
    """`ports.WakeupFeed`."""

    def __init__(self, link: Link, pull: Pull) -> None:
        self._link = link
        self._pull = pull

    @classmethod
    async def open(cls, link: Link) -> JetStreamWakeupFeed:
        config = {
            "name": _DURABLE,
            "durable_name": _DURABLE,
            "description": "Wake-ups that came due, for the engine.",
            "deliver_policy": "all",
            "filter_subject": "due.>",
            "ack_policy": "explicit",
            "ack_wait": 5_000_000_000,
            "max_ack_pending": 100_000,
        }
        await link.api(f"CONSUMER.CREATE.{TIMERS}.{_DURABLE}", {"stream_name": TIMERS, "config": config})
        pull = Pull(link, TIMERS, _DURABLE, most=_BATCH)
        pull.start()
        return cls(link, pull)

    async def batch(self) -> Sequence[Wakeup]:
        while True:
            wakeups: list[Wakeup] = []
            for message in await self._pull.take(_BATCH):
                try:
                    wakeups.append(JetStreamWakeup(self._link, message))
                except ValueError:  # not one of ours: it can wake nobody
                    self._link.send(message.reply, b"+TERM")
            if wakeups:
                return wakeups

    async def close(self) -> None:
        self._pull.close()
