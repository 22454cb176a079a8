"""Restoring a backup: everything is looked at before anything is changed, and a marker stands for as long as it lasts.

The marker is a stream that names the backup. While it is there nobody else takes the store for whole: whoever connects
is refused. A restore that was killed leaves it, and the same restore begins again.

The streams of a backup are of moments that follow each other. What is left over of runs that went on meanwhile is taken
out here; what is missing the engine makes good when it comes: it is told to fold the whole log again, as it does when
a power cut has taken the end of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.client.diagnose import engine_state
from dagnats.client.difference import of_gone, of_live
from dagnats.client.fold import Fold
from dagnats.client.mend import remove
from dagnats.client.stock import Stock
from dagnats.errors import ConflictError, DagnatsError, RefusedError
from dagnats.model.identifier import is_run_id
from dagnats.runtime.blob import filled
from dagnats.runtime.jetstream import resources
from dagnats.runtime.jetstream.image import PIECE_BYTES, put_back
from dagnats.runtime.jetstream.read import state_of
from dagnats.runtime.jetstream.relocation import forget_copy, put_back_from
from dagnats.runtime.jetstream.resources import RESTORING, unfinished_restore
from dagnats.runtime.position import decode_position, encode_position
from dagnats.runtime.record import decoded
from dagnats.runtime.standing import graph_behind

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.client.backup_file import BackupFile
    from dagnats.client.difference import Difference
    from dagnats.runtime.jetstream.adapter import JetStream
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Ports

_NOT_FOUND = 10059
_PAGE = 1_000
_AT_ONCE = 16
_OWN = (resources.ENGINE, f"KV_{resources.SECRETS}", f"KV_{resources.WORKERS}")
"""What is there as soon as an engine was, without anybody having done anything."""


async def expect_room(jetstream: JetStream, backup: BackupFile, *, force: bool) -> None:
    """Return when a backup may be put back here.

    Args:
        force: What is there may go.

    Raises:
        ConflictError: An engine leads, or there is something, or another restore was begun and not finished.
        RefusedError: The server cannot hold it.
        DagnatsError: This version does not know all that is in it.
    """
    known = {config["name"] for config in resources.stream_configs()}
    if unknown := sorted(set(backup.streams) - known):
        raise DagnatsError(
            f"{backup.file} holds what this version of DagNats does not know: {', '.join(unknown)}",
            hint=f"it was taken by version {backup.about.dagnats}: restore it with that one, or a later one",
        )
    begun = await unfinished_restore(jetstream.link)
    if begun and begun != backup.about.id and not force:
        raise ConflictError(
            f"the restore of another backup ({begun}) was begun here and not finished",
            hint="finish that one, or give --force: what it has restored goes then",
        )
    if not begun:
        await _expect_empty(jetstream, force=force)
    await _expect_capacity(jetstream, backup)


async def _expect_empty(jetstream: JetStream, *, force: bool) -> None:
    """Raise ConflictError when an engine leads, or something would be lost that nobody gave up."""
    there = {name: state for name, state in (await _states(jetstream.link)).items() if state["messages"]}
    if resources.ENGINE in there and (await engine_state(jetstream.ports)).leads:
        raise ConflictError(
            "an engine leads on this server: it would go on with what it has in memory",
            hint="stop `dagnats serve`, and every worker; for a server of its own, the same command then starts that",
        )
    held = [f"{state['messages']} in {name}" for name, state in there.items() if name not in _OWN]
    if held and not force:
        raise ConflictError(
            f"the store is not empty: messages {', '.join(held)}",
            hint="--force removes all of it first; `dagnats backup` keeps it",
        )


async def _expect_capacity(jetstream: JetStream, backup: BackupFile) -> None:
    """Raise RefusedError when the account has less room than the backup needs."""
    sizes = [held.bytes for held in backup.streams.values()]
    # In another namespace each stream is there twice for a while.
    needed = sum(sizes) + (max(sizes, default=0) if backup.about.namespace != jetstream.link.namespace else 0)
    holding = await jetstream.ports.server.holding()
    ours = sum(state["bytes"] for state in (await _states(jetstream.link)).values())
    if holding.limit and needed > holding.limit - holding.used + ours:
        raise RefusedError(f"the backup needs {needed} bytes, and the server may store {holding.limit}")


async def _states(link: Link) -> dict[str, dict[str, Any]]:
    """Those of our streams that there are, with what is in them."""
    found: dict[str, dict[str, Any]] = {}
    for config in resources.stream_configs():
        try:
            found[config["name"]] = await state_of(link, config["name"])
        except RefusedError as error:
            if error.code != _NOT_FOUND:
                raise
    return found


async def restore(jetstream: JetStream, backup: BackupFile, *, told: Callable[[int, int], None] | None = None) -> None:
    """Put a backup in the place of all there is, after `expect_room`.

    Args:
        told: Called now and then with how many bytes are restored, and of how many.

    Raises:
        RefusedError: The server will not have it: nothing was changed, or the same again goes on.
        UnavailableError: The connection was lost: the same again goes on.
    """
    await _mark(jetstream.link, backup)
    try:
        await _put_all_back(jetstream, backup, told)
    except DagnatsError as error:
        error.hint = error.hint or "nobody can use the store until the same command completes the restore"
        raise


async def _put_all_back(jetstream: JetStream, backup: BackupFile, told: Callable[[int, int], None] | None) -> None:
    link, origin, done = jetstream.link, backup.about.namespace, 0
    await forget_copy(link)
    for name in await _states(link):
        await _delete(link, name)
    # The engine's last: one that waits for it, somewhere, has nothing to lead by.
    for name in sorted(backup.streams, key=lambda name: name == resources.ENGINE):
        held = backup.streams[name]
        pieces = backup.pieces(name, PIECE_BYTES)
        if origin == link.namespace:
            await put_back(link, name, held.config, held.state, pieces)
        elif name != resources.TIMERS:  # in each is where it goes: the engine sets them anew
            await put_back_from(link, origin, name, held.config, held.state, pieces)
        done += backup.size(name)
        if told is not None:
            told(done, backup.bytes)
    await resources.complete(link)
    for run_id, last in backup.removed:
        await jetstream.ports.log.remove(run_id, upto=last)
    await _settle(jetstream.ports)
    await _delete(link, RESTORING)


async def _mark(link: Link, backup: BackupFile) -> None:
    """Say that a restore has begun: before anything is changed, and as many times as the streams will be kept."""
    replicas = max(held.config.get("num_replicas", 1) for held in backup.streams.values())
    marker = resources.restoring(backup.about.id, replicas=replicas)
    # One that is there is changed, and never taken away: without it half a store would be taken for a whole one.
    verb = "UPDATE" if await unfinished_restore(link) else "CREATE"
    await link.api(f"STREAM.{verb}.{RESTORING}", marker)


async def _delete(link: Link, name: str) -> None:
    try:
        await link.api(f"STREAM.DELETE.{name}")
    except RefusedError as error:
        if error.code != _NOT_FOUND:
            raise


# -- what lies between the moments ---------------------------------------------------------------------------


async def _settle(ports: Ports) -> None:
    """Take out what the history has no more use for, and have the engine make good what it lacks."""
    stored = await ports.position.read()
    position = decode_position(stored.data) if stored is not None else None
    if stored is None or position is None:  # no engine was ever there: everything begins with the log
        return
    stock = await Stock.read(ports)
    there = set(await ports.log.run_ids())
    moved = await _moved(ports, 0 if position.anew else position.seq)
    doubtful = sorted(each for each in stock.run_ids if is_run_id(each) and (each in moved or each not in there))
    for at in range(0, len(doubtful), _AT_ONCE):
        some = doubtful[at : at + _AT_ONCE]
        for differences in await asyncio.gather(*(_left_over(ports, stock, run_id) for run_id in some)):
            for each in differences:
                await remove(ports, each)
    anew = msgspec.structs.replace(position, anew=True, by="restore")
    await ports.position.write(encode_position(anew), revision=stored.revision)
    lease = await ports.lease.read()
    if lease is not None:  # whoever held it is not here
        await ports.lease.write(b"", revision=lease.revision)


async def _moved(ports: Ports, after: int) -> set[str]:
    """The runs that have events above `after`: of the others, all that was copied is of the same moment."""
    found: set[str] = set()
    while page := await ports.log.page(after=after, count=_PAGE):
        found.update(entry.run_id for entry in page)
        after = page[-1].seq
    return found


async def _left_over(ports: Ports, stock: Stock, run_id: str) -> list[Difference]:
    """What of a run lies about that nobody waits for."""
    goods, now_ns = stock.of(run_id), ports.clock.now_ns()
    entries = await ports.log.read(run_id)
    if not entries:
        return [each for each in of_gone(run_id, goods, now_ns) if each.cure == "remove"]
    records = decoded(entries)
    try:
        graph = await graph_behind(ports, records[0])
        fold = Fold(graph, [await filled(ports, graph, record) for record in records])
    except Exception:  # noqa: BLE001  # it is parked, or has lost its start: `verify` names it
        return []
    return [each for each in of_live(graph, fold, goods, now_ns) if each.cure == "remove"]
