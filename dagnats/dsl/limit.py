"""Limits as values: `rate_limit=RateLimit(100, "1m")`."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple


class RateLimit(NamedTuple):
    """At most `limit` tasks of a type start per `period`, over all runs."""

    limit: int
    period: timedelta | str


class KeyedRateLimit(NamedTuple):
    """A rate limit for each value that `key`, a dot path into the step's input, has. A task takes `units`."""

    key: str
    limit: int
    period: timedelta | str
    units: int = 1


class Debounce(NamedTuple):
    """Many firings of a trigger start one run: after `period` without one, or after `timeout` in any case.

    `key` is a dot path into what the trigger brings: each of its values is debounced by itself.
    """

    period: timedelta | str
    timeout: timedelta | str | None = None
    key: str | None = None
