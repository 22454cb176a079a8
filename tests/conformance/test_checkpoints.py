"""Checkpoints: one value of each step, which its next attempt finds."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError, RefusedError
from dagnats.runtime.checkpoint import load_checkpoint, save_checkpoint
from tests.conformance.backend import OnNats

if TYPE_CHECKING:
    from tests.conformance.backend import Backend

NOTE = bytes(range(256))


async def test_a_checkpoint_is_read_as_it_was_saved_with_whose_it_is_and_its_note(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        assert await one.ports.checkpoints.load("r1", "s") is None
        revision = await one.ports.checkpoints.save("r1", "s", b"[1]", attempt=2, note=NOTE, revision=0)
        assert await other.ports.checkpoints.load("r1", "s") == (revision, b"[1]", 2, NOTE)
        assert await other.ports.checkpoints.load("r1", "s.map.0") is None


async def test_a_checkpoint_that_was_replaced_meanwhile_is_a_conflict(backend: Backend) -> None:
    async with backend.connected() as connection:
        checkpoints = connection.ports.checkpoints
        first = await checkpoints.save("r1", "s", b"1", attempt=1, revision=0)
        second = await checkpoints.save("r1", "s", b"2", attempt=1, revision=first)
        for wrong in (0, first, second + 1):
            with pytest.raises(ConflictError):
                await checkpoints.save("r1", "s", b"3", attempt=1, revision=wrong)
        assert await checkpoints.load("r1", "s") == (second, b"2", 1, b"")


async def test_the_checkpoints_of_a_run_are_forgotten_together(backend: Backend) -> None:
    async with backend.connected() as connection:
        checkpoints = connection.ports.checkpoints
        for run_id, step_id in (("r1", "a"), ("r1", "m.map.0"), ("r10", "a")):
            await checkpoints.save(run_id, step_id, b"1", attempt=1, revision=0)
        await checkpoints.remove("r1")
        await checkpoints.remove("r1")
        assert await checkpoints.load("r1", "a") is None
        assert await checkpoints.load("r1", "m.map.0") is None
        assert await checkpoints.load("r10", "a") is not None
        await checkpoints.save("r1", "a", b"2", attempt=1, revision=0)


@pytest.mark.parametrize("size", [0, 300_000], ids=["small", "large"])
async def test_an_attempt_that_is_over_does_not_replace_the_checkpoint_of_a_later_one(
    backend: Backend, size: int
) -> None:
    async with backend.connected() as connection:
        ports, later = connection.ports, b'"%s"' % secrets.token_hex(size // 2).encode()
        await save_checkpoint(ports, "r1", "s", b'"first"', attempt=1, note=b"n")
        await save_checkpoint(ports, "r1", "s", later, attempt=3)
        with pytest.raises(ConflictError, match=r"attempt 1 of step 's' cannot .* attempt 3 has stored one since"):
            await save_checkpoint(ports, "r1", "s", b'"zombie"', attempt=1)
        held = await load_checkpoint(ports, "r1", "s")
        assert held is not None
        assert (held.data == later, held.attempt, held.note) == (True, 3, b"n")


async def test_a_checkpoint_with_the_key_of_references_is_refused(backend: Backend) -> None:
    async with backend.connected() as connection:
        with pytest.raises(RefusedError, match="the checkpoint has the key"):
            await save_checkpoint(connection.ports, "r1", "s", b'{"$dagnats.blob":1}', attempt=1)


async def test_what_another_worker_stored_is_its_bytes_and_may_be_replaced(backend: Backend) -> None:
    if not isinstance(backend, OnNats):
        return
    async with backend.connected() as connection:
        link = connection.link
        await link.publish("$KV.checkpoints.r1.s", b"\x00go")
        assert await load_checkpoint(connection.ports, "r1", "s") == (1, b"\x00go", 0, b"")
        await save_checkpoint(connection.ports, "r1", "s", b'"ours"', attempt=1)
        await link.publish("$KV.checkpoints.r1.s", b"", {"KV-Operation": "DEL"})
        assert await load_checkpoint(connection.ports, "r1", "s") is None
        await save_checkpoint(connection.ports, "r1", "s", b'"again"', attempt=1)
        held = await load_checkpoint(connection.ports, "r1", "s")
        assert held is not None
        assert held.data == b'"again"'
