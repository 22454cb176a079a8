"""The log on WORKFLOW_HISTORY: one subject per run, `history.<run>`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import UnavailableError
from dagnats.runtime.jetstream.link import EXPECTED_LAST, MSG_ID, TIMEOUT_S
from dagnats.runtime.jetstream.pull import GapError, Pull, direct_time_ns, place_of
from dagnats.runtime.jetstream.resources import HISTORY
from dagnats.runtime.ports import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg

    from dagnats.runtime.jetstream.link import Link

_PREFIX = "history."
_PAGE = 1_000
_POLL_S = 2.0  # how long a watcher trusts that it would have been told
_DURABLE = "orchestrator"
_BATCH = 512


def run_of(subject: str) -> str:
    """The run whose history this subject is."""
    return subject[len(_PREFIX) :]


class JetStreamLog:
    """`ports.Log`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def append(self, run_id: str, data: bytes, *, id: str, expected_last: int | None = None) -> int:
        headers = {MSG_ID: id}
        if expected_last is None:
            return (await self._link.publish_surely(f"{_PREFIX}{run_id}", data, headers)).seq
        # Repeating a compare-and-set blindly would meet its own success as a conflict: the caller decides.
        headers[EXPECTED_LAST] = str(expected_last)
        return (await self._link.publish(f"{_PREFIX}{run_id}", data, headers)).seq

    async def first(self, run_id: str) -> int:
        body = msgspec.json.encode({"seq": 1, "next_by_subj": f"{_PREFIX}{run_id}"})
        message = await self._link.request(f"$JS.API.DIRECT.GET.{HISTORY}", body)
        return int((message.headers or {}).get("Nats-Sequence", "0"))

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

        async def on_message(message: Msg) -> None:
            headers = message.headers or {}
            status = headers.get("Status")
            if status is None:
                seq = int(headers["Nats-Sequence"])
                run_id = run_of(headers["Nats-Subject"])
                entries.append(Entry(seq, direct_time_ns(headers), run_id, message.data))
            elif not done.done():
                if status in ("204", "404"):  # the end of the batch; nothing found
                    done.set_result(int(headers.get("Nats-Num-Pending", "0")))
                else:
                    reason = headers.get("Description", status)
                    done.set_exception(UnavailableError(f"NATS: cannot read the history: {reason}"))

        subscription = await self._link.subscribe(inbox, on_message)
        try:
            body = msgspec.json.encode(request)
            await self._link.send(f"$JS.API.DIRECT.GET.{HISTORY}", body, reply=inbox)
            async with asyncio.timeout(TIMEOUT_S):
                return entries, await done
        except TimeoutError:
            raise UnavailableError(f"NATS did not answer within {TIMEOUT_S:g} s") from None
        finally:
            await self._link.unsubscribe(subscription)

    async def watch(self, run_id: str, *, after: int = 0) -> AsyncIterator[Entry]:
        """Follow a run. A core subscription says when to look; what is seen always comes from the stream."""
        subject = f"{_PREFIX}{run_id}"
        told = asyncio.Event()

        async def on_message(_: Msg) -> None:
            told.set()

        subscription = await self._link.subscribe(subject, on_message)
        try:
            while True:
                told.clear()
                entries = await self._read(subject, after + 1)
                for entry in entries:
                    yield entry
                    after = entry.seq
                if not entries:
                    await _wait(told, _POLL_S)
        finally:
            await self._link.unsubscribe(subscription)

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


async def _wait(event: asyncio.Event, most_s: float) -> None:
    try:
        async with asyncio.timeout(most_s):
            await event.wait()
    except TimeoutError:
        pass


class JetStreamLogFeed:
    """`ports.LogFeed` on the durable consumer `orchestrator`. Its acknowledgement is the engine's position."""

    def __init__(self, link: Link, pull: Pull) -> None:
        self._link = link
        self._pull = pull
        self._last: Msg | None = None
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
        return cls(link, await cls._begin(link))

    @staticmethod
    async def _begin(link: Link) -> Pull:
        """Read on, in order, behind the last acknowledged event, whatever was handed out before."""
        await link.api(f"CONSUMER.RESET.{HISTORY}.{_DURABLE}")
        pull = Pull(link, HISTORY, _DURABLE, most=_BATCH, exclusive=True)
        await pull.start()
        return pull

    async def batch(self) -> list[Entry]:
        while True:
            try:
                messages = await self._pull.take(_BATCH)
            except GapError:
                await self._pull.close()
                self._pull = await self._begin(self._link)
                continue
            entries: list[Entry] = []
            for message in messages:
                place = place_of(message)
                if place.stream_seq > self._seen:  # a reset repeats what was not acknowledged yet
                    self._seen = place.stream_seq
                    entries.append(Entry(place.stream_seq, place.time_ns, run_of(message.subject), message.data))
            self._last = messages[-1]
            if entries:
                return entries

    async def acknowledge(self, seq: int) -> None:
        if self._last is not None and place_of(self._last).stream_seq <= seq:
            await self._link.send(self._last.reply, b"+ACK")
            self._last = None

    async def close(self) -> None:
        await self._pull.close()
