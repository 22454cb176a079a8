"""Cleaning: what is over leaves the server, each run with everything of its own.

Runs are taken out as retention does it: announced in the log, the history last. So a cleaning that was killed leaves
nothing half done that the next one, or the engine's, would not finish.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from dagnats.client.moment import instant_of
from dagnats.errors import ConflictError, DagnatsError, NotFoundError, UnavailableError
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.instant import rfc3339
from dagnats.runtime.patience import limit
from dagnats.runtime.ports import Held
from dagnats.runtime.retention import KEEP, Retention
from dagnats.runtime.room import BRIMFUL
from dagnats.runtime.triggers.book import settle_triggers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence
    from datetime import timedelta

    from dagnats.client.client import AsyncClient
    from dagnats.client.letter import DeadLetter
    from dagnats.client.moment import Moment
    from dagnats.model.run import RunStatus
    from dagnats.runtime.ports import Ports

T = TypeVar("T")

Category = Literal["runs", "dlq", "otel", "defs"]
CATEGORIES: tuple[Category, ...] = ("runs", "dlq", "otel", "defs")
DEFAULT: tuple[Category, ...] = ("runs", "dlq")
NOTHING = Held(0, 0)

_ENDED: tuple[RunStatus, ...] = ("completed", "failed", "cancelled", "compensated", "compensate_failed")
_LIVE: tuple[RunStatus, ...] = ("scheduled", "pending", "running")
_ALL = 10_000_000
_AT_ONCE = 16
_BATCH = 100
_PATIENCE_S = 10.0  # for the engine to store the end of what has just ended
_LOOK_S = 0.1
_SILENCE_S = 30.0  # for NATS to be there again: a restart of it takes less

_RUN_STREAMS = ("WORKFLOW_HISTORY", "TASK_QUEUES", "BLOBS", "STEP_STREAMS")
_RUN_BUCKETS = ("workflow_runs", "event_waiters", "signals", "checkpoints", "pulses")


class Place(NamedTuple):
    """What would leave a stream or a bucket.

    Attributes:
        name: The stream's or the bucket's.
        kind: Which of the two it is.
        messages: How many messages or keys.
        bytes: How large they are together; 0 for a bucket, which nobody asks.
    """

    name: str
    kind: Literal["stream", "kv"]
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to leave.

    Attributes:
        runs: Runs that are over.
        live: Runs that go on and are to leave all the same: they are cancelled first.
        letters: Dead letters.
        workflows: Names of workflows that no run is of.
        telemetry: How much of it.
        before_ns: Telemetry that came before then; 0 for all.
        categories: Of what all this is.
    """

    runs: Sequence[str] = ()
    live: Sequence[str] = ()
    letters: Sequence[DeadLetter] = ()
    workflows: Sequence[str] = ()
    telemetry: Held = NOTHING
    before_ns: int = 0
    categories: Collection[Category] = DEFAULT


@dataclass(slots=True)
class Cleaned:
    """What has left, or would.

    Attributes:
        runs, letters, workflows, telemetry: How many.
        left: Runs that were to leave and are still there: they have not ended, or no engine has stored that.
        live: How many of the runs went on, before they were cancelled.
        before: What came before this instant was meant, as RFC 3339: the same again, with it, means nothing else.
        places: Where all that lies, where somebody has asked how much it is.
    """

    runs: int = 0
    letters: int = 0
    workflows: int = 0
    telemetry: int = 0
    left: list[str] = field(default_factory=list[str])
    live: int = 0
    before: str = ""
    places: list[Place] = field(default_factory=list[Place])

    @property
    def streams(self) -> int:
        """From how many streams something has left."""
        return (len(_RUN_STREAMS) if self.runs else 0) + (1 if self.letters else 0) + (1 if self.telemetry else 0)

    @property
    def buckets(self) -> int:
        """From how many buckets something has left."""
        return (len(_RUN_BUCKETS) if self.runs else 0) + (1 if self.workflows else 0)


async def tidy(
    client: AsyncClient,
    categories: Collection[Category] = DEFAULT,
    *,
    older_than: timedelta | str = "",
    before: Moment | None = None,
    include_running: bool = False,
    dry_run: bool = False,
    measured: bool = False,
    by: str = "",
    told: Callable[[int, int], None] | None = None,
) -> Cleaned:
    """Choose, and remove what was chosen unless it is a dry run. See `AsyncClient.clean`."""
    now_ns = client.connection.ports.clock.now_ns()
    before_ns = _before_ns(older_than, before, now_ns)
    chosen = await choose(client, categories, before_ns=before_ns, include_running=include_running)
    found = await places(client, chosen) if measured else []
    done = _all_of(chosen) if dry_run else await clean(client, chosen, by=by, told=told)
    done.live, done.places = len(chosen.live), found
    done.before = rfc3339(before_ns or now_ns + 1)  # what comes from now on was not looked at
    return done


