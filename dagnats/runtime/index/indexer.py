"""Keeps the index up with the log, and answers from it.

Lines are changed a few times a second, for all events since: a run that starts and ends in between is written once.
All of SQLite happens in two threads, so that whoever else lives here, the engine above all, never waits for a disk.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from dagnats.errors import DecodeError, DefinitionError, UnavailableError
from dagnats.model.check import load_definition
from dagnats.model.event import Record, WorkflowStarted, decode_event
from dagnats.model.identifier import is_reserved
from dagnats.model.removal import RETENTION, Removal, decode_removal
from dagnats.model.summary import RunSummary
from dagnats.runtime.core.graph import Graph
from dagnats.runtime.index.fold import Shape, folded
from dagnats.runtime.index.source import Source
from dagnats.runtime.index.store import Place, Reader, Writer, discard
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Set
    from pathlib import Path

    from dagnats.model.summary import RunPage, RunQuery, Tally
    from dagnats.runtime.ports import EngineFeeds, Entry, Ports
    from dagnats.runtime.telemetry.meter import Meter

log = logging.getLogger("dagnats.index")

T = TypeVar("T")

Fact = tuple[Record, Shape] | Removal
"""What may change lines: an event, with what its definition says where that counts; or runs that are removed."""

Change = tuple[RunSummary | None, RunSummary | None]
"""A line as it was, and as it is."""

DEFAULT_PATIENCE_S = 3.0
_EVERY_S = 0.25
_TROUBLE_S = 5.0
_MANY = 500  # events of one write: where so many come, runs that have ended meanwhile are written once
_RARELY_S = 1.0
_SHAPES = 10_000  # definitions remembered
_NO_SHAPE = Shape()


class Indexer:
    """The index of one server.

    Args:
        ports: Whose log it is.
        feeds: Opens the log.
        file: Where the index is kept; nobody else writes it.
        patience_s: How long a question waits for what the asker knows of, and the index does not yet.
        meter: Counts what comes of the log.

    Attributes:
        source: Where it gets the log from; an engine of this process may tell it there.
    """

    def __init__(
        self,
        ports: Ports,
        feeds: EngineFeeds,
        file: Path,
        *,
        patience_s: float = DEFAULT_PATIENCE_S,
        meter: Meter | None = None,
    ) -> None:
        self._patience_s = patience_s
        self._ports = ports
        self._meter = meter
        self.source = Source(ports, feeds, meter=meter)
        self._file = file
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="dagnats-index-write")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="dagnats-index-read")
        self._reader: Reader | None = None
        self._place = Place()
        self._shapes: dict[str, Shape] = {}
        self._asked = asyncio.Event()
        self._moved = asyncio.Condition()

    @property
    def place(self) -> Place:
        """How far the log is in it."""
        return self._place

    # -- answers ---------------------------------------------------------------------------------------------

    async def page(self, query: RunQuery) -> RunPage:
        """The runs that fit, newest first, as of `query.known` or later."""
        return await self._answer(query, lambda reader: reader.page(query))

    async def count(self, query: RunQuery) -> list[Tally]:
        """How many runs fit, by workflow and status, as of `query.known` or later."""
        return await self._answer(query, lambda reader: reader.count(query))

    async def _answer(self, query: RunQuery, question: Callable[[Reader], T]) -> T:
        await self._reach(query.known)
        reader = self._reader
        if reader is None:
            raise UnavailableError("the index of runs is being made anew", hint="ask again in a while")
        return await self._in(self._reading, lambda: question(reader))

    async def _reach(self, seq: int) -> None:
        """Wait until the log is in it up to `seq`. Raises UnavailableError."""
        try:
            async with asyncio.timeout(self._patience_s), self._moved:
                while self._reader is None or self._place.seq < seq:
                    self._asked.set()
                    await self._moved.wait()
        except TimeoutError:
            raise UnavailableError(
                f"the index of runs is not there yet: it is at event {self._place.seq:,} of {seq:,}",
                hint="it is made from the log: ask again in a while",
            ) from None

    # -- keeping up ------------------------------------------------------------------------------------------

    async def run(self) -> NoReturn:
        """Keep up with the log, until cancelled."""
        try:
            while True:
                try:
                    await self._keep_up()
                except LogCut as cut:
                    log.warning("the index is made anew: %s", cut)
                    await self._in(self._writing, partial(discard, self._file))
                except sqlite3.OperationalError as error:  # a full disk, a lock: nothing is broken
                    log.warning("the index in %s stands still, and is tried again: %s", self._file, error)
                    await asyncio.sleep(_TROUBLE_S)
                except sqlite3.DatabaseError as error:
                    log.warning("the index in %s is made anew: %s", self._file, error)
                    await self._in(self._writing, partial(discard, self._file))
        finally:
            self._writing.shutdown(wait=False)
            self._reading.shutdown(wait=False)

    async def _keep_up(self) -> NoReturn:
        writer = await self._in(self._writing, partial(Writer, self._file))
        try:
            reader = await self._in(self._reading, partial(Reader, self._file))
            try:
                place = await self._in(self._writing, writer.place)
                await self._check(place)
                self._place, self._reader = place, reader
                await self._tell()
                await self._follow(writer)
            finally:
                self._place, self._reader = Place(), None
                self._reading.submit(reader.close)  # behind what is asked of it now
        finally:
            self._writing.submit(writer.close)

    async def _follow(self, writer: Writer) -> NoReturn:
        self.source.open(self._place)
        reading = asyncio.create_task(self.source.read(), name="index: read")
        writing = asyncio.create_task(self._write_on(writer), name="index: write")
        try:
            await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, writing):
                if task.done():
                    task.result()
            raise AssertionError("neither ends by itself")
        finally:
            self.source.close()
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _check(self, place: Place) -> None:
        """Raise LogCut when the log is not the one that was read: another server, or a tail that was lost."""
        if not place.seq:
            return
        if await persist(self._ports.log.last) < place.seq:
            raise LogCut("the log ends before what is in it")
        entry = await persist(lambda: self._ports.log.at(place.seq))
        if entry is not None and entry.time_ns != place.time_ns:
            raise LogCut("the log is not the one that was read")

    async def _write_on(self, writer: Writer) -> NoReturn:
        while True:
            await self.source.news.wait()
            entries, place = self.source.take()
            await self._write(writer, entries, place)
            await self._tell()
            await self._pause(_EVERY_S if len(entries) < _MANY else _RARELY_S)

    async def _tell(self) -> None:
        """Whoever waits for the index looks again."""
        self._asked.clear()
        async with self._moved:
            self._moved.notify_all()

    async def _pause(self, most_s: float) -> None:
        """Wait until enough has come together, or somebody asks for what is newest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._asked.wait()

    async def _write(self, writer: Writer, entries: list[Entry], place: Place) -> None:
        # Tens of thousands come at once when the index is made anew: reading them here would stop the loop for seconds.
        said = await self._in(self._writing, partial(_said, entries))
        shapes = {identity: await self._shape(name, identity) for identity, name in said.definitions.items()}
        changes = await self._in(self._writing, lambda: write(writer, said.facts(shapes), place, fresh=said.fresh))
        if self._meter is not None:
            self._meter.changed(changes)
        self._place = place

    async def _shape(self, workflow: str, identity: str) -> Shape:
        known = self._shapes.get(identity)
        if known is None:
            data = await persist(lambda: self._ports.definitions.version(workflow, identity))
            known = self._shapes[identity] = _shape_in(data)
            if len(self._shapes) > _SHAPES:
                del self._shapes[next(iter(self._shapes))]
        return known

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


