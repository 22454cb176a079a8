"""Snapshots: of any size, replaced by compare-and-set, whole or not at all."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import msgspec
import pytest

from dagnats.errors import ConflictError
from dagnats.runtime.jetstream.snapshot import PART_BYTES
from tests.support.nats import prepared, through_proxy
from tests.support.processes import until

if TYPE_CHECKING:
    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.adapter import JetStream
    from dagnats.runtime.ports import Stored

SMALL = b"small"
BUCKET = "KV_workflow_runs"


def large(size: int = 3 * PART_BYTES + 17) -> bytes:
    return secrets.token_bytes(size)


async def keys(jetstream: JetStream) -> list[str]:
    """What is stored, without the bucket's prefix."""
    info = await jetstream.link.api(f"STREAM.INFO.{BUCKET}", {"subjects_filter": ">"})
    subjects: dict[str, int] = info["state"].get("subjects") or {}
    return sorted(subject.removeprefix("$KV.workflow_runs.") for subject in subjects)


async def loaded(jetstream: JetStream, run_id: str = "r1") -> Stored:
    stored = await jetstream.ports.snapshots.load(run_id)
    assert stored is not None
    return stored


async def test_a_small_snapshot_is_one_key_with_the_bytes_themselves(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        await jetstream.ports.snapshots.save("r1", SMALL, revision=0)
        assert await keys(jetstream) == ["run.r1"]
        message = await jetstream.link.request(f"$JS.API.DIRECT.GET.{BUCKET}.$KV.workflow_runs.run.r1")
        assert message.data == SMALL


async def test_a_large_snapshot_that_comes_too_late_leaves_nothing_behind(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        snapshots = jetstream.ports.snapshots
        first = await snapshots.save("r1", b"1", revision=0)
        second = await snapshots.save("r1", b"2", revision=first)
        for wrong in (0, first, second + 1):
            with pytest.raises(ConflictError):
                await snapshots.save("r1", large(), revision=wrong)
        assert (await loaded(jetstream)).data == b"2"
        assert await keys(jetstream) == ["run.r1"]  # what a late writer wrote is gone


async def test_parts_that_are_not_needed_any_more_are_removed(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        snapshots = jetstream.ports.snapshots
        await snapshots.save("r2", large(), revision=0)
        other = await keys(jetstream)
        revision = await snapshots.save("r1", large(), revision=0)
        before = await keys(jetstream)
        assert len(before) == 2 * 5
        data = large(2 * PART_BYTES)
        revision = await snapshots.save("r1", data, revision=revision)
        assert len(await keys(jetstream)) == 5 + 3
        assert (await loaded(jetstream)).data == data
        revision = await snapshots.save("r1", SMALL, revision=revision)
        assert await keys(jetstream) == sorted(["run.r1", *other])
        assert (await loaded(jetstream)).data == SMALL


async def test_another_engine_removes_the_parts_of_the_one_before(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as one, prepared(nats_server) as other:
        await one.ports.snapshots.save("r1", large(), revision=0)
        stored = await loaded(other)
        await other.ports.snapshots.save("r1", SMALL, revision=stored.revision)
        assert await keys(other) == ["run.r1"]


async def test_a_late_writer_damages_nothing_of_a_newer_snapshot(nats_server: EmbeddedServer) -> None:
    """The frozen leader that wakes up: it goes on writing what it had begun."""
    newer = large()
    async with prepared(nats_server) as leader, through_proxy(nats_server) as (proxy, frozen):
        revision = await leader.ports.snapshots.save("r1", large(), revision=0)
        proxy.silent = True  # its parts are stored, and it does not hear of it
        saving = frozen.ports.snapshots.save("r1", large(), revision=revision)

        async def begun() -> bool:
            return len(await keys(leader)) == 1 + 4 + 4

        await until(begun)
        await leader.ports.snapshots.save("r1", newer, revision=revision)
        proxy.hang_up()
        with pytest.raises(ConflictError):
            await saving
        assert (await loaded(leader)).data == newer
        assert (await loaded(frozen)).data == newer
        assert len(await keys(leader)) == 1 + 4


async def test_a_large_snapshot_whose_answer_was_lost_is_known_to_be_ours(nats_server: EmbeddedServer) -> None:
    data = large()
    async with prepared(nats_server) as direct, through_proxy(nats_server) as (proxy, jetstream):
        proxy.silent_from = b"Dagnats-Parts"  # when the parts are stored, and the head follows
        saving = asyncio.ensure_future(jetstream.ports.snapshots.save("r1", data, revision=0))

        async def head_stored() -> bool:
            return "run.r1" in await keys(direct)

        await until(head_stored)
        proxy.hang_up()
        stored = await loaded(direct)
        assert await saving == stored.revision
        assert stored.data == data


async def test_a_small_snapshot_whose_answer_was_lost_is_a_conflict_with_itself(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as direct, through_proxy(nats_server) as (proxy, jetstream):
        proxy.silent = True
        saving = asyncio.ensure_future(jetstream.ports.snapshots.save("r1", SMALL, revision=0))

        async def stored() -> bool:
            return await keys(direct) == ["run.r1"]

        await until(stored)
        proxy.hang_up()
        with pytest.raises(ConflictError):
            await saving
        assert (await loaded(jetstream)).data == SMALL


async def test_a_snapshot_with_a_missing_part_is_data_that_no_decoder_takes(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        data = b"{}".ljust(3 * PART_BYTES)  # what is left of it could be read
        revision = await jetstream.ports.snapshots.save("r1", data, revision=0)
        part = next(key for key in await keys(jetstream) if key.endswith(".2"))
        await jetstream.link.api(f"STREAM.PURGE.{BUCKET}", {"filter": f"$KV.workflow_runs.{part}"})
        stored = await loaded(jetstream)
        assert stored.revision == revision  # so that a good one can replace it
        for decode in (msgspec.json.decode, msgspec.msgpack.decode):
            with pytest.raises(msgspec.DecodeError):
                decode(stored.data)
        await jetstream.ports.snapshots.save("r1", SMALL, revision=revision)
        assert (await loaded(jetstream)).data == SMALL


async def test_a_reader_whose_snapshot_is_replaced_under_it_gets_the_new_one(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as writer, prepared(nats_server) as reader:
        revision, saved = 0, 0

        async def write() -> None:
            nonlocal revision, saved
            while True:
                # Its first byte says how often it is repeated: half of one and half of another would show.
                data = bytes([saved % 256]) * (PART_BYTES + 1 + saved % 7)
                revision = await writer.ports.snapshots.save("r1", data, revision=revision)
                saved += 1

        writing = asyncio.create_task(write())

        async def begun() -> bool:
            return saved > 0

        await until(begun)
        read: set[int] = set()

        async def seen_enough() -> bool:
            stored = await loaded(reader)
            assert len(set(stored.data)) == 1, "halves of two snapshots, or none at all"
            read.add(stored.data[0])
            return len(read) >= 20

        await until(seen_enough)
        writing.cancel()


async def test_all_snapshots_can_be_forgotten(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        snapshots = jetstream.ports.snapshots
        await snapshots.save("r1", large(), revision=0)
        revision = await snapshots.save("r2", SMALL, revision=0)
        await snapshots.purge()
        assert await keys(jetstream) == []
        assert await snapshots.load("r1") is None
        with pytest.raises(ConflictError):
            await snapshots.save("r2", SMALL, revision=revision)
        await snapshots.save("r2", SMALL, revision=0)
        assert (await loaded(jetstream, "r2")).data == SMALL


async def test_parts_that_a_writer_left_which_died_before_its_head_go_with_the_run(nats_server: EmbeddedServer) -> None:
    async with prepared(nats_server) as jetstream:
        snapshots = jetstream.ports.snapshots
        for run_id, head in (("r1", SMALL), ("r2", b"")):
            for number in range(2):
                await jetstream.link.publish(f"$KV.workflow_runs.run.{run_id}.0123abcd.{number}", b"part")
            if head:
                await snapshots.save(run_id, head, revision=0)
        await snapshots.save("r", SMALL, revision=0)
        for run_id in ("r1", "r2"):
            await snapshots.remove(run_id)
        assert await keys(jetstream) == ["run.r"]
