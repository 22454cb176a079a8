"""Measures an installation: runs of a workflow of our own, done by a worker in this process, and gone afterwards."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dagnats.client.clean import Chosen, clean
from dagnats.dsl.workflow import Workflow
from dagnats.errors import DagnatsError, ResultTimeout
from dagnats.handling.handler import Handler
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from dagnats.client.client import AsyncClient
    from dagnats.model.definition import WorkflowDef

STEPS = 3
PREFIX = "dagnats-bench-"
"""How our workflows and task types begin."""

_ALONE = 100  # runs one at a time: of more than that, nobody waits for the end
_PATIENCE = "30s"
_GIVEN_UP_NS = 3_600_000_000_000  # what is left of somebody who was killed; who still measures is quicker
_ALL = 10_000_000
_INPUT = b'"World"'


@dataclass(frozen=True, slots=True)
class Load:
    """What is measured.

    Attributes:
        runs: How many runs.
        in_flight: How many of them at a time.
        warm_up: How many before that, which do not count.
    """

    runs: int = 1_000
    in_flight: int = 100
    warm_up: int = 50


class Latency(NamedTuple):
    """From a start to its result, in milliseconds.

    Attributes:
        runs: Of how many runs.
        p50_ms, p95_ms, p99_ms: What half of them, and 95 and 99 of a hundred, do not exceed.
    """

    runs: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Measured(NamedTuple):
    """What was found.

    Attributes:
        alone: Of runs one at a time.
        loaded: Of runs side by side.
        runs_per_s: How many of these ended in a second.
    """

    alone: Latency
    loaded: Latency
    runs_per_s: float

    @property
    def steps_per_s(self) -> float:
        return self.runs_per_s * STEPS


@asynccontextmanager
async def arena(client: AsyncClient) -> AsyncGenerator[WorkflowDef]:
    """A workflow of three steps in a line, and a worker for it; afterwards nothing of them is there.

    What somebody has left who was killed while measuring is removed, too.
    """
    await _sweep(client)
    name = f"{PREFIX}{secrets.token_hex(4)}"

    async def pass_on(value: str) -> str:
        return value

    handler = Handler(name, pass_on)
    workflow, last = Workflow(name), None
    for at in range(STEPS):
        step = workflow.task(f"s{at}", handler)
        last = step if last is None else step.after(last)
    definition = (await client.register(workflow)).definition
    worker = Worker(client, [handler], concurrency=1_000)
    working = asyncio.create_task(worker.run(), name="bench: worker")
    try:
        yield definition
    finally:
        worker.stop()
        await asyncio.wait([working])
        await remove(client, name)
    working.result()


async def measure(
    client: AsyncClient,
    definition: WorkflowDef,
    load: Load,
    *,
    now: Callable[[], float],
    told: Callable[[int, int], None],
) -> Measured:
    """Put a load on the installation.

    Args:
        now: A clock that only goes on, in seconds; a loop's own may count milliseconds.
        told: Called with how many runs are done, and of how many.

    Raises:
        DagnatsError: No run ends: probably nobody decides.
    """
    total, done = load.warm_up + _alone(load) + load.runs, 0

    async def one() -> float:
        nonlocal done
        begun = now()
        await (await client.start_json(definition, _INPUT)).result()
        done += 1
        told(done, total)
        return now() - begun

    await _first(client, definition)
    await _side_by_side(one, load.warm_up, load.in_flight)
    alone = [await one() for _ in range(_alone(load))]
    begun = now()
    loaded = await _side_by_side(one, load.runs, load.in_flight)
    took_s = now() - begun
    return Measured(latency(alone), latency(loaded), load.runs / took_s)


def latency(taken_s: Sequence[float]) -> Latency:
    """The figures of some durations, of which there is at least one."""
    ordered = sorted(taken_s)
    p50, p95, p99 = (ordered[-(-len(ordered) * share // 100) - 1] * 1e3 for share in (50, 95, 99))
    return Latency(len(ordered), p50, p95, p99)


def _alone(load: Load) -> int:
    return min(_ALONE, load.runs)


async def _first(client: AsyncClient, definition: WorkflowDef) -> None:
    try:
        await (await client.start_json(definition, _INPUT)).result(timeout=_PATIENCE)
    except ResultTimeout:
        raise DagnatsError(
            f"no run has ended within {_PATIENCE}, so that there is nothing to measure",
            hint="`dagnats doctor` says what is wrong",
        ) from None


async def _side_by_side(one: Callable[[], Awaitable[float]], count: int, in_flight: int) -> list[float]:
    """So many, a few at a time; the first one that fails ends all of them."""
    left, taken = iter(range(count)), list[float]()

    async def some() -> None:
        for _ in left:
            taken.append(await one())

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, count)):
            group.create_task(some())
    return taken


# -- leaving nothing -------------------------------------------------------------------------------------------


async def remove(client: AsyncClient, name: str) -> None:
    """Remove a workflow of ours with its runs, and the queue of its task type, which has the same name."""
    runs = await client.runs(workflow=name, limit=_ALL)
    over = [run.run_id for run in runs if run.ended]
    live = [run.run_id for run in runs if not run.ended]
    await clean(client, Chosen(runs=over, live=live, workflows=[name]), by="bench")
    await client.connection.ports.tasks.forget(name)


async def _sweep(client: AsyncClient) -> None:
    ports = client.connection.ports
    for name in await ports.definitions.names():
        if name.startswith(PREFIX):
            stored = await ports.definitions.newest(name)
            if stored is not None and ports.clock.now_ns() - stored.time_ns > _GIVEN_UP_NS:
                await remove(client, name)
