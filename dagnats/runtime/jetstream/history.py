"""The log on WORKFLOW_HISTORY: one subject per run, `history.<run>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dagnats.runtime.jetstream.ear import Ears, Rumour
from dagnats.runtime.jetstream.publish import EXPECTED_LAST, MSG_ID, first_block, id_block
from dagnats.runtime.jetstream.read import (
    PAGE,
    last_of,
    message_at,
    messages_of,
    page_of,
    seq_of,
    state_of,
    subject_of,
    subjects_of,
    time_ns_of,
)
from dagnats.runtime.jetstream.resources import HISTORY, TASKS
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import Entry, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable

    from dagnats.runtime.jetstream.batch import GroupCommit
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

_PREFIX = "history."
ALL = f"{_PREFIX}>"
_FIRST_LOOK_S = 0.1  # most runs are over by then, and were heard
_LOOKS_PER_S = 200  # no more first looks than that, however many wait
_POLL_S = 2.0  # how long a watcher trusts that it would have been told
_SECOND = 1_000_000_000


def run_of(subject: str) -> str:
    """The run whose history this subject is."""
    return subject[len(_PREFIX) :]


def _entry(message: Message) -> Entry:
    """An entry that was read directly."""
    return Entry(seq_of(message), time_ns_of(message), run_of(subject_of(message)), message.data)


class JetStreamLog:
    """`ports.Log`."""

    def __init__(self, link: Link, commit: GroupCommit) -> None:
        self._link = link
        self._commit = commit
        self._ears = Ears(link)

    def append(self, run_id: str, data: bytes, *, id: str, within_s: float | None = None) -> Awaitable[Receipt]:
        return self._commit.publish(_PREFIX + run_id, data, id_block(id), within_s=within_s)

    async def append_after(self, run_id: str, data: bytes, *, id: str, last: int) -> Receipt:
        # Repeating a compare-and-set blindly would meet its own success as a conflict: the caller decides.
        return await self._link.publish(f"{_PREFIX}{run_id}", data, {MSG_ID: id, EXPECTED_LAST: str(last)})

    async def append_new(self, run_id: str, data: bytes, *, id: str, of: str, last: int) -> Receipt:
        return await self._link.publish(_PREFIX + run_id, data, first_block(id, _PREFIX + of, last))

    async def first(self, run_id: str) -> int:
        body = msgspec.json.encode({"seq": 1, "next_by_subj": f"{_PREFIX}{run_id}"})
        message = await self._link.request(f"$JS.API.DIRECT.GET.{HISTORY}", body)
        return int(message.header(b"Nats-Sequence") or 0)

    async def read(self, run_id: str, *, after: int = 0) -> list[Entry]:
        messages = await messages_of(self._link, HISTORY, f"{_PREFIX}{run_id}", start=after + 1)
        return [_entry(message) for message in messages]

    async def watch(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Entry]:
        """Follow a run. What is sent to it may not be stored: what is seen is always read from the stream."""
        with Rumour(self._link, _PREFIX + run_id) as rumour:
            while True:
                entries = await self._look(run_id, after)
                for entry in entries:
                    yield entry
                    after = entry.seq
                await rumour.hear(entries, _POLL_S)

    async def wait_for(self, run_id: str, kinds: tuple[bytes, ...], *, after: int = 0) -> Entry:
        with self._ears.listen(run_id) as ear:
            seen, pause_s, thorough = after, self._first_pause_s() if after else 0.0, not after
            while True:
                entry = await ear.hear(pause_s)
                if entry is not None and entry.seq > after and entry.data.startswith(kinds):
                    return entry
                # Nothing was heard: we began to listen too late, a connection was lost, or nobody leads just now.
                last = await persist(lambda: self.newest(run_id))
                if last is not None and last.seq > seen and last.data.startswith(kinds):
                    return last
                if thorough and last is not None and last.seq > seen:
                    # An end may lie behind later news, as when a late result follows a cancel.
                    for entry in await self._look(run_id, seen):
                        if entry.data.startswith(kinds):
                            return entry
                        seen = entry.seq
                pause_s, thorough = _POLL_S if thorough else 3 * pause_s, True

    def _first_pause_s(self) -> float:
        """How long to listen before looking: longer among many, whose looks would be the server's main work."""
        return min(_FIRST_LOOK_S + self._ears.count / _LOOKS_PER_S, _POLL_S)

    async def _look(self, run_id: str, after: int) -> list[Entry]:
        return await persist(lambda: self.read(run_id, after=after))

    async def newest(self, run_id: str) -> Entry | None:
        message = await last_of(self._link, HISTORY, f"{_PREFIX}{run_id}")
        return _entry(message) if message is not None else None

    async def run_ids(self, prefix: str = "") -> list[str]:
        run_ids = [run_of(subject) for subject in await subjects_of(self._link, HISTORY, f"{_PREFIX}*")]
        return [run_id for run_id in run_ids if run_id.startswith(prefix)]

    async def tail(self, *, before: int = 0, count: int = 256) -> list[Entry]:
        state = await state_of(self._link, HISTORY)
        last: int = min(state["last_seq"], before - 1) if before else state["last_seq"]
        start = max(state["first_seq"], last - count + 1)
        if not state["messages"] or last < start:
            return []
        request = {"seq": start, "next_by_subj": ALL, "batch": min(count, PAGE)}
        messages, _ = await page_of(self._link, HISTORY, request)
        return [entry for entry in map(_entry, messages) if entry.seq <= last]

    async def last(self) -> int:
        last: int = (await state_of(self._link, HISTORY))["last_seq"]
        return last

    async def page(self, *, after: int, count: int) -> list[Entry]:
        request = {"seq": after + 1, "next_by_subj": ALL, "batch": min(count, PAGE)}
        messages, _ = await page_of(self._link, HISTORY, request)
        return [_entry(message) for message in messages]

    async def remove(self, run_id: str, *, upto: int) -> None:
        await self._link.api(f"STREAM.PURGE.{HISTORY}", {"filter": f"{_PREFIX}{run_id}", "seq": upto + 1})

    async def at(self, seq: int) -> Entry | None:
        message = await message_at(self._link, HISTORY, seq)
        return _entry(message) if message is not None else None

    async def id_window_s(self) -> float:
        configs = [(await self._link.api(f"STREAM.INFO.{stream}"))["config"] for stream in (HISTORY, TASKS)]
        return min(config["duplicate_window"] for config in configs) / _SECOND
