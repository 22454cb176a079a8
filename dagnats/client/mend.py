"""Puts right what differs from the log.

What is left over is removed. What is missing is for the engine to make: it is told to fold everything anew, as it does
when the log has lost its tail, and gives every live run what it lacks.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import msgspec

from dagnats.client.fold import Fold
from dagnats.errors import ConflictError
from dagnats.model.event import WorkflowStarted
from dagnats.model.instant import rfc3339
from dagnats.model.ops import REPAIR, RepairAsked, encode_repair
from dagnats.model.run import encode_run
from dagnats.runtime.blob import filled
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.position import decode_position, encode_position
from dagnats.runtime.record import decoded, from_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client.difference import Difference
    from dagnats.runtime.ports import Ports

_LOOK_S = 0.1
_PATIENCE_S = 60.0


async def mend(ports: Ports, differences: Sequence[Difference]) -> list[Difference]:
    """Put differences right; gives those that have to be left: to people, or because no engine runs."""
    left = [each for each in differences if not each.cure]
    for each in differences:
        if each.cure == "snapshot":
            await _write_snapshot(ports, each.run_id)
        elif each.cure == "remove":
            await remove(ports, each)
    missing = [each for each in differences if each.cure == "rebuild"]
    if missing and not await _rebuilt(ports):
        left += missing
    return left


async def remove(ports: Ports, left_over: Difference) -> None:
    """Take out something that nobody waits for."""
    run_id, place = left_over.run_id, left_over.place
    match left_over.kind:
        case "task":
            await ports.tasks.remove(place, left_over.time_ns)
        case "wake-up":
            await ports.timers.drop(run_id, place)
        case _:
            await ports.waiters.drop(run_id, left_over.step_id, place)


async def _write_snapshot(ports: Ports, run_id: str) -> None:
    while True:
        stored = await ports.snapshots.load(run_id)
        records = from_start(decoded(await ports.log.read(run_id)))
        start = records[0].event
        assert isinstance(start, WorkflowStarted), "only runs that can be folded have a snapshot to mend"
        name, identity = start.payload.workflow, start.payload.def_hash
        graph = graph_of(name, identity, await ports.definitions.version(name, identity))
        run = Fold(graph, [await filled(ports, graph, record) for record in records]).run
        try:
            await ports.snapshots.save(run_id, encode_run(run), revision=stored.revision if stored is not None else 0)
        except ConflictError:
            continue  # the engine has made a new one meanwhile
        return


async def _rebuilt(ports: Ports) -> bool:
    """Have the engine make everything anew; False when none does.

    Its position is moved under its hands: it takes that for another engine's, begins again, and reads there what to do.
    """
    while True:
        stored = await ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        if stored is None or position is None:
            return False  # no engine was ever here, or it has to begin anew as it is
        data = encode_position(msgspec.structs.replace(position, anew=True, by="repair"))
        try:
            await ports.position.write(data, revision=stored.revision)
        except ConflictError:
            continue  # the engine was first, and will be asked again
        # In a silent log nothing else would move its position.
        asked = encode_repair(RepairAsked(timestamp=rfc3339(ports.clock.now_ns())))
        await ports.log.append(REPAIR, asked, id=f"{REPAIR}.{secrets.token_hex(8)}")
        return await _is_done(ports)


async def _is_done(ports: Ports) -> bool:
    loop = asyncio.get_running_loop()
    until = loop.time() + _PATIENCE_S
    while loop.time() < until:
        stored = await ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        if position is not None and not position.anew:
            return True
        await ports.position.changed(_LOOK_S)
    return False