def write(writer: Writer, facts: Sequence[Fact], place: Place, *, fresh: Set[str] = frozenset()) -> list[Change]:
    """Fold what came up to `place` into the lines that it is about, and give these as they were and as they are.

    Args:
        fresh: Runs that cannot have a line yet: looking for theirs takes as long as writing them.
    """
    before = writer.lines(list({run_id for fact in facts for run_id in _runs_of(fact)} - fresh))
    after: dict[str, RunSummary | None] = {}
    for fact in facts:
        if isinstance(fact, Removal):
            for run_id, last in fact.runs:
                line = after.get(run_id, before.get(run_id))
                if line is not None and line.seq <= last:
                    after[run_id] = None
            continue
        record, shape = fact
        run_id = record.event.run_id
        line = folded(after[run_id] if run_id in after else before.get(run_id), record, shape)
        if line is not None:
            after[run_id] = line
    writer.write(before, after, place)
    return [(before.get(run_id), line) for run_id, line in after.items()]


def _runs_of(fact: Fact) -> Iterable[str]:
    if isinstance(fact, Removal):
        return (run_id for run_id, _ in fact.runs)
    return (fact[0].event.run_id,)


class _Said(NamedTuple):
    """What events say about lines, before it is known what their definitions say.

    Attributes:
        parts: In order.
        definitions: Those of the runs that are started: names, by hash.
        fresh: Runs that are known to begin here. Where runs are removed as well, their ids may be used again: none.
    """

    parts: list[Record | Removal]
    definitions: dict[str, str]
    fresh: set[str]

    def facts(self, shapes: Mapping[str, Shape]) -> list[Fact]:
        return [part if isinstance(part, Removal) else (part, _shape_of(part, shapes)) for part in self.parts]


def _said(entries: Sequence[Entry]) -> _Said:
    said = _Said([], {}, {entry.run_id for entry in entries if entry.first})
    for entry in entries:
        part = _removal(entry) if entry.run_id == RETENTION else _record(entry)
        if part is None:
            continue
        said.parts.append(part)
        if isinstance(part, Removal):
            said.fresh.clear()
        elif isinstance(part.event, WorkflowStarted):
            said.definitions[part.event.payload.def_hash] = part.event.payload.workflow
    return said


def _record(entry: Entry) -> Record | None:
    """An event of a run; None for what is none."""
    if is_reserved(entry.run_id):
        return None
    try:
        return Record(entry.seq, entry.time_ns, decode_event(entry.data))
    except DecodeError:  # the engine says so
        return None


def _shape_of(record: Record, shapes: Mapping[str, Shape]) -> Shape:
    event = record.event
    return shapes[event.payload.def_hash] if isinstance(event, WorkflowStarted) else _NO_SHAPE


def _removal(entry: Entry) -> Removal | None:
    try:
        return decode_removal(entry.data)
    except DecodeError:
        return None


def _shape_in(data: bytes | None) -> Shape:
    try:
        graph = Graph(load_definition(data)) if data is not None else None
    except DefinitionError:  # of a later DagNats: the engine says so
        graph = None
    if graph is None:
        return Shape()
    return Shape(steps=graph.size, labels=graph.labels, is_admitted=graph.is_admitted)