def _before_ns(older_than: timedelta | str, before: Moment | None, now_ns: int) -> int:
    """Before when what is meant came; 0 for whenever. Raises DagnatsError."""
    if older_than and before is not None:
        raise DagnatsError(f"older_than {older_than!r} and before {before!r} say two things", hint="leave one out")
    try:
        older_ns = duration_nanos(parse_duration(older_than)) if older_than else 0
    except ValueError as error:
        raise DagnatsError(str(error)) from None
    since_ns = instant_of(before, now_ns=now_ns) if before is not None else now_ns - older_ns if older_ns else None
    return max(since_ns, 1) if since_ns is not None else 0


def _all_of(chosen: Chosen) -> Cleaned:
    return Cleaned(
        runs=len(chosen.runs) + len(chosen.live),
        letters=len(chosen.letters),
        workflows=len(chosen.workflows),
        telemetry=chosen.telemetry.messages,
    )


async def choose(
    client: AsyncClient, categories: Collection[Category], *, before_ns: int = 0, include_running: bool = False
) -> Chosen:
    """What would be cleaned.

    Args:
        categories: Of what.
        before_ns: Only runs that ended before then, letters that came before, definitions registered before; 0 for all.
        include_running: Also runs that go on, if they were started before.
    """
    chosen = Chosen()
    if "runs" in categories:
        chosen = Chosen(
            runs=await _runs(client, _ENDED, before_ns),
            live=await _runs(client, _LIVE, before_ns) if include_running else (),
        )
    letters = await client.dead_letters() if "dlq" in categories else []
    due = [letter for letter in letters if not before_ns or letter.time_ns < before_ns]
    workflows = await _unused(client, {*chosen.runs, *chosen.live}, before_ns) if "defs" in categories else []
    telemetry = client.connection.ports.telemetry
    told = await telemetry.held(before_ns=before_ns) if "otel" in categories else NOTHING
    return Chosen(chosen.runs, chosen.live, due, workflows, told, before_ns, categories)


async def _runs(client: AsyncClient, statuses: Sequence[RunStatus], before_ns: int) -> list[str]:
    found: list[str] = []
    for status in statuses:
        for run in await client.runs(status=status, limit=_ALL):
            if not before_ns or (run.ended_ns or run.created_ns) < before_ns:
                found.append(run.run_id)
    return found


async def _unused(client: AsyncClient, leaving: Collection[str], before_ns: int) -> list[str]:
    """Workflows of which no run stays: a run cannot be shown without its definition."""
    definitions = client.connection.ports.definitions
    found: list[str] = []
    for name in await definitions.names():
        stored = await definitions.newest(name)
        runs = await client.runs(workflow=name, limit=_ALL)
        if stored is None or (before_ns and stored.time_ns >= before_ns):
            continue
        if all(run.run_id in leaving for run in runs):
            found.append(name)
    return found


async def places(client: AsyncClient, chosen: Chosen) -> list[Place]:
    """Where what is chosen lies, and how much it is."""
    run_ids = [*chosen.runs, *chosen.live]
    log, messages, size = client.connection.ports.log, 0, 0
    for at in range(0, len(run_ids), _AT_ONCE):
        for entries in await asyncio.gather(*map(log.read, run_ids[at : at + _AT_ONCE])):
            messages += len(entries)
            size += sum(len(entry.data) for entry in entries)
    tasks = 0
    if chosen.live:
        tasks = sum(queue.waiting + queue.in_flight for queue in await client.connection.ports.tasks.overview())
    bodies = sum(len(letter.body) for letter in chosen.letters)
    found: list[tuple[Category, Place]] = [
        ("runs", Place("WORKFLOW_HISTORY", "stream", messages, size)),
        ("runs", Place("TASK_QUEUES", "stream", tasks, 0)),
        ("otel", Place("TELEMETRY", "stream", chosen.telemetry.messages, chosen.telemetry.bytes)),
        ("dlq", Place("DEAD_LETTERS", "stream", len(chosen.letters), bodies)),
        ("runs", Place("workflow_runs", "kv", len(run_ids), 0)),
        ("defs", Place("workflow_defs", "kv", len(chosen.workflows), 0)),
    ]
    return [place for category, place in found if category in chosen.categories]


