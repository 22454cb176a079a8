"""What stands in a run's state for a payload that one of its events carries.

    {"$dagnats.blob":{"seq":812,"at":"output","bytes":52417}}

The log keeps each event for as long as it keeps the run, and the state is written again and again. So of a payload with
more than `STATE_BYTES` the state has the place only: the event's sequence, and where in it. To the core that is JSON
like any other, to be joined and handed on.

It is written in exactly one way, under the key that no producer of values may use: so it is found wherever it stands,
as a reference to a blob is. Unlike that it does not travel. It means something beside its run only, and whoever sends
or shows what came out of a state has put the payload in its place before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.model.event import NOTHING

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_BYTES = 4 * 1024
"""Up to here a payload is in the state itself."""

_MARK = b'{"$dagnats.blob":{"seq":'
_POINTER = re.compile(
    rb'\{"\$dagnats\.blob":\{"seq":([0-9]{1,19}),"at":"([A-Za-z0-9_-]{0,128}(?:\.[A-Za-z0-9_-]{1,128})?)"'
    rb',"bytes":([0-9]{1,9})\}\}'
)
_PLACE = re.compile(r"[A-Za-z0-9_-]{0,128}(\.[A-Za-z0-9_-]{1,128})?")


class Pointer(NamedTuple):
    """Where a payload is.

    Attributes:
        seq: The event that carries it.
        at: The member of that event's payload, `outputs.fetch`; "" for the payload itself.
        size: How many bytes it has.
    """

    seq: int
    at: str
    size: int

    @classmethod
    def found(cls, match: re.Match[bytes]) -> Pointer:
        seq, at, size = match.groups()
        return cls(int(seq), at.decode(), int(size))

    @property
    def data(self) -> bytes:
        """The pointer as it stands in a state."""
        return b'{"$dagnats.blob":{"seq":%d,"at":"%s","bytes":%d}}' % (self.seq, self.at.encode(), self.size)


def lightened(payload: msgspec.Raw, seq: int, at: str = "") -> msgspec.Raw:
    """A payload of event `seq` as the state has it: itself, or a pointer to it when it is large."""
    if len(payload) <= STATE_BYTES or _PLACE.fullmatch(at) is None:
        return payload
    return msgspec.Raw(Pointer(seq, at, len(payload)).data)


def has_pointer(data: bytes) -> bool:
    """Whether some JSON holds a pointer."""
    return _MARK in data


def pointers(data: bytes) -> list[Pointer]:
    """The pointers in some JSON, each once."""
    return list(dict.fromkeys(map(Pointer.found, _POINTER.finditer(data)))) if _MARK in data else []


def whole_size(data: bytes) -> int:
    """How many bytes some JSON has when all that its pointers stand for is in place."""
    return len(data) + sum(Pointer.found(match).size - len(match[0]) for match in _POINTER.finditer(data))


def put_in(data: bytes, contents: Mapping[Pointer, bytes]) -> bytes:
    """Some JSON with what its pointers stand for in their place; those that `contents` does not have stay."""
    return _POINTER.sub(lambda match: contents.get(Pointer.found(match), match[0]), data)


class _Carrier(msgspec.Struct):
    payload: msgspec.Raw = NOTHING


_carrier = msgspec.json.Decoder(_Carrier)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def content(event: bytes, pointer: Pointer) -> bytes | None:
    """What a pointer stands for, out of the event that carries it; None when that is another event.

    What points on is nothing that we have written.
    """
    try:
        found = _carrier.decode(event).payload
        for key in filter(None, pointer.at.split(".")):
            found = _members.decode(found)[key]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    data = bytes(found)
    return data if len(data) == pointer.size and not has_pointer(data) else None
