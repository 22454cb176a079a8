"""Dot paths: one value inside a payload."""

from __future__ import annotations

import re
import reprlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import msgspec

from dagnats.model.json import TooDeep, shallow

if TYPE_CHECKING:
    from collections.abc import Callable

_KEY = re.compile(r"(?:\\.|[^.\\])+")
_ESCAPED = re.compile(r"\\(.)")


class Missing(Exception):
    """A path that leads nowhere."""


@lru_cache(maxsize=4096)
def keys_of(path: str) -> tuple[str, ...]:
    """The keys of a dot path; a backslash escapes a dot or a backslash."""
    return tuple(_ESCAPED.sub(r"\1", key) for key in _KEY.findall(path))


def value_at(value: Any, path: str) -> Any:
    """What `path` leads to in a decoded JSON value. Raises Missing, saying where it ends."""
    for at, key in enumerate(keys := keys_of(path)):
        if isinstance(value, dict) and key in value:
            value = cast("dict[str, Any]", value)[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(key)]
        else:
            raise Missing(f"there is no {'.'.join(keys[: at + 1])!r}")
    return value


_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode


def decoded(payload: msgspec.Raw) -> Any:
    """The value of a payload. Raises Missing when it has none that can be looked into: no JSON, or an odd number."""
    try:
        return _decode(shallow(bytes(payload)) or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep) as error:
        raise Missing(f"it cannot be read: {error}") from None


_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])


def raw_at(payload: msgspec.Raw, path: str) -> msgspec.Raw:
    """The bytes that `path` leads to in a payload, as they stand there. Raises Missing."""
    value = payload
    try:
        shallow(bytes(payload))
    except TooDeep as error:
        raise Missing(str(error)) from None
    for at, key in enumerate(keys := keys_of(path)):
        member = _member(value, key)
        if member is None:
            raise Missing(f"there is no {'.'.join(keys[: at + 1])!r}")
        value = member
    return value


def _member(payload: msgspec.Raw, key: str) -> msgspec.Raw | None:
    data = bytes(payload).strip()
    try:
        if data[:1] == b"[" and key.isascii() and key.isdigit():
            items = _raw_list.decode(data)
            return items[int(key)] if int(key) < len(items) else None
        return _raw.decode(data).get(key) if data[:1] == b"{" else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def text_of(value: Any) -> str:
    """A value as a key: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def shown(value: Any) -> str:
    """A value from outside, in an error's text: short, however long it is."""
    return reprlib.repr(value)
