"""Registered triggers: bucket `triggers` follows what the newest definitions say.

The definition is the one write that counts. What is kept beside it, so that whoever runs triggers need not read all
definitions, is made from it, by whoever registers and by whoever begins to provide a trigger type.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.errors import ConflictError, DagnatsError, DecodeError, DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.trigger_type import (
    BY_DEFINITION,
    Refusal,
    TriggerEntry,
    TriggerRequest,
    TriggerTypeEntry,
    decode,
    encode,
    external_triggers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.trigger")


def subject_of(kind: str, order: str) -> str:
    """Where the owner of a trigger type is asked to `activate` or `deactivate`."""
    return f"_TRIGGER.{kind}.{order}"


class _Kept(NamedTuple):
    entry: TriggerEntry
    revision: int


class _Order(NamedTuple):
    order: Literal["activate", "deactivate"]
    entry: TriggerEntry


async def entries_of(ports: Ports) -> list[TriggerEntry]:
    """All registered triggers; what cannot be read is left out."""
    return [kept.entry for kept in (await _kept(ports)).values()]


async def types_of(ports: Ports) -> dict[str, TriggerTypeEntry]:
    """All trigger types that are known, by name; what cannot be read is left out."""
    found: dict[str, TriggerTypeEntry] = {}
    for name, stored in (await ports.trigger_types.all()).items():
        try:
            found[name] = decode(stored.data, TriggerTypeEntry)
        except DecodeError as error:
            log.warning("trigger type %s cannot be read: %s", name, error)
    return found


async def _kept(ports: Ports) -> dict[str, _Kept]:
    found: dict[str, _Kept] = {}
    for id, stored in (await ports.triggers.all()).items():
        try:
            found[id] = _Kept(decode(stored.data, TriggerEntry), stored.revision)
        except DecodeError as error:
            log.warning("trigger %s cannot be read: %s", id, error)
    return found


async def settle_triggers(ports: Ports, name: str) -> None:
    """Let the triggers of a workflow be what its newest definition says, and tell those who run them.

    Raises:
        ConflictError: Another workflow has registered a trigger by the same id just now.
    """
    orders: list[_Order] = []
    while True:
        stored = await ports.definitions.newest(name)
        wanted = _wanted(stored.data) if stored is not None else {}
        try:
            if wanted is not None:
                await _write(ports, name, wanted, orders)
        except _Changed:
            continue
        newest = await ports.definitions.newest(name)
        if (newest and newest.revision) == (stored and stored.revision):
            break
    await _carry_out(ports, orders)


async def mend_triggers(ports: Ports) -> None:
    """Settle all of them: somebody may have stopped between a definition and its triggers."""
    kept = await entries_of(ports)
    names = await ports.definitions.names()
    stored = await asyncio.gather(*(ports.definitions.newest(name) for name in names))
    said = {name: _wanted(each.data) for name, each in zip(names, stored, strict=True) if each is not None}
    there: dict[str, dict[str, TriggerEntry]] = {}
    for entry in kept:
        if entry.source == BY_DEFINITION:
            there.setdefault(entry.workflow_id, {})[entry.id] = entry
    for name in sorted({*said, *there}):
        if said.get(name, {}) not in (None, there.get(name, {})):
            log.warning("the triggers of workflow %s are not those of its definition: they are mended", name)
            try:
                await settle_triggers(ports, name)
            except ConflictError as error:
                log.warning("%s", error)


class _Changed(Exception):
    """Somebody else has written a trigger meanwhile."""


def _wanted(data: bytes) -> dict[str, TriggerEntry] | None:
    """The triggers of a stored definition; None for one that a later version has written."""
    try:
        return external_triggers(load_definition(data))
    except DefinitionError:
        return None


async def _write(ports: Ports, name: str, wanted: Mapping[str, TriggerEntry], orders: list[_Order]) -> None:
    """Store the difference, and add what the owners of the types have to be told. Raises ConflictError, _Changed."""
    kept = await _kept(ports)
    _expect_own(name, wanted, kept)
    mine = {id: each for id, each in kept.items() if each.entry.workflow_id == name}
    try:
        for id, each in mine.items():
            if id not in wanted and each.entry.source == BY_DEFINITION:
                await ports.triggers.remove(id, revision=each.revision)
                orders.append(_Order("deactivate", each.entry))
        for id, entry in wanted.items():
            there = mine.get(id)
            if there is None or there.entry != entry:
                await ports.triggers.put(id, encode(entry), revision=there.revision if there is not None else 0)
                orders += [_Order("deactivate", there.entry)] if there is not None and there.entry.enabled else []
                orders += [_Order("activate", entry)] if entry.enabled else []
    except ConflictError:
        raise _Changed from None


def _expect_own(name: str, wanted: Iterable[str], kept: Mapping[str, _Kept]) -> None:
    for id in wanted:
        if id in kept and kept[id].entry.workflow_id != name:
            raise ConflictError(
                f"trigger {id!r} of workflow {name!r} is one of workflow {kept[id].entry.workflow_id!r}, too",
                hint="rename one of them, and register its workflow again",
            )


async def _carry_out(ports: Ports, orders: Sequence[_Order]) -> None:
    """Ask the owners, one thing after the other for each trigger."""
    by_id: dict[str, list[_Order]] = {}
    for order in orders:
        by_id.setdefault(order.entry.id, []).append(order)

    async def ask_all(said: Iterable[_Order]) -> None:
        for order, entry in said:
            await _ask(ports, order, entry)

    await asyncio.gather(*map(ask_all, by_id.values()))


async def _ask(ports: Ports, order: Literal["activate", "deactivate"], entry: TriggerEntry) -> None:
    """Tell an owner at once. One that does not hear it looks by itself, or catches up when it is there again."""
    if entry.external is None:
        return
    request = TriggerRequest(trigger_id=entry.id, workflow_id=entry.workflow_id, config=entry.external.config)
    try:
        answer = await ports.requests.ask(subject_of(entry.external.kind, order), encode(request))
        error = decode(answer, Refusal).error if answer else ""
    except DagnatsError as unheard:
        error = str(unheard)
    if error:
        log.warning("trigger %s cannot be %sd at once: %s", entry.id, order, error)
