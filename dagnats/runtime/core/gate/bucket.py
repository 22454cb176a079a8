"""Rates in integers: when the next task may start (the generic cell rate algorithm).

A bucket is one number: the instant at which it will be full again, by the gates' clock. Nothing else is kept of it, so
the limit of whoever asks counts, and a bucket that is full is forgotten. Under a slower limit more may have been taken
than a bucket of the new one holds; an operator who says a new one means it from then on (`emptied`).
"""

from __future__ import annotations


def _token_ns(limit: int, period_ns: int) -> int:
    """How long one token takes to come back; rounded up, so that the limit is never exceeded."""
    return -(-period_ns // limit)


def ready_ns(full_ns: int, limit: int, period_ns: int, units: int) -> int:
    """The instant from which `units` can be taken from a bucket that will be full at `full_ns`.

    More than the bucket holds can be taken when it is full.
    """
    return full_ns - (limit - min(units, limit)) * _token_ns(limit, period_ns)


def spent(full_ns: int, now_ns: int, limit: int, period_ns: int, units: int) -> int:
    """When the bucket will be full, once `units` are taken from it now."""
    return max(full_ns, now_ns) + min(units, limit) * _token_ns(limit, period_ns)


def emptied(full_ns: int, now_ns: int, limit: int, period_ns: int) -> int:
    """When a bucket that had another limit until now will be full: nothing can be missing that it does not hold."""
    return min(full_ns, now_ns + limit * _token_ns(limit, period_ns))
