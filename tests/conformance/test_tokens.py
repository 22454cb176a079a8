"""What is stored of access tokens, and of what was done by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_a_token_is_there_for_everybody_until_it_is_removed_and_then_for_nobody(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        tokens, theirs = one.ports.tokens, other.ports.tokens
        assert await tokens.get("a1") is None
        await tokens.add("a1", b"first")
        await tokens.add("b2", b"second")
        with pytest.raises(ConflictError):
            await theirs.add("a1", b"another")
        assert await theirs.get("a1") == b"first"
        assert sorted(await theirs.all()) == [b"first", b"second"]
        for _ in range(2):
            await theirs.remove("a1")
        assert await tokens.get("a1") is None
        assert await tokens.all() == [b"second"]


async def test_the_audit_is_read_from_its_end_a_page_at_a_time(backend: Backend) -> None:
    async with backend.connected() as connection:
        audit = connection.ports.audit
        assert await audit.tail() == []
        for at in range(5):
            await audit.append(b"%d" % at, id=f"record-{at}")
        await audit.append(b"again", id="record-4")
        newest = await audit.tail(count=2)
        assert [each.data for each in newest] == [b"3", b"4"]
        assert 0 < newest[0].time_ns <= newest[1].time_ns
        before = await audit.tail(before=newest[0].revision, count=10)
        assert [each.data for each in before] == [b"0", b"1", b"2"]
        assert await audit.tail(before=before[0].revision) == []


async def test_a_server_of_its_own_has_no_peers(backend: Backend) -> None:
    async with backend.connected() as connection:
        assert await connection.ports.server.peers() == []
