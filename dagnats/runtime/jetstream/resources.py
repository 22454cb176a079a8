"""The streams and buckets DagNats uses, as data, and their idempotent set-up.

Names are the wire's: operators follow the guides with the `nats` tool, and Go workers share the server.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dagnats.errors import ConflictError, RefusedError
from dagnats.runtime.ports import MOST_CHUNKS, Defect, JetStreamOff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagnats.runtime.jetstream.link import Link

HISTORY = "WORKFLOW_HISTORY"
TASKS = "TASK_QUEUES"
OWN_TASKS = "STICKY_TASKS"
TIMERS = "SLEEP_TIMERS"
WAKEUPS = "sleep-timer"  # the consumer of what comes due
EVENTS = "EVENTS"
DEAD_LETTERS = "DEAD_LETTERS"
TELEMETRY = "TELEMETRY"
BLOBS = "BLOBS"
IMPORTS = "IMPORTED_RUNS"
CHUNKS = "STEP_STREAMS"
ENGINE = "ENGINE"
AUDIT = "AUDIT"
RUNS = "workflow_runs"
DEFINITIONS = "workflow_defs"
CLAIMS = "idempotency_keys"
WAITERS = "event_waiters"
SIGNALS = "signals"
CHECKPOINTS = "checkpoints"
PULSES = "pulses"
SECRETS = "secrets"
TOKENS = "access_tokens"
WORKERS = "workers"
TRIGGER_TYPES = "trigger_types"
TRIGGERS = "triggers"
RESTORING = "DAGNATS_RESTORE"

STORED = "stored."
"""Before the subject of a chunk that is stored, as the server tells those who listen."""

_SECOND = 1_000_000_000
_WINDOW_S = 30.0  # ids are kept in the server's memory, about 150 bytes each
_DAY = 24 * 3600 * _SECOND

_STREAM: dict[str, Any] = {
    "storage": "file",
    "num_replicas": 1,
    "retention": "limits",
    "discard": "old",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "duplicate_window": int(_WINDOW_S * _SECOND),
    # Since 2.15 a stream without a number of its own takes 1,000 consumers at most.
    "max_consumers": 100_000,
    "allow_direct": True,
}

STREAMS: dict[str, dict[str, Any]] = {
    HISTORY: {
        "subjects": ["history.>"],
        "description": "Every event of every run, in one order. The truth.",
        # Full means refusing new events, never cutting the history of a live run.
        "discard": "new",
        "allow_atomic": True,
    },
    TASKS: {
        "subjects": ["task.>"],
        "description": "Attempts waiting for workers.",
        "retention": "workqueue",
        "discard": "new",
        "allow_atomic": True,
    },
    OWN_TASKS: {
        "subjects": ["sticky.>"],
        "description": "Attempts for one worker alone: sticky.<type>.<worker>.<run>.<step>.<attempt>.",
        "retention": "workqueue",
        "discard": "new",
    },
    TIMERS: {
        "subjects": ["sleep.>", "due.>"],
        "description": "Wake-ups: schedules on sleep.<run>.<seq>, due ones on due.<run>.<seq>.",
        "retention": "workqueue",
        "allow_msg_schedules": True,
    },
    EVENTS: {
        "subjects": ["event.>"],
        "description": "Events from outside, by type, for the runs that wait for them.",
        "max_age": 14 * _DAY,
        "duplicate_window": 120 * _SECOND,
    },
    ENGINE: {
        "subjects": ["engine.>"],
        "description": "Who leads, how far the log is decided, how the server stores.",
        "max_msgs_per_subject": 1,
    },
    BLOBS: {
        "subjects": ["blob.>"],
        "description": "Large payloads in pieces: blob.<run>.<sha256>.<number>.",
        "max_msgs_per_subject": 1,
        "discard": "new",
    },
    IMPORTS: {
        "subjects": ["imported.>"],
        "description": "Runs of other installations, to look at: imported.<run>.<sha256>.<number>.",
        "max_msgs_per_subject": 1,
        "discard": "new",
    },
    CHUNKS: {
        "subjects": ["stream.>"],
        "description": "What steps stream while they run: stream.<run>.<step>. The oldest go first.",
        "max_msgs_per_subject": MOST_CHUNKS,
        "max_age": 30 * _DAY,
        # Who follows a step hears of a chunk once it can be read.
        "republish": {"src": "stream.>", "dest": f"{STORED}stream.>"},
    },
    AUDIT: {
        "subjects": ["audit.>"],
        "description": "Who did what over HTTP. The oldest go first.",
        "max_age": 90 * _DAY,
        # Not in bytes: those would be set aside from the store at once, whether it has them or not.
        "max_msgs": 1_000_000,
    },
    DEAD_LETTERS: {
        "subjects": ["dead.>"],
        "description": "Messages nothing more can be done with.",
        "max_age": 30 * _DAY,
        "duplicate_window": _DAY,
    },
    TELEMETRY: {
        "subjects": ["telemetry.>"],
        "description": "Logs, spans and metrics. The oldest go first.",
        "max_age": 7 * _DAY,
        # A bound in bytes would be reserved: a server with a small store could not have the stream at all.
        "max_msgs": 500_000,
        "duplicate_window": 5 * _SECOND,
    },
}

BUCKETS = {
    RUNS: "Runs as they were at their last event: a cache of the history.",
    DEFINITIONS: "Registered workflows: the newest by name, every version by name and content hash.",
    CLAIMS: "Idempotency keys of starts, by their hash: the run that each one started.",
    WAITERS: "What waits for an event, by run, step and attempt.",
    SIGNALS: "The newest signal of each name that a run was sent.",
    CHECKPOINTS: "What each step has stored for its next attempt, by run and step.",
    PULSES: "What each running step has said of itself last, by run and step.",
    SECRETS: "Keys that all parts of the server share.",
    TOKENS: "What each access token allows, by its id, and its hash.",
    WORKERS: "Which workers there are: each renews its entry while it lives.",
    TRIGGER_TYPES: "Trigger types that workers provide, by name: who does, and what their configuration looks like.",
    TRIGGERS: "Registered triggers by their ids, for those who fire them.",
}


BOARDS = {
    "concurrency_tasks": "Tasks in flight and in line at their limits, by type.",
    "concurrency_runs": "Runs that go on and that wait at their limits, by workflow and key.",
    "rate_limits": "When each rate's bucket is full again, by task type and key.",
    "singleton_locks": "Which run has a singleton, by workflow and key.",
    "scheduled_runs": "Runs that are to begin later, by run; a thousand of them.",
}
"""Buckets for people, made when they have something to show. Names are the wire's, as of all others."""

