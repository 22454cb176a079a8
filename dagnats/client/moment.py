"""Instants as people say them: RFC 3339, a date, a span from now."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from dagnats.errors import DagnatsError
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.instant import parse_rfc3339, second_text

Moment = datetime | timedelta | str
"""An instant, a span from now, or the text of either."""

LATEST = timedelta(days=365)
"""How far ahead a run may be scheduled."""

_SECOND = 1_000_000_000
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RIGHT = "write it as '2027-01-15T09:00:00Z', as a date, or from now as '+10m'"


def instant_of(moment: Moment, *, now_ns: int) -> int:
    """The nanoseconds since 1970 of a moment; a date means its beginning, UTC.

    Raises:
        DagnatsError: It is none, or says no time zone.
    """
    try:
        return _instant(moment, now_ns)
    except ValueError as error:
        raise DagnatsError(f"{moment!r} is no instant: {error}", hint=_RIGHT) from None


def _instant(moment: Moment, now_ns: int) -> int:
    match moment:
        case timedelta():
            return now_ns + duration_nanos(moment)
        case datetime():
            if moment.tzinfo is None:
                raise ValueError("it has no time zone")
            return int(moment.timestamp()) * _SECOND + moment.microsecond * 1_000
        case str() if moment.startswith("+"):
            return now_ns + duration_nanos(parse_duration(moment[1:]))
        case str() if _DATE.fullmatch(moment):
            midnight = datetime.combine(date.fromisoformat(moment), datetime.min.time(), UTC)
            return int(midnight.timestamp()) * _SECOND
        case _:
            return parse_rfc3339(moment)


def start_instant(moment: Moment, *, now_ns: int) -> int:
    """When a run is to begin.

    Raises:
        DagnatsError: It is no instant, lies in the past, or is more than `LATEST` ahead.
    """
    instant_ns = instant_of(moment, now_ns=now_ns)
    if instant_ns < now_ns:
        raise DagnatsError(
            f"{second_text(instant_ns)} has passed: it is {second_text(now_ns)}",
            hint="without a time the run begins at once",
        )
    if instant_ns > now_ns + duration_nanos(LATEST):
        raise DagnatsError(
            f"{second_text(instant_ns)} is more than {LATEST.days} days ahead",
            hint="start it later, or by a cron trigger",
        )
    return instant_ns
