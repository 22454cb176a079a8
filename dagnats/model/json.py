"""One canonical way to write JSON, byte for byte reproducible, and the raw-bytes pieces the engine joins."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

NULL = msgspec.Raw(b"null")
"""JSON `null`: what an absent input or output reads as."""


def pretty(value: Any) -> bytes:
    """`value` as people read it: 2 spaces, UTF-8 as it is, a final newline. Key order is the caller's.

    Raises:
        ValueError: `value` holds NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def compact(value: Any) -> bytes:
    """`value` as it is hashed: no white space, UTF-8 as it is. Key order is the caller's."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def join_object(members: Iterable[tuple[str, msgspec.Raw]]) -> msgspec.Raw:
    """A JSON object of already encoded values: payloads pass through the engine without being re-encoded."""
    inside = b",".join(_encode(key) + b":" + (bytes(value) or b"null") for key, value in members)
    return msgspec.Raw(b"{" + inside + b"}")


_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> msgspec.Raw:
    """`value` (builtins, msgspec Structs, Raw) as one encoded JSON value."""
    return msgspec.Raw(_encode(value))


def carriable(text: str) -> str:
    """`text` with what UTF-8 cannot say spelt out: names of files may hold single bytes, as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


class TooDeep(Exception):
    """JSON nested deeper than anything means. How deep a parser gets by itself depends on who calls it."""


DEEPEST = 256
"""So deep a value may be nested that decisions look into."""
DEEPEST_PAYLOAD = 500
"""So deep a payload may be nested that travels in an event."""
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def shallow(data: bytes, most: int = DEEPEST) -> bytes:
    """`data`, when it is nested no deeper than `most` levels. Raises TooDeep."""
    if len(data) <= most:  # as nearly always: each level takes a byte
        return data
    if data.count(b"[") + data.count(b"{") > most:
        brackets = _TEXT.sub(b"", data).translate(None, _NOT_BRACKETS)
        if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > most:
            raise TooDeep(f"it is nested deeper than {most} levels")
    return data
