"""Everything in one file while runs go on, and out of it elsewhere: nothing that was acknowledged is missing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from dagnats import ConflictError, Workflow, handler
from dagnats.client import AsyncClient
from dagnats.client.backup import order, take
from dagnats.client.backup_file import BackupFile
from dagnats.client.restore import expect_room, restore
from dagnats.model.removal import RETENTION, Removal, encode_removal
from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.position import decode_position
from tests.support.mortal import Killed
from tests.support.nats import prepared
from tests.support.processes import until
from tests.support.system import System, running

if TYPE_CHECKING:
    from pathlib import Path

    from dagnats.client import RunHandle

AT_ONCE = 8
LARGE = "x" * 300_000  # too large for the log: it goes into a blob


@handler("backup.first")
async def first(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "large": LARGE if value["n"] % 10 == 0 else ""}


@handler("backup.last")
async def last(value: dict[str, Any]) -> int:
    return len(value["large"])


def everything() -> Workflow[Any, Any]:
    """Tasks, a slot of many, a wake-up, an event that is waited for, a child, a large output."""
    workflow = Workflow("backed-up", timeout="1h")
    begun = workflow.task("first", first).with_timeout("10m").with_task_concurrency(50)
    rest = workflow.sleep("rest", "300ms").after(begun)
    same = workflow.event["n"] == workflow.input["n"]
    paid = workflow.wait_for_event("paid", "paid", match=same, timeout="1h", lookback="1h").after(rest)
    child = workflow.sub_workflow("child", "backed-up-child").after(paid)
    workflow.task("last", last).after(child)
    return workflow


def small() -> Workflow[Any, Any]:
    workflow = Workflow("backed-up-child")
    workflow.task("only", first)
    return workflow


class Load:
    """Runs that are started and paid for, as many as go, until it is told to stop.

    Attributes:
        acknowledged: Those whose start, and whose event, were acknowledged.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._n = 0
        self.acknowledged: list[str] = []

    async def go(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(AT_ONCE)))

    async def _one(self) -> None:
        client = self._system.client
        while True:
            self._n += 1
            n = self._n
            run = await client.start("backed-up", {"n": n}, run_id=f"run-{n}")
            await client.publish_event("paid", {"n": n})
            self.acknowledged.append(run.run_id)

    async def comes_to(self, count: int) -> None:
        while len(self.acknowledged) < count:  # noqa: ASYNC110  # nothing here sets an event
            await asyncio.sleep(0.01)


