"""Trigger types of workers in other languages: they store an entry, announce it, and are told whether it is good.

Ours look for themselves before they store anything. Here an entry that is refused has been stored already, so the one
before it is put back.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NoReturn

import msgspec

from dagnats.errors import ConflictError, DagnatsError
from dagnats.model.identifier import GROUP
from dagnats.model.payload_schema import schema_problems
from dagnats.model.trigger_type import (
    Refusal,
    TriggerTypeEntry,
    TypeAnnouncement,
    decode,
    encode,
    expect_version,
)
from dagnats.runtime.patience import persist
from dagnats.runtime.triggers.book import entries_of
from dagnats.runtime.triggers.news import EVERYTHING, News

if TYPE_CHECKING:
    from dagnats.runtime.ports import Ports, Stored

ANNOUNCED = "_REGISTRY.trigger_types.ack"


class Registry:
    """Answers those who announce a trigger type."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._good: dict[str, bytes] = {}
        """The last entry of each type that was good."""

    async def run(self) -> NoReturn:
        """Answer until cancelled."""
        news = News()
        with ExitStack() as stack:
            stack.callback(self._ports.trigger_types.listen(news.hear))
            stack.callback(self._ports.requests.answer(ANNOUNCED, self._answer))
            while True:
                keys = await news.wait(None)
                if EVERYTHING in keys:
                    keys |= (await persist(self._ports.trigger_types.all)).keys()
                for name in sorted(keys - {EVERYTHING}):
                    with suppress(DagnatsError):  # whoever has stored it is told when it asks
                        await self._look(name, "")

    async def _answer(self, data: bytes) -> bytes:
        try:
            said = decode(data, TypeAnnouncement)
            await self._look(said.name, said.owner_worker_id)
        except DagnatsError as error:
            return encode(Refusal(error=str(error)))
        return encode(Refusal())

    async def _look(self, name: str, owner: str) -> None:
        """Take note of an entry. Raises DagnatsError when it is not good; for its `owner`, it is put back then."""
        if re.fullmatch(GROUP, name) is None:
            raise DagnatsError(f"{name!r} cannot name a trigger type: letters, digits, '_' and '-', at most 64 of them")
        stored = await self._ports.trigger_types.get(name)
        if stored is None:
            raise DagnatsError(f"there is no entry {name!r} in bucket trigger_types")
        entry = msgspec.structs.replace(decode(stored.data, TriggerTypeEntry), name=name)
        if owner and entry.owner_worker_id != owner:
            raise ConflictError(f"worker {entry.owner_worker_id!r} provides trigger type {name!r}, not {owner!r}")
        try:
            await self._expect_good(entry)
        except DagnatsError:
            if owner:
                await self._put_back(name, stored)
            raise
        self._good[name] = stored.data

    async def _expect_good(self, entry: TriggerTypeEntry) -> None:
        problems = schema_problems(entry.config_schema)
        if problems:
            raise DagnatsError(f"config_schema of trigger type {entry.name!r}: {problems[0][1]}")
        if entry.name in self._good:
            known = decode(self._good[entry.name], TriggerTypeEntry)
            expect_version(known, entry.version, await entries_of(self._ports))

    async def _put_back(self, name: str, stored: Stored) -> None:
        before = self._good.get(name)
        if before is not None and before != stored.data:
            with suppress(ConflictError):  # somebody else has stored another one
                await self._ports.trigger_types.put(name, before, revision=stored.revision)
