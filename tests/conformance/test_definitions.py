"""Registered workflows: every version stays, the newest is named by compare-and-set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagnats.errors import ConflictError

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_a_definition_is_found_again_by_name_and_by_version(backend: Backend) -> None:
    async with backend.connected() as connection:
        definitions = connection.ports.definitions
        assert await definitions.newest("a") is None
        assert await definitions.version("a", "h1") is None
        await definitions.add_version("a", "h1", b"1")
        await definitions.add_version("a", "h1", b"other")
        assert await definitions.version("a", "h1") == b"1"
        await definitions.add_version("a", "h2", b"2")
        await definitions.add_version("aa", "h3", b"3")
        versions = await definitions.versions("a")
        assert {identity: stored.data for identity, stored in versions.items()} == {"h1": b"1", "h2": b"2"}
        assert versions["h2"].revision > versions["h1"].revision
        assert versions["h2"].time_ns >= versions["h1"].time_ns
        assert await definitions.versions("*") == {}


async def test_the_newest_of_a_name_is_replaced_by_who_knows_the_one_before(backend: Backend) -> None:
    async with backend.connected() as connection:
        definitions = connection.ports.definitions
        await definitions.add_version("a", "h1", b"1")
        assert await definitions.names() == []
        await definitions.set_newest("b", b"1", revision=0)
        await definitions.set_newest("a", b"1", revision=0)
        with pytest.raises(ConflictError):
            await definitions.set_newest("a", b"2", revision=0)
        stored = await definitions.newest("a")
        assert stored is not None
        await definitions.set_newest("a", b"2", revision=stored.revision)
        stored = await definitions.newest("a")
        assert stored is not None
        assert stored.data == b"2"
        assert await definitions.names() == ["a", "b"]


async def test_a_name_that_is_removed_is_listed_no_more_and_its_versions_stay(backend: Backend) -> None:
    async with backend.connected() as connection:
        definitions = connection.ports.definitions
        await definitions.add_version("a", "h1", b"1")
        await definitions.set_newest("a", b"1", revision=0)
        stored = await definitions.newest("a")
        assert stored is not None
        await definitions.set_newest("a", b"2", revision=stored.revision)
        with pytest.raises(ConflictError):
            await definitions.remove_newest("a", revision=stored.revision)
        stored = await definitions.newest("a")
        assert stored is not None
        await definitions.remove_newest("a", revision=stored.revision)
        assert await definitions.newest("a") is None
        assert await definitions.names() == []
        assert await definitions.version("a", "h1") == b"1"
        await definitions.set_newest("a", b"3", revision=0)
        assert await definitions.names() == ["a"]
