"""Payloads that a run's state only points at, put in their place again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from dagnats.model.pointer import Pointer, content, has_pointer, pointers, put_in, whole_size
from dagnats.runtime.blob import MOST_BYTES, BlobLost, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagnats.model.run import Run
    from dagnats.runtime.ports import Entry, Log

_CACHE_BYTES = 32 * 1024 * 1024
_AT_ONCE = 64
_LOOKS = 6
_FIRST_REST_S = 0.05  # twice as long each time: 1.5 s together


class Carriers:
    """The events that payloads lie in.

    Args:
        log: Where they are read.
        most_bytes: How much of what was read lately is kept: most results go into the next step at once.
    """

    def __init__(self, log: Log, *, most_bytes: int = _CACHE_BYTES) -> None:
        self._log = log
        self._most_bytes = most_bytes
        self._kept: OrderedDict[int, Entry] = OrderedDict()
        self._bytes = 0

    def keep(self, entry: Entry) -> None:
        """Keep an event that was read anyway, for a while."""
        if entry.seq in self._kept:
            return
        self._kept[entry.seq] = entry
        self._bytes += len(entry.data)
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.data)

    def clear(self) -> None:
        """Keep nothing: the log is not the one that was read."""
        self._kept.clear()
        self._bytes = 0

    def at_hand(self, run_id: str, data: bytes) -> bytes | None:
        """Some JSON out of a run's state, whole; None when it is very large, or points at what was not read lately."""
        contents: dict[Pointer, bytes] = {}
        if whole_size(data) > self._most_bytes:
            return None
        for pointer in pointers(data):
            found = self._kept_content(run_id, pointer)
            if found is None:
                return None
            contents[pointer] = found
        return put_in(data, contents)

    async def whole(self, run_id: str, data: bytes, *, what: str = "", lenient: bool = False) -> bytes:
        """Some JSON out of a run's state, with all that it points at in its place.

        Args:
            what: Its name in an error; when given, it is refused if it grows beyond `MOST_BYTES`.
            lenient: Leave a pointer to what is not there any more where it is.

        Raises:
            BlobLost: An event is missing, or is another one.
            RefusedError: It is too large, see `what`.
            UnavailableError: NATS did not answer.
        """
        wanted = pointers(data)
        if not wanted:
            return data
        if what and (size := whole_size(data)) > MOST_BYTES:
            raise too_large(what, size)
        return put_in(data, await self._contents(run_id, wanted, lenient=lenient))

    async def _contents(self, run_id: str, wanted: list[Pointer], *, lenient: bool) -> dict[Pointer, bytes]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(pointer: Pointer) -> bytes | None:
            async with room:
                return await self._content(run_id, pointer)

        found = await asyncio.gather(*map(look, wanted))
        for pointer, data in zip(wanted, found, strict=True):
            if data is None and not lenient:
                seq, _, size = pointer
                raise BlobLost(f"a payload of run {run_id} ({size} bytes) is lost: event {seq} does not carry it")
        return {pointer: data for pointer, data in zip(wanted, found, strict=True) if data is not None}

    async def _content(self, run_id: str, pointer: Pointer) -> bytes | None:
        """What a pointer stands for. A replica that is behind may have the event a little later."""
        found, rest_s = self._kept_content(run_id, pointer), _FIRST_REST_S
        for look in range(_LOOKS):
            if found is not None:
                return found
            if look:
                await asyncio.sleep(rest_s)
                rest_s *= 2
            entry = await self._log.at(pointer.seq)
            if entry is not None:
                found = _content_of(entry, run_id, pointer)
                break
        return found

    def _kept_content(self, run_id: str, pointer: Pointer) -> bytes | None:
        entry = self._kept.get(pointer.seq)
        if entry is None:
            return None
        self._kept.move_to_end(pointer.seq)
        return _content_of(entry, run_id, pointer)


def _content_of(entry: Entry, run_id: str, pointer: Pointer) -> bytes | None:
    return content(entry.data, pointer) if entry.run_id == run_id else None


async def complete(carriers: Carriers, run: Run) -> None:
    """Put everything that the state of a run points at in its place. What is lost stays pointed at."""
    held: dict[bytes, bytes] = {}
    _rewrite(run, lambda data: held.setdefault(data, data))
    if held:
        whole = await asyncio.gather(*(carriers.whole(run.run_id, data, lenient=True) for data in held))
        held = dict(zip(held, whole, strict=True))
        _rewrite(run, held.__getitem__)


def complete_from(entries: Iterable[Entry], run: Run) -> None:
    """`complete` by a history that was read."""
    events = {entry.seq: entry.data for entry in entries}

    def whole(data: bytes) -> bytes:
        found = {each: content(events.get(each.seq, b""), each) for each in pointers(data)}
        return put_in(data, {each: data for each, data in found.items() if data is not None})

    _rewrite(run, whole)


def _rewrite(run: Run, changed: Callable[[bytes], bytes]) -> None:
    """Change each payload that points, in the state of a run that nobody folds further."""

    def change(payload: msgspec.Raw) -> msgspec.Raw:
        return msgspec.Raw(changed(data)) if has_pointer(data := bytes(payload)) else payload

    run.input = change(run.input)
    for state in run.steps.values():
        state.input, state.output = change(state.input), change(state.output)
    run.signals = [msgspec.structs.replace(each, data=change(each.data)) for each in run.signals]
    run.early = {step_id: change(payload) for step_id, payload in run.early.items()}
    run.outcome = msgspec.structs.replace(run.outcome, output=change(run.outcome.output))
