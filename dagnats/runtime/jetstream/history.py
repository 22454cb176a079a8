"""The log on WORKFLOW_HISTORY: one subject per run, `history.<run>`."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import UnavailableError
from dagnats.runtime.jetstream.link import EXPECTED_LAST, MSG_ID, TIMEOUT_S
from dagnats.runtime.jetstream.pull import GapError, Place, Pull, direct_time_ns, place_of
from dagnats.runtime.jetstream.resources import HISTORY
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Entry, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Generator

    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

_PREFIX = "history."
_PAGE = 1_000
_SOON_S = 0.002
_FIRST_POLL_S = 0.1
_LATE_S = 0.4  # from here on an end may lie behind later news, as when a late result follows a cancel
_POLL_S = 2.0  # how long a watcher trusts that it would have been told
_DURABLE = "orchestrator"
_BATCH = 512
_ACK_EVERY_S = 0.05
_EXPECTED_LAST = EXPECTED_LAST.encode()


def run_of(subject: str) -> str:
    """The run whose history this subject is."""
    return subject[len(_PREFIX) :]


class JetStreamLog:
    """`ports.Log`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def append(self, run_id: str, data: bytes, *, id: str) -> Awaitable[Receipt]:
        return self._link.publish_surely(f"{_PREFIX}{run_id}", data, {MSG_ID: id})

    async def append_after(self, run_id: str, data: bytes, *, id: str, last: int) -> Receipt:
        # Repeating a compare-and-set blindly would meet its own success as a conflict: the caller decides.
        return await self._link.publish(f"{_PREFIX}{run_id}", data, {MSG_ID: id, EXPECTED_LAST: str(last)})

    async def first(self, run_id: str) -> int:
        body = msgspec.json.encode({"seq": 1, "next_by_subj": f"{_PREFIX}{run_id}"})
        message = await self._link.request(f"$JS.API.DIRECT.GET.{HISTORY}", body)
        return int(message.header(b"Nats-Sequence") or 0)

    async def read(self, run_id: str, *, after: int = 0) -> list[Entry]:
        return await self._read(f"{_PREFIX}{run_id}", after + 1)

    async def _read(self, subject: str, start: int) -> list[Entry]:
        entries: list[Entry] = []
        while True:
            page, pending = await self._page({"seq": start, "next_by_subj": subject, "batch": _PAGE})
            entries += page
            if not pending or not page:
                return entries
            start = page[-1].seq + 1

    async def _page(self, request: dict[str, object]) -> tuple[list[Entry], int]:
        """One batch direct get: the entries, and how many match beyond them."""
        inbox = self._link.new_inbox()
        entries: list[Entry] = []
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_message(message: Message) -> None:
            status = message.status
            if not status:
                seq = int(message.header(b"Nats-Sequence"))
                run_id = run_of(message.header(b"Nats-Subject").decode())
                entries.append(Entry(seq, direct_time_ns(message), run_id, message.data))
            elif not done.done():
                if status in ("204", "404"):  # the end of the batch; nothing found
                    done.set_result(int(message.header(b"Nats-Num-Pending") or 0))
                else:
                    reason = message.description or status
                    done.set_exception(UnavailableError(f"NATS: cannot read the history: {reason}"))

        subscription = self._link.subscribe(inbox, on_message)
        try:
            body = msgspec.json.encode(request)
            await self._link.up()
            self._link.send(f"$JS.API.DIRECT.GET.{HISTORY}", body, reply=inbox)
            async with asyncio.timeout(TIMEOUT_S):
                return entries, await done
        except TimeoutError:
            raise UnavailableError(f"NATS did not answer within {TIMEOUT_S:g} s") from None
        finally:
            self._link.unsubscribe(subscription)

    async def watch(self, run_id: str, *, after: int = 0) -> AsyncIterator[Entry]:
        """Follow a run. A core subscription says when to look; what is seen always comes from the stream."""
        with self._hints(run_id) as hints:
            while True:
                hints.heard.clear()
                entries = await self._look(run_id, after)
                for entry in entries:
                    yield entry
                    after = entry.seq
                await hints.wait(_POLL_S, missed=not entries)

    async def wait_for(self, run_id: str, kinds: tuple[bytes, ...], *, after: int = 0) -> Entry:
        with self._hints(run_id, kinds) as hints:
            pause_s = _FIRST_POLL_S if after else 0.0
            while True:
                await hints.wait(pause_s, missed=True)
                hints.heard.clear()
                # Almost always it is the last event: one small read, where a whole history can be a large one.
                last = await persist(lambda: self._last(run_id))
                if last is not None and last.data.startswith(kinds):
                    return last
                if last is not None and (hints.count or not _FIRST_POLL_S <= pause_s < _LATE_S):
                    for entry in await self._look(run_id, after):
                        if entry.data.startswith(kinds):
                            return entry
                pause_s = min(max(pause_s, _FIRST_POLL_S) * 2, _POLL_S)

    async def _look(self, run_id: str, after: int) -> list[Entry]:
        return await persist(lambda: self._read(f"{_PREFIX}{run_id}", after + 1))

    async def _last(self, run_id: str) -> Entry | None:
        message = await self._link.request(f"$JS.API.DIRECT.GET.{HISTORY}.{_PREFIX}{run_id}")
        if message.status:
            return None
        return Entry(int(message.header(b"Nats-Sequence")), direct_time_ns(message), run_id, message.data)

    @contextmanager
    def _hints(self, run_id: str, kinds: tuple[bytes, ...] = ()) -> Generator[_Hints]:
        hints = _Hints(kinds)
        subscription = self._link.subscribe(f"{_PREFIX}{run_id}", hints)
        try:
            yield hints
        finally:
            self._link.unsubscribe(subscription)

    async def run_ids(self, prefix: str = "") -> list[str]:
        found: list[str] = []
        while True:
            body = {"subjects_filter": f"{_PREFIX}*", "offset": len(found)}
            info = await self._link.api(f"STREAM.INFO.{HISTORY}", body)
            page: dict[str, int] = info["state"].get("subjects") or {}
            found += [run_of(subject) for subject in page]
            if not page or len(found) >= info.get("total", 0):
                return [run_id for run_id in found if run_id.startswith(prefix)]

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Entry]:
        state = (await self._link.api(f"STREAM.INFO.{HISTORY}"))["state"]
        last: int = min(state["last_seq"], before - 1) if before else state["last_seq"]
        start = max(state["first_seq"], last - count + 1)
        if not state["messages"] or last < start:
            return []
        page, _ = await self._page({"seq": start, "next_by_subj": f"{_PREFIX}>", "batch": min(count, _PAGE)})
        return [entry for entry in page if entry.seq <= last]


