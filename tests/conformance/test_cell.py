"""Cells: one value, one winner, and everybody hears of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_a_cell_has_one_winner_and_tells_the_others(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        assert await other.ports.lease.read() is None
        before_ns = backend.now_ns()
        revision = await one.ports.lease.write(b"1", revision=0)
        for cell in (one.ports.lease, other.ports.lease):
            with pytest.raises(ConflictError):
                await cell.write(b"2", revision=0)
        await other.ports.log.last()  # what was sent to it before is there
        async with asyncio.timeout(2):
            await other.ports.lease.changed(60)  # it was, since it was read
        stored = await other.ports.lease.read()
        assert stored is not None
        assert (stored.revision, stored.data) == (revision, b"1")
        assert before_ns <= stored.time_ns <= backend.now_ns()
        assert await one.ports.position.read() is None  # another cell
        await other.ports.lease.changed(0)
        waiting = asyncio.create_task(other.ports.lease.changed(60))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        await one.ports.lease.write(b"2", revision=revision)
        async with asyncio.timeout(2):
            await waiting


async def test_a_cell_that_nobody_writes_is_looked_at_after_the_time_that_was_asked_for(backend: Backend) -> None:
    async with backend.connected() as connection:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await connection.ports.position.changed(0.2)
        assert 0.2 <= loop.time() - begun < 10


async def test_a_cell_may_have_changed_when_the_connection_was_lost(backend: Backend) -> None:
    async with backend.connected() as connection:
        await connection.ports.lease.read()
        waiting = asyncio.create_task(connection.ports.lease.changed(60))
        await backend.restart()
        async with asyncio.timeout(10):
            await waiting


async def test_a_cells_value_survives_a_restart_of_the_server(backend: Backend) -> None:
    async with backend.connected() as connection:
        revision = await connection.ports.position.write(b"1", revision=0)
        await backend.restart()
        # The connection may not know yet that it is lost: a read may be asked again, a write may not.
        stored = await persist(connection.ports.position.read)
        assert stored is not None
        assert (stored.data, stored.revision) == (b"1", revision)
        assert await connection.ports.position.write(b"2", revision=revision) > revision
