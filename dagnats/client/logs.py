"""The lines that parts of the system have logged, as people and programs ask for them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.client.moment import instant_of
from dagnats.errors import DagnatsError, DecodeError
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.identifier import near
from dagnats.model.instant import written_ns
from dagnats.runtime.telemetry.address import EXPORT
from dagnats.runtime.telemetry.entry import LEVELS, Level, LogEntry, decode_log

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    from dagnats.runtime.ports import Piece, Ports

_ALIKE: dict[str, Level] = {"WARNING": "WARN", "CRITICAL": "ERROR", "FATAL": "ERROR"}
_SERVICE = re.compile(r"[A-Za-z0-9_-]+")
_MOST_WAITING = 10_000
_EXPORTS_NS = 300_000_000_000  # who cannot export says so once a minute
_LATE_NS = 60_000_000_000  # what is said of a run after its end

MOST = 10_000
"""So many lines are asked for at a time."""


class LogQuery(NamedTuple):
    """Which lines are meant: those that all of it fits.

    Attributes:
        level: Exactly this one.
        service: Said by this part of the system: `worker`, `engine`, `api`.
        run_id: About this run.
        text: With this text in the line, or in what it is about, in any case.
    """

    level: Level | Literal[""] = ""
    service: str = ""
    run_id: str = ""
    text: str = ""

    @property
    def subject(self) -> str:
        """Where they are kept, below `telemetry`."""
        if not self.level and not self.service:
            return "logs.>"
        return f"logs.{self.service or '*'}.{self.level or '>'}"

    def fits(self, entry: LogEntry) -> bool:
        """Whether a line is meant, of those under the subject."""
        if self.run_id and entry.attributes.get("run_id") != self.run_id:
            return False
        return not self.text or self.text.lower() in _all_of(entry)


def _all_of(entry: LogEntry) -> str:
    return "\n".join([entry.body, *map(str, entry.attributes.values())]).lower()


def log_query(*, level: str = "", service: str = "", run_id: str = "", text: str = "") -> LogQuery:
    """A question, from what somebody typed. Raises DagnatsError for a level that there is not."""
    meant = _level(level.upper())
    if level and not meant:
        close = near(level.upper(), LEVELS)
        like = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(LEVELS)}"
        raise DagnatsError(f"there is no level {level!r}", hint=like)
    if service and not _SERVICE.fullmatch(service):
        raise DagnatsError(f"{service!r} cannot name a service", hint="such as worker, engine, api")
    return LogQuery(meant, service, run_id, text)


def _level(word: str) -> Level | Literal[""]:
    for level in LEVELS:
        if level == _ALIKE.get(word, word):
            return level
    return ""


def log_instant(since: str, now_ns: int) -> int:
    """When `30m` ago, or the instant that is said, was. Raises DagnatsError."""
    try:
        return now_ns - duration_nanos(parse_duration(since))
    except (ValueError, OverflowError):
        pass
    try:
        return instant_of(since, now_ns=now_ns)
    except DagnatsError:
        raise DagnatsError(
            f"{since!r} is no age and no time", hint="write it as 30m, 7d, or 2027-01-15T09:00:00Z"
        ) from None


async def logs(ports: Ports, query: LogQuery, *, since: str, limit: int) -> list[LogEntry]:
    """The last lines that fit, oldest first: of those that came since, where that is not ""."""
    if not since:
        return await newest_logs(ports, query, limit)
    return await logs_since(ports, query, log_instant(since, ports.clock.now_ns()), limit=limit)


async def newest_logs(ports: Ports, query: LogQuery, count: int) -> list[LogEntry]:
    """The last lines that fit, oldest first."""
    asked = count
    while True:
        pieces = await ports.telemetry.newest(query.subject, asked)
        found = _last(_fitting(pieces, query), count)
        if len(found) >= count or len(pieces) < asked:
            return [line.entry for line in found]
        asked *= 8


async def logs_since(ports: Ports, query: LogQuery, since_ns: int, *, limit: int = MOST) -> list[LogEntry]:
    """The last lines that fit of those that came since an instant, oldest first."""
    return await _between(ports, query, since_ns, 0, limit)


async def run_logs(
    ports: Ports, query: LogQuery, *, begun_ns: int, ended_ns: int = 0, limit: int = MOST
) -> list[LogEntry]:
    """The last lines about a run, oldest first.

    Args:
        ports: Where they are.
        query: It names the run.
        begun_ns: When that was started: there are none before.
        ended_ns: When it ended; 0 while it goes on.
        limit: At most so many.
    """
    return await _between(ports, query, begun_ns, ended_ns + _LATE_NS if ended_ns else 0, limit)


async def _between(ports: Ports, query: LogQuery, since_ns: int, until_ns: int, limit: int) -> list[LogEntry]:
    found: list[_Line] = []
    after = 0
    while pieces := await ports.telemetry.page(query.subject, since_ns=since_ns, after=after):
        found += _fitting(pieces, query)
        if len(found) > 2 * limit:
            found = _last(found, limit)
        after = pieces[-1].seq
        if until_ns and pieces[-1].time_ns > until_ns:
            break
    return [line.entry for line in _last(found, limit)]


async def follow_logs(ports: Ports, query: LogQuery) -> AsyncGenerator[LogEntry]:
    """Lines that fit, as they come. Where they come faster than they are taken, some are passed over."""
    waiting: asyncio.Queue[Piece] = asyncio.Queue(_MOST_WAITING)

    def heard(piece: Piece) -> None:
        with suppress(asyncio.QueueFull):
            waiting.put_nowait(piece)

    stop = ports.telemetry.hear(query.subject, heard)
    try:
        while True:
            for line in _fitting([await waiting.get()], query):
                yield line.entry
    finally:
        stop()


async def failing_exports(ports: Ports) -> tuple[LogEntry, ...]:
    """What each process that cannot export its telemetry has said last; none that is silent since minutes."""
    since_ns = ports.clock.now_ns() - _EXPORTS_NS
    try:
        said = await logs_since(ports, LogQuery(service=EXPORT), since_ns)
    except DagnatsError:  # there is no stream to ask: that is told as what it is
        return ()
    newest = {entry.attributes.get("process"): entry for entry in said}
    return tuple(entry for entry in newest.values() if entry.attributes.get("export") == "failing")


class _Line(NamedTuple):
    """A line, and when it was said: by its own clock, or else when it came."""

    time_ns: int
    entry: LogEntry


def _fitting(pieces: Iterable[Piece], query: LogQuery) -> Iterator[_Line]:
    for piece in pieces:
        try:
            entry = decode_log(piece.data)
        except DecodeError:  # anybody may write there
            continue
        if query.fits(entry):
            yield _Line(written_ns(entry.timestamp) or piece.time_ns, entry)


def _last(lines: Iterable[_Line], count: int) -> list[_Line]:
    """The last lines, in the order in which they were said: processes send them in bundles, so they come in another."""
    return sorted(lines, key=lambda line: line.time_ns)[-count:]
