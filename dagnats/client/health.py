"""How the whole does: what is queued, what is dead, how far the engine is. For `status --detail` and `doctor`."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from dagnats.client.diagnose import engine_state
from dagnats.runtime.position import decode_position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.client.client import AsyncClient
    from dagnats.client.diagnosis import EngineState
    from dagnats.runtime.ports import Ports, QueueState

_SECOND = 1_000_000_000


class Letters(NamedTuple):
    """The dead letters at a glance.

    Attributes:
        total: How many there are.
        oldest_ns, newest_ns: When the first and the last of them came; 0 when there is none.
        by_task: How many of each task type; of what has none, by the beginning of the subject.
    """

    total: int
    oldest_ns: int
    newest_ns: int
    by_task: Mapping[str, int]


class Health(NamedTuple):
    """How the whole does.

    Attributes:
        queues: What is in each, by name.
        letters: The dead letters.
        engine: Whether somebody decides, and how many events are not decided yet.
        lag_s: How old the first of these is.
        timers: How many wake-ups are stored.
    """

    queues: tuple[QueueState, ...]
    letters: Letters
    engine: EngineState
    lag_s: float
    timers: int


async def health(client: AsyncClient) -> Health:
    """Look at everything. Takes as long as a lease lasts when no engine leads."""
    ports = client.connection.ports
    queues, letters, engine, lag_s, timers = await asyncio.gather(
        ports.tasks.overview(), _letters(client), engine_state(ports), _lag_s(ports), ports.timers.all()
    )
    return Health(tuple(queues), letters, engine, lag_s, len(timers))


async def _letters(client: AsyncClient) -> Letters:
    found = await client.dead_letters()
    times = [letter.time_ns for letter in found]
    tasks = Counter(letter.what for letter in found)
    return Letters(len(found), min(times, default=0), max(times, default=0), dict(sorted(tasks.items())))


async def _lag_s(ports: Ports) -> float:
    """How old the first event is that is not decided yet; 0 when all are."""
    stored = await ports.position.read()
    position = decode_position(stored.data) if stored is not None else None
    page = await ports.log.page(after=position.seq if position is not None else 0, count=1)
    return max(ports.clock.now_ns() - page[0].time_ns, 0) / _SECOND if page else 0.0
