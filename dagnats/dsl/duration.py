"""Durations as builders take them: a timedelta or a string, never a bare number."""

from __future__ import annotations

from datetime import timedelta

from dagnats.model.duration import format_duration


def duration_text(value: timedelta | str) -> str:
    """`value` as a definition writes it. A string is taken as it is; the build checks it.

    Raises:
        TypeError: It is neither a timedelta nor a string.
    """
    if isinstance(value, timedelta):
        # A negative one keeps its sign, so that the build reports it like any other bad duration.
        return format_duration(value) if value >= timedelta(0) else f"-{format_duration(-value)}"
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        return value
    raise TypeError(f"a duration is a timedelta or a string such as '30s', not {value!r}")
