"""Numbers and names as people say them."""

from __future__ import annotations

_MOST_NAMED = 5


def named(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) + more) or "nobody"


def span(seconds: float) -> str:
    """A time as people say it: `4 ms`, `12 s`, `3 min`, `5 h`, `2 days`."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1_000:.0f} ms"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3_600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
