"""The facts about the whole that `client.ailment` looks at, from wherever they are."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from dagnats.client.ailment import Ailment, Signs, ailments
from dagnats.client.diagnose import engine_state
from dagnats.client.logs import failing_exports
from dagnats.runtime.limit import gate_view, workflow_limit

if TYPE_CHECKING:
    from dagnats.client.client import AsyncClient
    from dagnats.model.ops import WorkflowLimited
    from dagnats.runtime.ports import Defect, Ports, Sync

_SECOND = 1_000_000_000
_LOST = {"WORKFLOW_HISTORY", "TASK_QUEUES", "ENGINE", "SLEEP_TIMERS", "DEAD_LETTERS"}
"""Without one of these, nothing but what is missing can be said."""


class Checked(NamedTuple):
    """What a check-up came to.

    Attributes:
        found: What is wrong with the whole, most important first.
        fixed: What of it was put right.
    """

    found: list[Ailment]
    fixed: list[Ailment]


async def checkup(client: AsyncClient, *, asked_sync: Sync = "interval") -> list[Ailment]:
    """What is wrong with the whole. Takes as long as a lease lasts when no engine leads.

    Args:
        asked_sync: When the server's writes should be on disk.

    Raises:
        UnavailableError: The server does not answer.
    """
    return ailments(await signs_of(client, asked_sync))


async def signs_of(client: AsyncClient, asked_sync: Sync) -> Signs:
    """All that there is to know."""
    ports = client.connection.ports
    defects = tuple(await ports.server.defects())
    if any(_loses_all(defect) for defect in defects):
        return Signs(defects=defects)
    engine, gates, queues, workers, letters = await asyncio.gather(
        engine_state(ports), gate_view(ports), client.queues(), client.workers(), client.dead_letters()
    )
    overdue, holding, sync, paused, exports = await asyncio.gather(
        _overdue(ports), ports.server.holding(), ports.server.sync(), _paused(ports), failing_exports(ports)
    )
    return Signs(
        defects=defects,
        engine=engine,
        gates=gates,
        queues=tuple(queues),
        workers=tuple(workers),
        now_ns=ports.clock.now_ns(),
        renewed=ports.directory.renew_s > 0,
        paused=paused,
        letters=Counter(letter.what for letter in letters),
        overdue=overdue,
        holding=holding,
        sync=sync,
        asked_sync=asked_sync,
        exports=exports,
    )


def _loses_all(defect: Defect) -> bool:
    return defect.kind == "off" or (defect.kind == "missing" and (defect.name in _LOST or "KV_" in defect.name))


async def mended(client: AsyncClient, found: Ailment, *, by: str = "") -> bool:
    """Do what cures an ailment, where a command alone does; False where it takes a person."""
    match found.fix:
        case "prepare":
            await client.connection.ports.server.prepare()
        case "resume_queue":
            await client.resume_queue(found.subject, by=by)
        case "resume_workflow":
            await client.resume_workflow(found.subject, by=by)
        case "":
            return False
    return True


async def _overdue(ports: Ports) -> tuple[int, float]:
    """How many wake-ups should have come, and how late the oldest of them is, in seconds."""
    now_ns = ports.clock.now_ns()
    late = [now_ns - timer.due_ns for timer in await ports.timers.all() if timer.due_ns < now_ns]
    return len(late), max(late, default=0) / _SECOND


async def _paused(ports: Ports) -> tuple[WorkflowLimited, ...]:
    said = await asyncio.gather(*(workflow_limit(ports.log, name) for name in await ports.definitions.names()))
    return tuple(each for each in said if each.paused)