_AGES = {CLAIMS: _DAY, PULSES: 30 * _DAY, WORKERS: 60 * _SECOND}
"""How long a bucket keeps a value, where that is not for ever."""


def stream_names() -> set[str]:
    """The streams that there may be, buckets included."""
    return {*STREAMS, *(f"KV_{bucket}" for bucket in (*BUCKETS, *BOARDS)), RESTORING}


def stream_configs() -> Iterator[dict[str, Any]]:
    """Every stream's configuration, buckets included: a bucket is a stream with a naming rule."""
    for name, config in STREAMS.items():
        yield {"name": name, **_STREAM, **config}
    for bucket, description in BUCKETS.items():
        yield bucket_config(bucket, description)


def bucket_config(bucket: str, description: str) -> dict[str, Any]:
    """The configuration of a bucket's stream."""
    return {
        "name": f"KV_{bucket}",
        **_STREAM,
        "subjects": [f"$KV.{bucket}.>"],
        "description": description,
        "max_msgs_per_subject": 1,
        "max_age": _AGES.get(bucket, 0),
        "discard": "new",
        "allow_atomic": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }


async def prepare(link: Link, *, window_s: float = _WINDOW_S) -> None:
    """Create what is missing. Whoever starts first does it; doing it again changes nothing.

    Args:
        window_s: How long a new log and new queues remember the ids of their messages.

    Raises:
        ConflictError: A stream exists with another configuration; the message says what differs. Or not all streams
            are there yet: somebody restores them.
    """
    if await unfinished_restore(link):
        raise ConflictError(
            "a backup is being restored here, or the restore was broken off",
            hint="wait for it, or give `dagnats restore` with the same file again: it completes that",
        )
    await complete(link, window_s=window_s)


