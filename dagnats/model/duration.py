"""Durations as workflow definitions write them: Go's form (`"1h30m"`), with `"7d"` and `"2w"` on input."""

from __future__ import annotations

import re
from datetime import timedelta

_NANOS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5 micro sign
    "μs": 1_000,  # U+03BC Greek mu: Go reads both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ns|us|µs|μs|ms|s|m|h|d|w)")
_MAX_NANOS = 2**63 - 1  # Go's time.Duration is an int64 of nanoseconds
_RIGHT = "write a number with a unit, such as '500ms', '30s', '1h30m' or '7d'"


def parse_duration(value: object) -> timedelta:
    """The duration that `value` spells: a string in Go's form, an int of nanoseconds, or a timedelta.

    Raises:
        ValueError: It is no duration, is negative, is not a whole microsecond, or exceeds Go's int64.
    """
    return timedelta(microseconds=_nanos(value) // 1_000)


def _nanos(value: object) -> int:
    match value:
        case bool() | float():
            raise ValueError(f"{value!r} is not a duration; {_RIGHT}")
        case timedelta():
            nanos = (value // timedelta(microseconds=1)) * 1_000
        case int():
            nanos = value
        case str():
            nanos = _parse_text(value)
        case _:
            raise ValueError(f"{value!r} is not a duration; {_RIGHT}")
    if nanos < 0:
        raise ValueError(f"{value!r} is negative; a duration is zero or more")
    if nanos > _MAX_NANOS:
        raise ValueError(f"{value!r} is longer than the longest duration, 2562047h47m")
    if nanos % 1_000:
        raise ValueError(f"{value!r} is not a whole number of microseconds; round it to 'us' or more")
    return nanos


def _parse_text(text: str) -> int:
    if text == "0":
        return 0
    if text.startswith("-"):
        raise ValueError(f"{text!r} is negative; a duration is zero or more")
    total, at = 0, 0
    # Longer texts than this only repeat units or write digits Go would overflow on.
    if not text or len(text) > 100:
        raise ValueError(f"{text[:100]!r} is not a duration; {_RIGHT}")
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f"{text!r} is not a duration; {_RIGHT}")
        whole, fraction, unit = part.groups()
        scale = _NANOS[unit]
        total += int(whole) * scale
        if fraction:
            scaled, rest = divmod(int(fraction) * scale, 10 ** len(fraction))
            if rest:
                raise ValueError(f"{text!r} is not a whole number of microseconds; round it to 'us' or more")
            total += scaled
        at = part.end()
    return total


def format_duration(value: timedelta) -> str:
    """The canonical spelling: Go's `Duration.String()` without trailing zero units (`1h30m`, `168h`, `1.5s`)."""
    text = format_go_duration(value)
    if text.endswith("m0s"):
        text = text[:-2]
        if text.endswith("h0m"):
            text = text[:-2]
    return text


def format_go_duration(value: timedelta) -> str:
    """Go's `Duration.String()` in full (`30m0s`), as the tables for people print it."""
    micros = value // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    if micros < 1_000:
        return f"{micros}µs"
    if micros < 1_000_000:
        return f"{_decimal(micros, 1_000)}ms"
    minutes, rest = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    if minutes:
        return f"{minutes}m{text}"
    return text


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if not rest:
        return str(whole)
    return f"{whole}.{rest:0{len(str(scale)) - 1}d}".rstrip("0")


def duration_nanos(value: timedelta) -> int:
    """`value` in whole nanoseconds, the engine's unit of time."""
    return (value // timedelta(microseconds=1)) * 1_000
