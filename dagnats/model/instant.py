"""Instants: whole nanoseconds since 1970 in the engine, RFC 3339 in UTC on the wire."""

from __future__ import annotations

import functools
from datetime import UTC, datetime

_SECOND = 1_000_000_000


def rfc3339(nanos: int) -> str:
    """`nanos` since 1970 as RFC 3339 in UTC with nanoseconds: `2026-11-21T10:54:00.000000001Z`."""
    seconds, rest = divmod(nanos, _SECOND)
    return f"{_second(seconds)}.{str(_SECOND + rest)[1:]}Z"  # half the time of `rest:09d`


def second_text(nanos: int) -> str:
    """`nanos` as people write an instant: `2025-01-15T09:00:00Z`; what is below the second is dropped."""
    return f"{_second(nanos // _SECOND)}Z"


@functools.lru_cache(maxsize=64)  # the events of a busy second share it
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_rfc3339(text: str) -> int:
    """The nanoseconds since 1970 of an RFC 3339 instant; digits below the nanosecond are dropped.

    Raises:
        ValueError: It is no RFC 3339 instant with an offset.
    """
    if len(text) == _OURS and text[19] == "." and text[29] == "Z" and text.isascii():
        fraction = text[20:29]
        if fraction.isdigit():  # as we write it ourselves, thousands of times a second
            return _start_of(text[:19]) + int(fraction)
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write it as UTC, ending in 'Z'")
    digits = text.partition(".")[2]
    fraction = digits[: next((at for at, sign in enumerate(digits) if not sign.isdigit()), len(digits))]
    return int(instant.replace(microsecond=0).timestamp()) * _SECOND + int(f"{fraction[:9]:0<9}")


def written_ns(text: str) -> int:
    """The nanoseconds since 1970 that a worker wrote, in whatever language; 0 for what is no instant."""
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError):
        return 0


_OURS = len("2026-11-21T10:54:00.000000001Z")


@functools.lru_cache(maxsize=64)
def _start_of(second: str) -> int:
    """The nanoseconds of a whole second, `2026-11-21T10:54:00`, UTC."""
    return int(datetime.fromisoformat(f"{second}+00:00").timestamp()) * _SECOND


def table_time(nanos: int) -> str:
    """`nanos` as the tables for people print it: `2025-01-15 09:00:00`, UTC."""
    return f"{datetime.fromtimestamp(nanos // _SECOND, UTC):%Y-%m-%d %H:%M:%S}"