async def complete(link: Link, *, window_s: float = _WINDOW_S) -> None:
    """Create what is missing. Raises like `prepare`, for streams of another configuration."""
    for config in stream_configs():
        if config["name"] in (HISTORY, TASKS, OWN_TASKS):
            config["duplicate_window"] = int(window_s * _SECOND)
        try:
            await link.api(f"STREAM.CREATE.{config['name']}", config)
        except RefusedError as error:
            if error.code != NAME_IN_USE:
                raise
            await _adopt(link, config)


def restoring(backup: str, *, replicas: int) -> dict[str, Any]:
    """The stream that is there as long as a backup is being restored."""
    return {
        "name": RESTORING,
        "subjects": ["dagnats.restore"],
        "description": "A backup is being restored: nobody may use the other streams.",
        "storage": "file",
        "num_replicas": replicas,
        "metadata": {"backup": backup},
    }


async def unfinished_restore(link: Link) -> str:
    """The backup whose restore was begun and is not finished; "" for none."""
    try:
        info = await link.api(f"STREAM.INFO.{RESTORING}")
    except RefusedError as error:
        if error.code != NOT_FOUND:
            raise
        return ""
    return str(info["config"].get("metadata", {}).get("backup", "")) or "unknown"


async def _adopt(link: Link, wanted: Mapping[str, Any]) -> None:
    """Use a stream that exists, with what one of an earlier version lacks, and without what nobody needs any more."""
    found: dict[str, Any] = (await link.api(f"STREAM.INFO.{wanted['name']}"))["config"]
    config = _updated(wanted, found)
    _refuse_difference(link.full_name(wanted["name"]), _differences(wanted, config))
    if config != found:
        await link.api(f"STREAM.UPDATE.{wanted['name']}", config)


def _updated(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a stream that an earlier version has made, as this one has it."""
    missing = {switch: wanted[switch] for switch in _SWITCHES if wanted.get(switch) and not found.get(switch)}
    config = {**found, **missing}
    if config.get("republish") == _REPEATED:
        del config["republish"]
    return config


async def defects(link: Link) -> list[Defect]:
    """What `prepare` would create, and what it would refuse; and what an engine would. Changes nothing."""
    try:
        await link.api("INFO")
    except JetStreamOff as off:
        return [Defect("JetStream", "off", off.hint)]
    found = await asyncio.gather(*(_defect(link, config) for config in stream_configs()), _without_consumer(link))
    return [defect for defect in found if defect is not None]


async def _without_consumer(link: Link) -> Defect | None:
    """The one consumer that the engine does not make anew when it is gone."""
    try:
        await link.api(f"CONSUMER.INFO.{TIMERS}.{WAKEUPS}")
    except RefusedError as error:
        if error.code not in (NOT_FOUND, _NO_CONSUMER):
            raise
        return Defect(WAKEUPS, "no-consumer", link.full_name(TIMERS)) if error.code == _NO_CONSUMER else None
    return None


async def _defect(link: Link, wanted: Mapping[str, Any]) -> Defect | None:
    name: str = wanted["name"]
    try:
        found: dict[str, Any] = (await link.api(f"STREAM.INFO.{name}"))["config"]
    except RefusedError as error:
        if error.code != NOT_FOUND:
            raise
        return Defect(link.full_name(name), "missing")
    differing = _differences(wanted, _updated(wanted, found))
    return Defect(link.full_name(name), "differs", "; ".join(differing)) if differing else None


NAME_IN_USE = 10058
NOT_FOUND = 10059
_NO_CONSUMER = 10014
_SWITCHES = ("allow_atomic", "allow_msg_schedules", "allow_direct")
# How the history was told to those who listen, before the leader told them of ends: 10 us of the server's an event.
_REPEATED = {"src": "history.>", "dest": f"{STORED}history.>"}
# What may differ: operators size and replicate streams to their machines.
_FREE = {"num_replicas", "max_bytes", "max_age", "max_msgs", "description", "max_consumers", "duplicate_window"}


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} is {found.get(key)!r}, not {value!r}"
        for key, value in wanted.items()
        if key not in _FREE and found.get(key) != value
    ]


def _refuse_difference(stream: str, differing: list[str]) -> None:
    if differing:
        raise ConflictError(
            f"stream {stream} exists with another configuration: {'; '.join(differing)}",
            hint="change the stream, or give DagNats a NATS account or a namespace of its own",
        )