async def test_what_was_acknowledged_before_a_backup_under_load_ends_after_its_restore(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = tmp_path / "backup.tar"
    async with running(nats_server) as system:
        await system.client.register_all([small().build(), everything().build()])
        system.start_worker([first, last])
        load = Load(system)
        going = asyncio.create_task(load.go())
        await load.comes_to(25)
        before = list(load.acknowledged)
        async with await JetStream.connect(nats_server.url, token=nats_server.token) as other:
            await take(other, file)
        after = len(load.acknowledged)
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going
    assert after > len(before), "it was taken while runs were started"
    assert file.stat().st_mode & 0o777 == 0o600

    async with EmbeddedServer(tmp_path / "other", port=0) as server:
        async with await JetStream.connect(server.url, token=server.token) as jetstream:
            backup = BackupFile.checked(file)
            await expect_room(jetstream, backup, force=False)
            await restore(jetstream, backup)
            stored = await jetstream.ports.position.read()
            assert stored is not None, "an engine was there"
            position = decode_position(stored.data)
            assert position is not None, "it wrote it"
            assert position.anew, "whoever leads next makes good what the copies lack"
        async with running(server) as system:
            system.start_worker([first, last])
            handles = [system.client.handle(run_id) for run_id in before]
            outputs = await asyncio.gather(*(handle.result(timeout="60s") for handle in handles))
            assert outputs == [300_000 if int(each[4:]) % 10 == 0 else 0 for each in before]
            found = await system.client.verify()
            assert found.runs >= 2 * len(before)
            assert found.differences == ()


async def test_a_backup_is_restored_into_a_namespace_beside_where_it_is_from(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    napping = Workflow("backed-up-nap")
    napping.sleep("nap", "1h")
    async with running(nats_server) as system:
        client, ports = system.client, system.jetstream.ports
        await client.register_all([small().build(), everything().build(), napping.build()])
        system.start_worker([first])
        for n in range(2):
            await client.start("backed-up", {"n": n}, run_id=f"run-{n}")
        await client.start("backed-up-nap", run_id="run-nap")
        await client.publish_event("paid", {"n": 0})

        async def stuck() -> bool:
            return bool(await ports.tasks.waiting("backup.last", "run-0") and await ports.waiters.all())

        await until(stuck)
        backup = await take(system.jetstream, tmp_path / "backup.tar")

        async with await JetStream.connect(nats_server.url, token=nats_server.token, namespace="copy") as jetstream:
            await expect_room(jetstream, backup, force=False)
            await restore(jetstream, backup)
        async with running(nats_server, namespace="copy") as copy:
            copy.start_worker([first, last])
            assert await copy.client.handle("run-0").result(timeout="30s") == 300_000
            await copy.client.publish_event("paid", {"n": 1})
            assert await copy.client.handle("run-1").result(timeout="30s") == 0

            async def only_naps() -> bool:  # the timeouts of those that ended go a little later
                return [each.run_id for each in await copy.jetstream.ports.timers.all()] == ["run-nap"]

            await until(only_naps)
            found = await copy.client.verify()
            assert (found.runs, found.differences) == (5, ())
        assert (await client.handle("run-0").view()).status == "running"


class Remover:
    """Announces that a run is removed, between the copies of two streams: that of the history, and the next.

    What the run had may be gone from the copies that follow, so it must not come back.
    """

    def __init__(self, jetstream: JetStream, run: RunHandle) -> None:
        self._jetstream = jetstream
        self._run = run
        self._copies = 0

    def __call__(self, _: int) -> None:
        self._copies += 1  # an empty stream, and a small one, has one piece: all have, up to the history
        if self._copies == order().index("WORKFLOW_HISTORY") + 1:
            self._announcing = asyncio.create_task(self._announce())

    async def _announce(self) -> None:
        newest = await self._jetstream.ports.log.newest(self._run.run_id)
        assert newest is not None, "it was started"
        removal = Removal(timestamp="", runs=((self._run.run_id, newest.seq),))
        await self._jetstream.ports.log.append(RETENTION, encode_removal(removal), id="removal")


async def test_a_restore_that_the_server_did_not_survive_is_completed_by_the_same_again(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    large = os.urandom(3_000_000)  # an image of many pieces, whatever packs it
    digest = hashlib.sha256(large).hexdigest()
    async with prepared(nats_server) as jetstream:
        await AsyncClient(jetstream).register(small())
        for n in range(3):
            await AsyncClient(jetstream).start("backed-up-child", {"n": n}, run_id=f"run-{n}")
        await jetstream.ports.blobs.put("run-0", digest, large)
        begun = await AsyncClient(jetstream).start("backed-up-child", {"n": 9}, run_id="run-gone")
        kept = await take(jetstream, tmp_path / "kept.tar", told=Remover(jetstream, begun))
        await AsyncClient(jetstream).start("backed-up-child", {"n": 3}, run_id="run-3")
        other = await take(jetstream, tmp_path / "other.tar")
        with pytest.raises(ConflictError, match=r"not empty: messages 6 in WORKFLOW_HISTORY, "):
            await expect_room(jetstream, kept, force=False)
    streams = len(kept.streams)

    for point in (streams // 2, streams):
        broken = 0

        def told(*_: int) -> None:
            nonlocal broken
            broken += 1
            if broken == point:  # noqa: B023  # called before the loop goes on
                os.kill(nats_server.pid, signal.SIGKILL)
                raise Killed

        async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
            await expect_room(jetstream, kept, force=True)
            with pytest.raises(Killed):
                await restore(jetstream, kept, told=told)
        await nats_server.stop()
        await nats_server.start()
        async with await JetStream.connect(nats_server.url, token=nats_server.token) as jetstream:
            with pytest.raises(ConflictError, match="being restored here"):  # nobody takes half of it for all
                await jetstream.ports.server.prepare()
            with pytest.raises(ConflictError, match="another backup"):
                await expect_room(jetstream, other, force=False)
            await expect_room(jetstream, kept, force=False)
            await restore(jetstream, kept)
            await jetstream.ports.server.prepare()
            assert await jetstream.ports.log.run_ids() == ["run-0", "run-1", "run-2"]
            assert await jetstream.ports.blobs.get("run-0", digest, len(large)) == large
            assert (await AsyncClient(jetstream).workflow("backed-up-child")).name == "backed-up-child"
