"""Tells the spans of runs when they are over: of all, while there are not many; of a busy engine's, of some, and of
those that failed first.

The history has all that a span says. So nothing is measured while a run goes on: the engine's way is not made longer
by a single step, and a busy engine is spared all but a sample. `dagnats trace` reads the history itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NoReturn

from dagnats.model.trace import trace_of
from dagnats.runtime.record import decoded
from dagnats.runtime.telemetry.note import note
from dagnats.runtime.telemetry.otlp import encode_spans
from dagnats.runtime.telemetry.span import spans_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from dagnats.model.event import Record
    from dagnats.runtime.ports import DeadLetters, Entry, Letter, Notices, Ports
    from dagnats.runtime.telemetry.exporter import Exporter
    from dagnats.runtime.telemetry.span import Span

log = logging.getLogger("dagnats.telemetry")

SERVICE = "engine"

_PER_S = 10.0  # a run costs half a millisecond: this much of a processor is not missed
_BURST = 50.0  # so many more, of those that come together
_REST_S = 0.05
_MOST = 200  # runs that wait, of each kind
_AT_ONCE = 500  # events decoded, and spans in a message
_SETTLE_S = 1.0  # what comes just behind the end belongs to it, too
_FAILED = (b'{"type":"workflow.failed"', b'{"type":"compensate.')


class Tracer:
    """Tells the spans of runs.

    Attributes:
        told, lost: How many runs it has told of; of how many it has not.
    """

    def __init__(self, ports: Ports, exporter: Exporter) -> None:
        self.told = self.lost = 0
        self._ports = ports
        self._exporter = exporter
        self._loop = asyncio.get_running_loop()
        self._failed: deque[tuple[float, str]] = deque()
        self._others: deque[tuple[float, str]] = deque()
        self._news = asyncio.Event()
        self._room = _BURST
        self._room_at = self._loop.time()

    def end(self, entry: Entry) -> None:
        """A run has ended."""
        waiting = self._failed if entry.data.startswith(_FAILED) else self._others
        if len(waiting) >= _MOST:
            self.lost += 1
            return
        waiting.append((self._loop.time() + _SETTLE_S, entry.run_id))
        self._news.set()

    async def run(self) -> NoReturn:
        """Tell of them, until cancelled."""
        while True:
            while not self._waits:
                self._news.clear()
                await self._news.wait()
            await asyncio.sleep(self._rest_s())
            due, run_id = (self._failed or self._others).popleft()
            await asyncio.sleep(max(due - self._loop.time(), 0))
            try:
                await self._tell(run_id)
            except Exception as error:  # a run that cannot be told of must not silence the others
                self.lost += 1
                log.debug("the spans of run %s are not told", run_id, exc_info=error)

    @property
    def _waits(self) -> bool:
        return bool(self._failed or self._others)

    def _rest_s(self) -> float:
        """How long to wait before the next run is told of."""
        now = self._loop.time()
        self._room = min(self._room + (now - self._room_at) * _PER_S, _BURST) - 1
        self._room_at = now
        return max(-self._room / _PER_S, _REST_S)

    async def _tell(self, run_id: str) -> None:
        records: list[Record] = []
        entries = await self._ports.log.read(run_id)
        for at in range(0, len(entries), _AT_ONCE):
            records += decoded(entries[at : at + _AT_ONCE])
            await asyncio.sleep(0)
        spans = spans_of(records)
        # Whoever began the trace may not want it kept: then a collector does not get the middle of it.
        is_wanted = bool(spans) and trace_of(records[0].event.trace_parent, run_id).is_sampled
        for at in range(0, len(spans), _AT_ONCE):
            data = encode_spans(spans[at : at + _AT_ONCE], self._exporter.who)
            self._exporter.offer(f"spans.{SERVICE}.{run_id}", data, collected=is_wanted)
            await asyncio.sleep(0)
        if spans and spans[0].status == "error":
            _note_failed(spans[0])
        self.told += 1


def _note_failed(span: Span) -> None:
    trace = f"00-{span.trace_id}-{span.span_id}-01"
    told = {name: span.attributes[name] for name in ("run_id", "workflow")}
    note(SERVICE, "ERROR", "run failed", **told, error=span.error, trace_parent=trace)


class Overheard:
    """`ports.Notices`: those of an engine that leads, whose word on the end of a run is told to a tracer."""

    def __init__(self, notices: Notices, tracer: Tracer) -> None:
        self._notices = notices
        self._tracer = tracer

    def ask(self, subject: str, data: bytes) -> None:
        self._notices.ask(subject, data)

    def respond(self, run_id: str, data: bytes) -> None:
        self._notices.respond(run_id, data)

    def end(self, entry: Entry) -> None:
        self._notices.end(entry)
        self._tracer.end(entry)


class Mourned:
    """`ports.DeadLetters`: those of an engine that leads, each of them a line of its log."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def put(self, subject: str, data: bytes, *, headers: Mapping[str, str], id: str) -> Awaitable[object]:
        told = {"run_id": headers.get("Dagnats-Dlq-Run-Id", ""), "step_id": headers.get("Dagnats-Dlq-Step-Id", "")}
        what = "step failed" if told["step_id"] else "an event cannot be decided"
        note(SERVICE, "ERROR", what, **told, error=headers.get("Dagnats-Dlq-Error", ""))
        return self._letters.put(subject, data, headers=headers, id=id)

    async def find(self, subject: str) -> list[Letter]:
        return await self._letters.find(subject)

    async def at(self, seq: int) -> Letter | None:
        return await self._letters.at(seq)

    async def remove(self, seq: int) -> None:
        await self._letters.remove(seq)

    async def count(self) -> int:
        return await self._letters.count()
