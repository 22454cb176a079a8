"""Snapshots: of any size, replaced by compare-and-set."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError
from dagnats.runtime.jetstream.snapshot import PART_BYTES

if TYPE_CHECKING:
    from tests.conformance.backend import Backend

SMALL = b"small"


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 9_000_000])
async def test_a_snapshot_of_any_size_is_read_as_it_was_saved(backend: Backend, size: int) -> None:
    async with backend.connected() as connection:
        snapshots, data = connection.ports.snapshots, secrets.token_bytes(size)
        assert await snapshots.load("r1") is None
        before_ns = backend.now_ns()
        revision = await snapshots.save("r1", data, revision=0)
        stored = await snapshots.load("r1")
        assert stored is not None
        assert (stored.revision, stored.data == data) == (revision, True)
        assert before_ns <= stored.time_ns <= backend.now_ns()


@pytest.mark.parametrize("size", [5, 2 * PART_BYTES], ids=["small", "large"])
async def test_a_snapshot_that_was_replaced_meanwhile_is_a_conflict(backend: Backend, size: int) -> None:
    async with backend.connected() as connection:
        snapshots = connection.ports.snapshots
        first = await snapshots.save("r1", b"1", revision=0)
        second = await snapshots.save("r1", b"2", revision=first)
        assert second > first
        for wrong in (0, first, second + 1):
            with pytest.raises(ConflictError):
                await snapshots.save("r1", b"x" * size, revision=wrong)
        stored = await snapshots.load("r1")
        assert stored is not None
        assert (stored.revision, stored.data) == (second, b"2")


async def test_all_snapshots_can_be_forgotten(backend: Backend) -> None:
    async with backend.connected() as connection:
        snapshots = connection.ports.snapshots
        await snapshots.save("r1", secrets.token_bytes(2 * PART_BYTES), revision=0)
        revision = await snapshots.save("r2", SMALL, revision=0)
        await snapshots.purge()
        assert (await snapshots.load("r1"), await snapshots.load("r2")) == (None, None)
        with pytest.raises(ConflictError):
            await snapshots.save("r2", SMALL, revision=revision)
        assert await snapshots.save("r2", SMALL, revision=0) > revision
