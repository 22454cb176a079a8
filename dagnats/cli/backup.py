"""`backup` and `restore`: everything the server holds, in one file and out of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import place_of_nats, run
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, say, size_text
from dagnats.cli.progress import progress
from dagnats.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from dagnats.cli.connection import Place
    from dagnats.client.backup_file import BackupFile
    from dagnats.runtime.jetstream.adapter import JetStream

_MIB = 1024 * 1024


def backup(
    file: Path = typer.Argument(metavar="FILE", help="Where it is written; replaced when it is there."),
) -> None:
    """Write everything the server holds into one file, while runs go on.

    Each run that was started before is in it, as far as it was then, or further. The file holds secrets: only you can
    read it.
    """
    _expect_place(file)
    written = run(_backup(file))
    size = file.stat().st_size
    if current().json:
        emit({**_document(written), "file_bytes": size})
        return
    say(f"{paint('Backed up:', 'green')} {_contents(written)} in {file} ({size_text(size)})")


def restore(
    file: Path = typer.Argument(metavar="FILE", help="What `dagnats backup` has written."),
    force: bool = typer.Option(False, "--force", help="Remove what the server holds first."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only check the file, and whether it can be restored."),
) -> None:
    """Put a backup back, on a server without an engine.

    Everything is checked before anything is changed. A restore that was broken off is completed by the same command.
    """
    restored = run(_restore(file, force=force, dry_run=dry_run))
    if current().json:
        emit({**_document(restored), "dry_run": dry_run})
    elif dry_run:
        say(f"[dry-run] Would restore {_contents(restored)}, as of {_moment(restored)}")
    else:
        say(f"{paint('Restored:', 'green')} {_contents(restored)}, as of {_moment(restored)}")
        say("`dagnats serve` goes on from there; `dagnats verify` compares everything with the log.")


def _expect_place(file: Path) -> None:
    if file.is_dir() or not file.absolute().parent.is_dir():
        why = "a folder" if file.is_dir() else "in a folder that does not exist"
        raise UsageError(f"{str(file)!r} is {why}", hint="name a file: `dagnats backup dagnats.tar`")


async def _backup(file: Path) -> BackupFile:
    from dagnats.client.backup import expect_installation, take

    async with _store(place_of_nats(), new=False) as jetstream:
        await expect_installation(jetstream.link)
        await jetstream.ports.server.prepare()
        with progress("MiB taken") as told:
            return await take(jetstream, file, told=_in_mib(told))


async def _restore(file: Path, *, force: bool, dry_run: bool) -> BackupFile:
    from dagnats.client.backup_file import BackupFile
    from dagnats.client.restore import expect_room, restore

    where = place_of_nats()
    with progress("MiB checked") as told:
        found = BackupFile.checked(file, told=_in_mib(told))
    async with _store(where, new=True) as jetstream:
        await expect_room(jetstream, found, force=force)
        if not dry_run:
            with progress("MiB restored") as told:
                await restore(jetstream, found, told=_in_mib(told))
    return found


@asynccontextmanager
async def _store(where: Place, *, new: bool) -> AsyncGenerator[JetStream]:
    """The server that is meant, else the local one: started for this, without an engine, if need be."""
    from dagnats.runtime.embedded import EmbeddedServer
    from dagnats.runtime.jetstream.adapter import JetStream
    from dagnats.runtime.local import find_local_server

    url, token, folder, namespace = where.url, where.token, Path(where.data_dir), where.namespace
    local = None if url else find_local_server(folder)
    if local is not None:
        url, token = local.url, token or local.token
        namespace = local.namespace if namespace is None else namespace

    async def connected(url: str, token: str) -> JetStream:
        return await JetStream.connect(url, token=token, name="dagnats backup", namespace=namespace or "")

    try:
        if url:
            async with await connected(url, token) as jetstream:
                yield jetstream
            return
        if not new and not (folder / "jetstream").is_dir():
            raise UnavailableError(f"no server is named, none is running, and there is no store in {folder}")
        async with (
            EmbeddedServer(folder, port=0) as server,
            await connected(server.url, server.token) as jetstream,
        ):
            yield jetstream
    except UnavailableError as error:
        error.hint = error.hint or "run `dagnats serve` in another terminal, or name a server with --server"
        raise


def _in_mib(told: Callable[..., None]) -> Callable[..., None]:
    def in_mib(done: int, total: int = 0) -> None:
        told(done // _MIB, -(-total // _MIB))

    return in_mib


def _contents(found: BackupFile) -> str:
    return f"{counted(found.messages, 'message')} of {counted(len(found.streams), 'stream')}"


def _moment(found: BackupFile) -> str:
    from dagnats.model.instant import parse_rfc3339, second_text

    return second_text(parse_rfc3339(found.about.taken_at))


def _document(found: BackupFile) -> dict[str, Any]:
    streams = [
        {"name": name, "messages": held.messages, "bytes": held.bytes} for name, held in sorted(found.streams.items())
    ]
    about = {"id": found.about.id, "taken_at": found.about.taken_at, "version": found.about.dagnats}
    return {"file": str(found.file), **about, "messages": found.messages, "streams": streams}
