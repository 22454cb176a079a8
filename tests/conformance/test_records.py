"""Records under keys, requests, and who provides a trigger type."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError
from tests.conformance.test_inquiries import echo

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_a_record_has_one_winner_and_whoever_listens_hears_what_becomes_of_it(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        records, theirs = one.ports.triggers, other.ports.triggers
        heard: list[str] = []
        end = theirs.listen(heard.append)
        assert await theirs.all() == {}  # what was sent to it before is there
        first = await records.put("inbox", b"1", revision=0)
        with pytest.raises(ConflictError):
            await theirs.put("inbox", b"2", revision=0)
        second = await records.put("inbox", b"2", revision=first)
        for stale in (0, first):
            with pytest.raises(ConflictError):
                await theirs.remove("inbox", revision=stale)
        assert {key: stored.data for key, stored in (await theirs.all()).items()} == {"inbox": b"2"}
        assert await one.ports.trigger_types.all() == {}  # another home
        await records.remove("inbox", revision=second)
        assert (await theirs.get("inbox"), await theirs.all()) == (None, {})
        assert set(heard) == {"inbox"}
        assert len(heard) >= 3  # NATS tells of refused ones, too
        told = len(heard)
        end()
        stored = await theirs.put("inbox", b"3", revision=0)
        assert await records.get("inbox") is not None
        assert stored > second
        assert len(heard) == told


async def test_records_may_be_more_than_are_read_at_a_time(backend: Backend) -> None:
    async with backend.connected() as one:
        await asyncio.gather(*(one.ports.triggers.put(f"t-{n}", b"{}", revision=0) for n in range(1_200)))
        assert len(await one.ports.triggers.all()) == 1_200


async def test_a_request_is_answered_by_who_listens_and_by_nobody_else(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        end = one.ports.requests.answer("_TRIGGER.files.activate", echo)
        await one.ports.log.last()  # the server knows that it listens
        assert await other.ports.requests.ask("_TRIGGER.files.activate", b"1") == b'{"asked": 1}'
        assert await other.ports.requests.ask("_TRIGGER.mail.activate", b"1") is None
        end()
        await one.ports.log.last()
        assert await other.ports.requests.ask("_TRIGGER.files.activate", b"1") is None


async def test_each_trigger_type_has_one_who_provides_it(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        revision = await one.ports.tenures.of("files").write(b"a", revision=0)
        with pytest.raises(ConflictError):
            await other.ports.tenures.of("files").write(b"b", revision=0)
        await other.ports.tenures.of("mail").write(b"b", revision=0)
        stored = await other.ports.tenures.of("files").read()
        assert stored is not None
        assert (stored.revision, stored.data) == (revision, b"a")
