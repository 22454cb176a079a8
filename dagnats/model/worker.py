"""A worker's entry in the directory."""

from __future__ import annotations

import msgspec

from dagnats.errors import DecodeError


class WorkerEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a worker. Field names are the wire's; workers in other languages make the same entries.

    Attributes:
        worker_id: How histories name it.
        task_types: What it serves.
        groups: The worker groups it belongs to; none for the tasks of steps that name no group.
        language: What it is written in.
        transport: How it gets its tasks: `nats` or `bridge`.
        max_tasks: How many it runs at a time.
        metadata: What its owner wants people to know.
        pid: Its process.
        hostname: Its machine.
        version: Of the library it uses.
        last_seen: When it renewed this, by its own clock; RFC 3339.
    """

    worker_id: str = ""
    task_types: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    language: str = ""
    transport: str = ""
    max_tasks: int = 0
    metadata: dict[str, str] = {}
    pid: int = 0
    hostname: str = ""
    version: str = ""
    last_seen: str = ""


_decoder = msgspec.json.Decoder(WorkerEntry)


def encode_worker(entry: WorkerEntry) -> bytes:
    """`entry` as it is shown."""
    return msgspec.json.encode(entry)


def decode_worker(data: bytes) -> WorkerEntry:
    """The entry in `data`. Raises DecodeError: it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a worker's entry: {error}", data=data) from None