class _Hints:
    """Messages to a run's subject as they fly by: when to look. They can be lost, and be quicker than the stream."""

    def __init__(self, kinds: tuple[bytes, ...]) -> None:
        self._kinds = kinds
        self.heard = asyncio.Event()
        self.count = 0
        self._seen = 0

    def __call__(self, message: Message) -> None:
        if not self._kinds or message.data.startswith(self._kinds):
            self.count += 1
            self.heard.set()

    async def wait(self, most_s: float, *, missed: bool) -> None:
        """Wait for a hint, at most `most_s`; a moment only when the newest hint showed nothing yet (`missed`)."""
        if missed and self.count > self._seen:
            self._seen = self.count
            most_s = min(most_s, _SOON_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self.heard.wait()


class JetStreamLogFeed:
    """`ports.LogFeed` on the durable consumer `orchestrator`. Its acknowledgement is the engine's position."""

    def __init__(self, link: Link, pull: Pull, live_from: int) -> None:
        self._link = link
        self._pull = pull
        self._live_from = live_from
        self._last: Message | None = None
        self._done: Message | None = None  # the newest that is dealt with
        self._flush: asyncio.TimerHandle | None = None
        self._seen = 0

    @classmethod
    async def open(cls, link: Link) -> JetStreamLogFeed:
        await link.api(
            f"CONSUMER.CREATE.{HISTORY}.{_DURABLE}",
            {
                "stream_name": HISTORY,
                "config": {
                    "name": _DURABLE,
                    "durable_name": _DURABLE,
                    "description": "The engine's position in the history.",
                    "deliver_policy": "all",
                    "filter_subject": f"{_PREFIX}>",
                    "ack_policy": "all",
                    # Redelivery would break the order of the log; a reset is how we go back.
                    "ack_wait": 24 * 3600 * 1_000_000_000,
                    "max_ack_pending": -1,
                },
            },
        )
        state = (await link.api(f"STREAM.INFO.{HISTORY}"))["state"]
        return cls(link, await cls._begin(link), state["last_seq"] + 1)

    @staticmethod
    async def _begin(link: Link) -> Pull:
        """Read on, in order, behind the last acknowledged event, whatever was handed out before."""
        await link.api(f"CONSUMER.RESET.{HISTORY}.{_DURABLE}")
        pull = Pull(link, HISTORY, _DURABLE, most=_BATCH, exclusive=True)
        pull.start()
        return pull

    async def batch(self) -> list[Entry]:
        while True:
            try:
                messages = await self._pull.take(_BATCH)
            except GapError:
                self._pull.close()
                self._pull = await persist(lambda: self._begin(self._link))
                continue
            entries: list[Entry] = []
            for message in messages:
                place = place_of(message)
                if place.stream_seq > self._seen:  # a reset repeats what was not acknowledged yet
                    self._seen = place.stream_seq
                    entries.append(self._entry(message, place))
            self._last = messages[-1]
            if entries:
                return entries

    def _entry(self, message: Message, place: Place) -> Entry:
        # The server has checked that nothing was there before, and no engine has seen it: certainly a new run.
        first = place.stream_seq >= self._live_from and message.header(_EXPECTED_LAST) == b"0"
        return Entry(place.stream_seq, place.time_ns, run_of(message.subject), message.data, first)

    def acknowledge(self, seq: int) -> None:
        if self._last is not None and place_of(self._last).stream_seq <= seq:
            self._done = self._last
            if self._flush is None:
                # Twenty times a second is enough: after a crash a few more events are read again, that is all.
                self._flush = asyncio.get_running_loop().call_later(_ACK_EVERY_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._flush = None
        if self._done is not None:
            self._link.send(self._done.reply, b"+ACK")  # one that is lost is made up for by the next

    async def close(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._acknowledge()
        self._pull.close()