async def clean(
    client: AsyncClient, chosen: Chosen, *, by: str = "", told: Callable[[int, int], None] | None = None
) -> Cleaned:
    """Remove what is chosen. The same again removes what is left of it.

    Args:
        by: Who does it; of runs that go on the history would say so.
        told: Called now and then with how many runs are done, and of how many.

    Raises:
        UnavailableError: NATS has not answered for half a minute.
    """
    try:
        with limit(_SILENCE_S):
            return await _clean(client, chosen, by, told)
    except UnavailableError as error:
        error.hint = "once NATS is there again, the same cleaning removes what is left"
        raise


async def _clean(client: AsyncClient, chosen: Chosen, by: str, told: Callable[[int, int], None] | None) -> Cleaned:
    done = Cleaned(telemetry=await _spare(client.connection.ports))
    await _each(chosen.live, lambda run_id: _cancel(client, run_id, by))
    await _remove_runs(client, [*chosen.runs, *chosen.live], done, told)
    letters = client.connection.ports.dead_letters
    await _each([letter.seq for letter in chosen.letters], letters.remove)
    done.letters = len(chosen.letters)
    if chosen.telemetry.messages:
        await client.connection.ports.telemetry.remove(before_ns=chosen.before_ns)
        done.telemetry = max(done.telemetry, chosen.telemetry.messages)
    for name in chosen.workflows:
        done.workflows += await _forget(client, name)
    return done


async def _spare(ports: Ports) -> int:
    """Remove all telemetry where the store is full to the brim, and give how much of it there was.

    No engine leads then, because it cannot write its lease; so none stores that a run is over, and none may leave.
    Telemetry is all that nobody needs.
    """
    holding = await ports.server.holding()
    if holding.share < BRIMFUL or holding.cap == "log":  # telemetry is no part of the log
        return 0
    told = await ports.telemetry.held()
    await ports.telemetry.remove()
    return told.messages


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    for at in range(0, len(items), _AT_ONCE):
        await asyncio.gather(*map(work, items[at : at + _AT_ONCE]))


async def _cancel(client: AsyncClient, run_id: str, by: str) -> None:
    with suppress(ConflictError, NotFoundError):  # it has ended, or is being undone, which is not cut off
        await client.handle(run_id).cancel("it is cleaned", by=by)


async def _remove_runs(
    client: AsyncClient, run_ids: Sequence[str], done: Cleaned, told: Callable[[int, int], None] | None
) -> None:
    """Remove runs, as soon as an engine has stored that they are over."""
    ports, loop = client.connection.ports, asyncio.get_running_loop()
    retention = Retention(ports, KEEP, check=lambda: None, now_ns=ports.clock.now_ns)
    done.left, deadline = list(run_ids), loop.time() + _PATIENCE_S
    while done.left:
        gone: set[str] = set()
        for at in range(0, len(done.left), _BATCH):
            gone.update(await retention.remove(done.left[at : at + _BATCH]))
            if told is not None:
                told(done.runs + len(gone), len(run_ids))
        done.runs += len(gone)
        done.left = [run_id for run_id in done.left if run_id not in gone]
        if gone:
            deadline = loop.time() + _PATIENCE_S
        elif loop.time() > deadline:
            return
        if done.left:
            await asyncio.sleep(_LOOK_S)


async def _forget(client: AsyncClient, name: str) -> int:
    """Forget a workflow and all its versions, unless somebody has just started a run of it; gives how many.

    The name goes last: while it is there, the next cleaning finds the versions that are left.
    """
    definitions = client.connection.ports.definitions
    stored = await definitions.newest(name)
    versions = await definitions.versions(name)
    if stored is None or await client.runs(workflow=name, limit=1):
        return 0
    with suppress(ConflictError):  # somebody has just registered it, or keeps a version for a run
        for identity, version in versions.items():
            await definitions.remove_version(name, identity, revision=version.revision)
        if not await client.runs(workflow=name, limit=1):
            await definitions.remove(name, revision=stored.revision)
            await settle_triggers(client.connection.ports, name)
            return 1
    for identity, version in versions.items():
        await definitions.add_version(name, identity, version.data)
    return 0
