"""The directory of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_workers_are_shown_until_they_leave_each_once(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        assert await one.ports.directory.all() == []
        await one.ports.directory.put("worker-1", b"old")
        await one.ports.directory.put("worker-1", b"new")
        await one.ports.directory.put("host-7.example.org", b"another")
        assert sorted(await other.ports.directory.all()) == [b"another", b"new"]
        for _ in range(2):
            await one.ports.directory.remove("worker-1")
        assert await other.ports.directory.all() == [b"another"]
