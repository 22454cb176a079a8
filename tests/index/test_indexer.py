"""The index beside a running engine: what it says is what the runs say."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dagnats import Abort, Workflow
from dagnats.client import AsyncClient
from dagnats.client.listing import page, summary_of
from dagnats.errors import UnavailableError
from dagnats.model.event import Start, WorkflowPaused, WorkflowStarted, encode_event
from dagnats.model.removal import RETENTION, Removal, encode_removal
from dagnats.model.summary import RunQuery, RunSummary
from dagnats.runtime.engine import Engine
from dagnats.runtime.index.indexer import Indexer
from dagnats.runtime.index.inquiry import open_inquiries
from dagnats.runtime.index.source import Source, Tap
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.ports import Entry
from dagnats.runtime.position import decode_position
from dagnats.runtime.worker import Worker
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable
    from pathlib import Path

    from dagnats.client import RunHandle
    from dagnats.runtime.memory.adapter import Memory


@asynccontextmanager
async def indexing(memory: Memory, file: Path) -> AsyncGenerator[Indexer]:
    """An index that keeps up, and answers inquiries."""
    index = Indexer(memory.ports, memory.feeds, file)
    end = open_inquiries(memory.ports.inquiries, index)
    async with during(index.run()):
        yield index
    end()


@asynccontextmanager
async def during(work: Awaitable[Any]) -> AsyncGenerator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def reserve() -> str:
    return "shelf"


async def charge(amount: int) -> str:
    raise Abort(f"card declined: {amount}")


async def all_lines(memory: Memory) -> list[RunSummary]:
    return list((await page(memory.ports, RunQuery(limit=1_000))).runs)


async def folded_lines(client: AsyncClient, runs: list[RunHandle]) -> dict[str, RunSummary]:
    return {run.run_id: summary_of(await run.view()) for run in runs}


def plain(line: RunSummary) -> RunSummary:
    """Without what only the index has."""
    return msgspec.structs.replace(line, seq=0, by="", trace_parent="", gated=False, held=False)


async def put_runs(client: AsyncClient) -> list[RunHandle]:
    """Runs in every status that a list can show."""
    plain_one, failing, held = Workflow("plain"), Workflow("failing"), Workflow("held").with_concurrency(max_runs=1)
    plain_one.step(reserve)
    failing.step(charge)
    held.task("wait", "nobody.works")
    for workflow in (plain_one, failing, held):
        await client.register(workflow)
    runs = [
        await client.start("plain", labels={"tier": "1"}),
        await client.start("failing", -1),
        await client.start("failing", -2),
        await client.start("held"),
        await client.start("held"),
        await client.start("held", at="+90d"),
        await client.start("plain", at="+90d", by="ann"),
        await client.start("held"),
    ]
    for run in runs[:3]:
        await run.wait(timeout="20s")
    await runs[2].replay()
    await runs[2].wait(timeout="20s")
    await runs[3].pause()
    await runs[7].cancel("no need")
    await until(lambda: is_status(runs[3], "running"))
    return runs


async def is_status(run: RunHandle, status: str) -> bool:
    return (await run.view()).status == status


async def test_every_line_says_what_the_fold_of_its_run_says(tmp_path: Path) -> None:
    server = MemoryServer()
    async with server.connect() as memory, indexing(memory, tmp_path / "index.sqlite"):
        client = AsyncClient(memory)
        plain_one = Workflow("plain")
        plain_one.step(reserve)
        failing = Workflow("failing")
        failing.step(charge)
        worker = Worker(client, [plain_one, failing], ack_wait=timedelta(seconds=30))
        async with during(Engine(memory.ports, memory.feeds).run()), during(worker.run()):
            runs = await put_runs(client)
            found = {line.run_id: plain(line) for line in await all_lines(memory)}
            assert found == await folded_lines(client, runs)
            assert {line.status for line in found.values()} == {
                "completed", "failed", "running", "pending", "scheduled", "cancelled"
            }  # fmt: skip
            assert [line.run_id for line in await client.runs(labels={"tier": "1"})] == [runs[0].run_id]
            assert sum(tally.count for tally in await client.count(workflow="held")) == 4
            assert (await client.find(runs[0].run_id[:8])).run_id == runs[0].run_id
            assert (await client.newest()).run_id == runs[7].run_id


async def test_without_a_server_that_has_an_index_the_log_says_the_same(tmp_path: Path) -> None:
    server = MemoryServer()
    async with server.connect() as memory:
        client = AsyncClient(memory)
        failing = Workflow("failing")
        failing.step(charge)
        await client.register(failing)
        runs = [await client.start("failing", at, labels={"n": str(at % 2)}) for at in range(5)]
        asked = RunQuery(workflow="failing", labels={"n": "0"}, limit=2)
        scanned = await page(memory.ports, asked)
        async with indexing(memory, tmp_path / "index.sqlite"):
            indexed = await page(memory.ports, asked)
        assert [line.run_id for line in scanned.runs] == [runs[4].run_id, runs[2].run_id]
        assert [(line.run_id, line.seq) for line in indexed.runs] == [(line.run_id, line.seq) for line in scanned.runs]
        assert scanned.more
        assert indexed.more


async def test_an_index_of_another_log_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "index.sqlite"
    for names in (["first", "second"], ["third"]):
        async with MemoryServer().connect() as memory:
            client = AsyncClient(memory)
            workflow = Workflow("some")
            workflow.step(reserve)
            await client.register(workflow)
            for name in names:
                await client.start("some", run_id=name)
            async with indexing(memory, file):
                assert [line.run_id for line in await all_lines(memory)] == names[::-1]


async def test_it_goes_on_behind_the_last_event_that_it_has(tmp_path: Path) -> None:
    file = tmp_path / "index.sqlite"
    async with MemoryServer().connect() as memory:
        client = AsyncClient(memory)
        workflow = Workflow("some")
        workflow.step(reserve)
        await client.register(workflow)
        await client.start("some", run_id="first")
        async with indexing(memory, file) as index:
            await all_lines(memory)
            place = index.place
        await client.start("some", run_id="second")
        asked: list[int] = []
        history = memory.feeds.history

        async def watched(after: int) -> Any:
            asked.append(after)
            return await history(after)

        memory.feeds.history = watched
        async with indexing(memory, file):
            assert [line.run_id for line in await all_lines(memory)] == ["second", "first"]
        assert asked == [place.seq]


async def test_runs_that_retention_removes_leave_the_index(tmp_path: Path) -> None:
    async with MemoryServer().connect() as memory, indexing(memory, tmp_path / "index.sqlite"):
        client = AsyncClient(memory)
        workflow = Workflow("some")
        workflow.step(reserve)
        await client.register(workflow)
        await client.start("some", run_id="gone")
        await client.start("some", run_id="used-again")
        last = await memory.ports.log.last()
        said = Removal(timestamp="", runs=(("gone", last), ("used-again", 1)))
        await memory.ports.log.append(RETENTION, encode_removal(said), id="removal")
        assert [line.run_id for line in await all_lines(memory)] == ["used-again"]


async def test_the_name_of_a_run_that_is_removed_can_be_used_again_at_once(tmp_path: Path) -> None:
    def begun(seq: int) -> Entry:
        event = WorkflowStarted(run_id="order-7", payload=Start(workflow="order", def_hash="h"))
        return Entry(seq, seq, "order-7", encode_event(event), first=True)

    removed = encode_removal(Removal(timestamp="", runs=(("order-7", 1),)))
    async with MemoryServer().connect() as memory, indexing(memory, tmp_path / "index.sqlite") as index:

        async def has_begun() -> bool:
            index.source.hear(0, [begun(1)])  # as soon as it listens
            return index.place.seq == 1

        await until(has_begun)
        index.source.hear(1, [Entry(2, 2, RETENTION, removed), begun(3)])
        (line,) = (await index.page(RunQuery(known=3))).runs
        assert line.seq == 3


async def test_what_cannot_be_read_and_what_is_about_nobody_changes_nothing(tmp_path: Path) -> None:
    async with MemoryServer().connect() as memory, indexing(memory, tmp_path / "index.sqlite"):
        await memory.ports.log.append("strange", b'{"type":"workflow.started"', id="1")
        await memory.ports.log.append("strange", b"\xff", id="2")
        await memory.ports.log.append("strange", encode_event(WorkflowPaused(run_id="strange")), id="3")
        await memory.ports.log.append(RETENTION, b"{}", id="4")
        assert await all_lines(memory) == []


async def test_who_asks_for_more_than_the_log_has_is_told_how_far_it_is(tmp_path: Path) -> None:
    async with MemoryServer().connect() as memory:
        index = Indexer(memory.ports, memory.feeds, tmp_path / "index.sqlite", patience_s=0.1)
        async with during(index.run()):
            with pytest.raises(UnavailableError, match="it is at event 0 of 1,000"):
                await index.page(RunQuery(known=1_000))


class Counting:
    """Feeds that count how often something was read through them."""

    def __init__(self, memory: Memory) -> None:
        self._feeds = memory.feeds
        self.count = 0

    async def history(self, after: int) -> Any:
        feed = await self._feeds.history(after)
        batch = feed.batch

        async def counted() -> Any:
            entries = await batch()
            self.count += 1
            return entries

        return SimpleNamespace(batch=counted, close=feed.close)


async def test_what_an_engine_reads_is_not_read_twice(tmp_path: Path) -> None:
    async with MemoryServer().connect() as memory:
        client = AsyncClient(memory)
        workflow = Workflow("some")
        workflow.step(reserve)
        await client.register(workflow)
        await client.start("some", run_id="first")
        feeds: Any = Counting(memory)
        index = Indexer(memory.ports, feeds, tmp_path / "index.sqlite")
        index.source = Source(memory.ports, feeds, silent_s=3_600)  # a machine that stands still is no silence
        end = open_inquiries(memory.ports.inquiries, index)
        async with during(index.run()):
            assert [line.run_id for line in await all_lines(memory)] == ["first"]
            async with during(Engine(memory.ports, Tap(memory.feeds, index.source)).run()):
                await client.start("some", run_id="second")
                assert [line.run_id for line in await all_lines(memory)] == ["second", "first"]
                await until(lambda: is_decided(memory))
                read = feeds.count
                for number in range(20):
                    await client.start("some", run_id=f"more-{number}")
                assert len(await all_lines(memory)) == 22
                assert feeds.count == read
        end()


async def test_when_its_engine_is_gone_the_index_reads_for_itself(tmp_path: Path) -> None:
    async with MemoryServer().connect() as memory:
        client = AsyncClient(memory)
        workflow = Workflow("some")
        workflow.step(reserve)
        await client.register(workflow)
        index = Indexer(memory.ports, memory.feeds, tmp_path / "index.sqlite")
        index.source = Source(memory.ports, memory.feeds, silent_s=0.05)
        async with during(index.run()):
            async with during(Engine(memory.ports, Tap(memory.feeds, index.source)).run()):
                await client.start("some", run_id="first")
                await until(lambda: is_decided(memory))
            await client.start("some", run_id="last")
            await until(lambda: is_listed(index, "last"))


async def is_decided(memory: Memory) -> bool:
    """Whether an engine has read the whole log."""
    stored = await memory.ports.position.read()
    position = decode_position(stored.data) if stored is not None else None
    return position is not None and position.seq >= await memory.ports.log.last()


async def is_listed(index: Indexer, run_id: str) -> bool:
    return run_id in [line.run_id for line in (await index.page(RunQuery())).runs]
