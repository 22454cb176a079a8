"""Large payloads: kept beside the log, while a reference travels in their place.

A reference is one JSON object, written in exactly one way:

    {"$dagnats.blob":{"run":"4f1c…","sha256":"9b74…","bytes":5242880}}

The core sees it as JSON like any other. Within JSON these bytes can only be an object: in a string every quote has a
backslash before it. And no producer of values writes that key, because a value that has it is refused. So a reference
is found wherever it stands, in a fan-in, in a list of items, in what a failure step is told, without parsing anything.

What a reference stands for is stored before anything that holds the reference is. It lies under the run that uses it,
and goes with it: a reference that crosses runs is moved first.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.errors import DagnatsError, RefusedError
from dagnats.model.event import Record, StepCompleted, WorkflowStarted, decode_event, encode_event
from dagnats.model.json import DEEPEST_PAYLOAD, TooDeep, shallow

if TYPE_CHECKING:
    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.ports import Blobs, Ports

INLINE_BYTES = 256 * 1024
"""Up to here a payload travels itself."""

MOST_BYTES = 64 * 1024 * 1024
"""Beyond that nothing travels at all."""

_KEY = "$dagnats.blob"
_KEY_BYTES = _KEY.encode()  # found in a tenth of the time that the expression takes
_MARK = b'{"$dagnats.blob":'
_DOLLAR = ord("$")
SHORTEST_REFERENCE = len(_MARK)
"""In fewer bytes there is none."""
_REFERENCE = re.compile(
    rb'\{"\$dagnats\.blob":\{"run":"([A-Za-z0-9_-]{1,128})","sha256":"([0-9a-f]{64})","bytes":([0-9]{1,9})\}\}'
)
_RESERVED = re.compile(rb'"\$dagnats\.blob"\s*:')
_CACHE_BYTES = 32 * 1024 * 1024


class BlobLost(DagnatsError):
    """A payload that a reference stands for is not there, or is not what it was."""


class Reference(NamedTuple):
    """What stands for a payload.

    Attributes:
        run_id: The run it lies under.
        sha256: Of its bytes, in hexadecimal digits.
        size: How many bytes it has.
    """

    run_id: str
    sha256: str
    size: int

    @classmethod
    def found(cls, match: re.Match[bytes]) -> Reference:
        run_id, digest, size = match.groups()
        return cls(run_id.decode(), digest.decode(), int(size))

    @property
    def data(self) -> bytes:
        """The reference as it travels."""
        text = f'{{"{_KEY}":{{"run":"{self.run_id}","sha256":"{self.sha256}","bytes":{self.size}}}}}'
        return text.encode()


# -- on the way out ----------------------------------------------------------------------------------------------


def refuse(data: bytes, *, what: str) -> None:
    """Raise RefusedError when a payload from a user is too large or nested too deep for anything, or has the key of
    references."""
    if _KEY_BYTES in data and _RESERVED.search(data):
        raise RefusedError(f"{what} has the key {_KEY!r}, which DagNats keeps for itself", hint="rename the key")
    if len(data) > MOST_BYTES:
        raise too_large(what, len(data))
    try:
        shallow(data, DEEPEST_PAYLOAD)
    except TooDeep as error:
        raise RefusedError(f"{what} cannot be carried: {error}") from None


async def carried(ports: Ports, run_id: str, data: bytes, *, what: str) -> bytes:
    """A payload from a user as it travels in a run: itself, or the reference to it once it is stored.

    Args:
        what: The payload's name in an error: `the result`.

    Raises:
        RefusedError: It is too large for anything, or has the key of references.
    """
    refuse(data, what=what)
    return data if len(data) <= INLINE_BYTES else await offloaded(ports, run_id, data, what=what)


async def offloaded(ports: Ports, run_id: str, data: bytes, *, what: str) -> bytes:
    """`carried` for what was put together of payloads that travel already: it may hold references."""
    if len(data) <= INLINE_BYTES:
        return data
    if len(data) > MOST_BYTES:
        raise too_large(what, len(data))
    reference = Reference(run_id, _digest(data), len(data))
    await ports.blobs.put(run_id, reference.sha256, data)
    return reference.data


async def moved(ports: Ports, run_id: str, data: bytes) -> bytes:
    """A payload with references, for another run: what they stand for is stored under that run when this returns.

    Raises:
        BlobLost: One of them stands for nothing any more.
    """
    parts: list[bytes] = []
    at = 0
    for match in _REFERENCE.finditer(data):
        reference = Reference.found(match)
        if reference.run_id != run_id:
            inside = await moved(ports, run_id, await _load(ports.blobs, reference))
            new = Reference(run_id, _digest(inside), len(inside))
            await ports.blobs.put(run_id, new.sha256, inside)
            parts += data[at : match.start()], new.data
            at = match.end()
    return b"".join([*parts, data[at:]]) if parts else data


def references(data: bytes) -> list[Reference]:
    """What stands for payloads in some data, not what is in those again."""
    return [Reference.found(match) for match in _REFERENCE.finditer(data)] if _MARK in data else []


# -- on the way in -----------------------------------------------------------------------------------------------


async def resolved(ports: Ports, data: bytes, *, what: str = "", lenient: bool = False) -> bytes:
    """A payload with all it stands for in its place.

    Args:
        what: The payload's name in an error; when given, it is refused if it grows beyond `MOST_BYTES`.
        lenient: Leave a reference that stands for nothing any more where it is.

    Raises:
        BlobLost: Something is missing or damaged; the message says of which run, and which hash.
        RefusedError: It is too large, see `what`.
        UnavailableError: NATS did not answer.
    """
    if _MARK not in data:
        return data
    return await _Resolution(ports.blobs, what, lenient).whole(data)


class _Resolution:
    """Resolves one payload; the same blob is read once."""

    def __init__(self, blobs: Blobs, what: str, lenient: bool) -> None:
        self._blobs = blobs
        self._what = what
        self._lenient = lenient
        self._read: dict[Reference, bytes] = {}
        self._size = 0

    async def whole(self, data: bytes) -> bytes:
        self._grow(len(data))
        return await self._of(data)

    async def _of(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        at = 0
        for match in _REFERENCE.finditer(data):
            parts += data[at : match.start()], await self._content(Reference.found(match), match[0])
            at = match.end()
        return b"".join([*parts, data[at:]])

    async def _content(self, reference: Reference, standing: bytes) -> bytes:
        if reference in self._read:
            content = self._read[reference]
            self._grow(len(content) - len(standing))
            return content
        self._grow(reference.size - len(standing))
        try:
            content = await self._of(await _load(self._blobs, reference))
        except BlobLost:
            if not self._lenient:
                raise
            content = standing
        self._read[reference] = content
        return content

    def _grow(self, count: int) -> None:
        self._size += count
        if self._what and self._size > MOST_BYTES:
            raise too_large(self._what, self._size)


async def shown(ports: Ports, record: Record) -> Record:
    """An event with its whole payload, for people and programs that read a history."""
    data = encode_event(record.event)
    full = await resolved(ports, data, lenient=True)
    return record if full is data else msgspec.structs.replace(record, event=decode_event(full))


async def fill(ports: Ports, run: Run) -> None:
    """Give a run that nobody folds further its whole payloads. What is lost keeps its reference."""
    run.input = await _full(ports, run.input)
    for state in run.steps.values():
        state.output = await _full(ports, state.output)
    output = await _full(ports, run.outcome.output)
    run.outcome = msgspec.structs.replace(run.outcome, output=output)


async def _full(ports: Ports, raw: msgspec.Raw) -> msgspec.Raw:
    data = bytes(raw)
    full = await resolved(ports, data, lenient=True)
    return raw if full is data else msgspec.Raw(full)


# -- for the core ------------------------------------------------------------------------------------------------


def has_reference(data: bytes) -> bool:
    """Whether some JSON holds a reference."""
    return _DOLLAR in data and _MARK in data  # one byte, as a number, is found in a tenth of the time


async def filled(ports: Ports, graph: Graph, record: Record) -> Record:
    """An event as the core folds it: with its whole payload where a decision looks into that.

    Every reader of a history does this, so that all decide the same. Raises BlobLost.
    """
    event = record.event
    if isinstance(event, StepCompleted):
        if graph.reads(event.step_id) and _MARK in (data := bytes(event.payload)):
            payload = msgspec.Raw(await resolved(ports, data))
            return msgspec.structs.replace(record, event=msgspec.structs.replace(event, payload=payload))
    elif isinstance(event, WorkflowStarted) and graph.reads("") and _MARK in (data := bytes(event.payload.input)):
        start = msgspec.structs.replace(event.payload, input=msgspec.Raw(await resolved(ports, data)))
        return msgspec.structs.replace(record, event=msgspec.structs.replace(event, payload=start))
    return record


# -- the store ---------------------------------------------------------------------------------------------------


class BlobCache:
    """`ports.Blobs` in front of another one: what was read lately is not read again.

    Args:
        most_bytes: How much is kept. Half of it is the most that one blob may have.
    """

    def __init__(self, blobs: Blobs, *, most_bytes: int = _CACHE_BYTES) -> None:
        self._blobs = blobs
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0

    async def put(self, run_id: str, sha256: str, data: bytes) -> None:
        await self._blobs.put(run_id, sha256, data)

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        kept = self._kept.get((run_id, sha256))
        if kept is not None:
            self._kept.move_to_end((run_id, sha256))
            return kept
        data = await self._blobs.get(run_id, sha256, size)
        if data is not None and len(data) * 2 <= self._most_bytes and _digest(data) == sha256:
            self._keep((run_id, sha256), data)
        return data

    async def remove(self, run_id: str) -> None:
        for key in [key for key in self._kept if key[0] == run_id]:
            self._bytes -= len(self._kept.pop(key))
        await self._blobs.remove(run_id)

    async def run_ids(self) -> list[str]:
        return await self._blobs.run_ids()

    async def newest_ns(self, run_id: str) -> int:
        return await self._blobs.newest_ns(run_id)

    def _keep(self, key: tuple[str, str], data: bytes) -> None:
        if key in self._kept:  # two have asked at the same time
            return
        self._kept[key] = data
        self._bytes += len(data)
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)


async def _load(blobs: Blobs, reference: Reference) -> bytes:
    """What a reference stands for. Raises BlobLost."""
    run_id, digest, size = reference
    data = await blobs.get(run_id, digest, size)
    which = f"a payload of run {run_id} ({size} bytes, sha256 {digest})"
    if data is None:
        raise BlobLost(f"{which} is not stored, or not any more")
    if len(data) != size or _digest(data) != digest:
        raise BlobLost(f"{which} is damaged: what is stored has {len(data)} bytes and another hash")
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def too_large(what: str, size: int) -> RefusedError:
    """What a payload is refused with that has more than `MOST_BYTES`."""
    return RefusedError(
        f"{what} is too large: {size} bytes; at most {MOST_BYTES} (64 MiB) are carried",
        hint="keep it in a store of your own, and pass on where it is",
    )
