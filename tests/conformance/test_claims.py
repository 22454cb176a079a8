"""Claims: the first one to ask gets the name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conformance.backend import Backend


async def test_of_many_who_ask_for_a_name_at_once_one_gets_it_and_all_learn_who(backend: Backend) -> None:
    async with backend.connected() as one, backend.connected() as other:
        asked = [connection.ports.claims.claim("a" * 64, f"run-{at}") for at, connection in enumerate((one, other) * 5)]
        (owner,) = set(await asyncio.gather(*asked))
        assert owner.startswith("run-")
        assert await one.ports.claims.claim("a" * 64, "late") == owner
        assert await one.ports.claims.claim("b" * 64, "late") == "late"
