"""Backups: every stream and bucket in one file, taken while everything goes on.

The server copies one stream after the other, so each is of another moment. What hangs on the history is copied before
it, and what the history points at after it: a queue may have tasks whose results the history has, and never lacks a
blob, a definition or a key that the history names. What lies between the moments is found when the backup is put back:
see `client.restore`.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import dagnats
from dagnats.client.backup_file import FORMAT, NAMESPACED, About, Held, writing
from dagnats.errors import DagnatsError, DecodeError
from dagnats.model.instant import rfc3339
from dagnats.model.removal import RETENTION, decode_removal
from dagnats.runtime.jetstream import resources
from dagnats.runtime.jetstream.image import image_of
from dagnats.runtime.jetstream.read import streams_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagnats.client.backup_file import BackupFile, BackupWriter
    from dagnats.runtime.jetstream.adapter import JetStream
    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import Ports

_NOT_KEPT = (
    f"KV_{resources.RUNS}",  # a cache of the history, made anew
    f"KV_{resources.WORKERS}",  # they say again that they live
)
# The engine's position comes first: of an event before that, all that it led to is in what follows.
_BEFORE = (
    resources.ENGINE,
    resources.TASKS,
    resources.OWN_TASKS,
    resources.TIMERS,
    f"KV_{resources.WAITERS}",
    f"KV_{resources.SIGNALS}",
    f"KV_{resources.CHECKPOINTS}",
    f"KV_{resources.PULSES}",
    resources.CHUNKS,
)


def order() -> list[str]:
    """The streams of a backup, as they are taken."""
    names = [config["name"] for config in resources.stream_configs()]
    after = [name for name in names if name not in (*_BEFORE, *_NOT_KEPT, resources.HISTORY)]
    return [*_BEFORE, resources.HISTORY, *after]


async def expect_installation(link: Link) -> None:
    """Raise DagnatsError when nobody has ever used the server under this namespace: an empty backup helps nobody."""
    if resources.HISTORY not in await streams_of(link):
        where = f"in namespace {link.namespace!r}" if link.namespace else "without a namespace"
        hint = "--namespace names the installation; `nats stream ls` shows which there are: staging_WORKFLOW_HISTORY"
        raise DagnatsError(f"there is no installation {where} on this server", hint=hint)


async def take(jetstream: JetStream, file: Path, *, told: Callable[[int], None] | None = None) -> BackupFile:
    """Write everything into `file`, which is there when all of it is, and otherwise as it was before.

    Args:
        told: Called now and then with how many bytes were taken.

    Raises:
        RefusedError: What the server holds is damaged.
        UnavailableError: The connection was lost.
        OSError: The file cannot be written.
    """
    about = About(
        format=NAMESPACED if jetstream.link.namespace else FORMAT,
        id=secrets.token_hex(8),
        taken_at=rfc3339(jetstream.ports.clock.now_ns()),
        dagnats=dagnats.__version__,
        namespace=jetstream.link.namespace,
    )
    done = 0

    def taken(count: int) -> None:
        nonlocal done
        done += count
        if told is not None:
            told(done)

    with writing(file) as out:
        out.begin(about)
        for name in order():
            await _copy(jetstream.link, name, out, taken)
        out.note_removed(await _removed(jetstream.ports, out.last))
    assert out.written is not None, "it was checked"
    return out.written


async def _removed(ports: Ports, after: int) -> list[tuple[str, int]]:
    """The runs that were removed since the history was copied, each with its last event: what they had may be gone."""
    found: list[tuple[str, int]] = []
    for entry in await ports.log.read(RETENTION, after=after):
        with suppress(DecodeError):
            found += decode_removal(entry.data).runs
    return found


async def _copy(link: Link, name: str, out: BackupWriter, taken: Callable[[int], None]) -> None:
    async with image_of(link, name) as stream:
        out.begin_stream(name, Held(config=stream.config, state=stream.state))
        if name == resources.HISTORY:
            out.last = stream.state["last_seq"]
        async for piece in stream.pieces:
            out.add(piece)
            taken(len(piece))
