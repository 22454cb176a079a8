"""Runs of other installations, to look at. They are no part of the log: no engine hears of them, so nothing of them is
ever carried out.

Each is stored in one piece, and named by a pointer that is stored last: half of one is none.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, cast

from dagnats.client.portable import decode_run, encode_run
from dagnats.client.run import RunHandle
from dagnats.errors import ConflictError, DecodeError, NotFoundError, RefusedError
from dagnats.model.json import NULL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.client.portable import Document, PortableRun
    from dagnats.model.run import RunStatus
    from dagnats.runtime.ports import Blobs, Definitions, Entry, Log, Ports, Snapshots

IMPORTED = "dagnats-imported"
"""The header of an answer over HTTP about such a run."""

_POINTER = "newest"
_DIGITS = 15
_POINTER_BYTES = 64 + _DIGITS


class Taken(NamedTuple):
    """A run of a document, and what became of it.

    Attributes:
        run_id: Which.
        workflow: Its workflow.
        events: How many its history has.
        action: `imported`, or `unchanged` when it was there already.
    """

    run_id: str
    workflow: str
    events: int
    action: Literal["imported", "unchanged"]


class Guest(NamedTuple):
    """A run that was imported, at a glance.

    Attributes:
        run_id: Which.
        workflow: Its workflow.
        status: Its status when it was exported.
    """

    run_id: str
    workflow: str
    status: RunStatus


async def take_in(ports: Ports, document: Document) -> list[Taken]:
    """Store the runs of a document, for looking at. The same again changes nothing.

    Raises:
        ConflictError: A run of this installation has the id of one of them, or another import has; nothing was stored.
    """
    there = [await _stored(ports, run.run_id) for run in document.runs]
    for run, stored in zip(document.runs, there, strict=True):
        if await ports.log.first(run.run_id):
            raise ConflictError(f"run {run.run_id} is one of this installation's: nothing was imported")
        if stored is not None and stored != encode_run(run):
            raise ConflictError(
                f"another run {run.run_id} was imported already: nothing was imported",
                hint=f"`dagnats run imported --remove {run.run_id}` makes room",
            )
    found: list[Taken] = []
    for run, stored in reversed(list(zip(document.runs, there, strict=True))):  # what others start goes first
        if stored is None:
            await _store(ports, run)
        action: Literal["imported", "unchanged"] = "imported" if stored is None else "unchanged"
        found.insert(0, Taken(run.run_id, run.workflow, len(run.history), action))
    return found


async def imported_ids(ports: Ports) -> list[str]:
    """The runs that were imported, by id."""
    return await ports.imports.run_ids()


async def guests(ports: Ports) -> list[Guest]:
    """The same, each at a glance. Raises DecodeError when one is damaged."""
    found: list[Guest] = []
    for run_id in await imported_ids(ports):
        handle = await imported_run(ports, run_id)
        if handle is not None:  # somebody has just removed it
            view = await handle.view()
            found.append(Guest(run_id, view.workflow, view.status))
    return found


async def imported_run(ports: Ports, run_id: str) -> ImportedRun | None:
    """A handle on an imported run; None when there is none. Raises DecodeError when it is damaged."""
    data = await _stored(ports, run_id)
    return ImportedRun(ports, decode_run(data)) if data is not None else None


async def remove(ports: Ports, run_id: str) -> None:
    """Forget an imported run. Raises NotFoundError."""
    if run_id not in await ports.imports.run_ids():  # a wildcard would stand for all of them
        raise NotFoundError("imported run", run_id, hint="`dagnats run imported` lists those there are")
    await ports.imports.remove(run_id)


async def _store(ports: Ports, run: PortableRun) -> None:
    data = encode_run(run)
    digest = hashlib.sha256(data).hexdigest()
    await ports.imports.put(run.run_id, digest, data)
    await ports.imports.put(run.run_id, _POINTER, f"{digest}{len(data):0{_DIGITS}}".encode())


async def _stored(ports: Ports, run_id: str) -> bytes | None:
    pointer = await ports.imports.get(run_id, _POINTER, _POINTER_BYTES)
    if pointer is None:
        return None
    digest, size = pointer[:64].decode(), int(pointer[64:])
    data = await ports.imports.get(run_id, digest, size)
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        raise DecodeError(f"what is stored of the imported run {run_id} is damaged")
    return data


class ImportedRun(RunHandle):
    """An imported run: everything that looks at a run works on it, as of its export; whoever tells it something is
    refused with RefusedError."""

    imported = True

    def __init__(self, ports: Ports, run: PortableRun) -> None:
        world = replace(
            ports,
            log=cast("Log", _Log(run)),
            snapshots=cast("Snapshots", _NoSnapshots()),
            definitions=cast("Definitions", _Definitions(run)),
            blobs=cast("Blobs", _Blobs(run)),
        )
        super().__init__(world, run.run_id)


def _refuse(run_id: str) -> NoReturn:
    raise RefusedError(
        f"run {run_id} was imported: it can be looked at, and nothing of it is carried out here",
        hint=f"`dagnats run export {run_id}` gives its document again",
    )


class _Log:
    """A log in which one run is all there is."""

    def __init__(self, run: PortableRun) -> None:
        self._run_id = run.run_id
        self._entries = run.entries()

    async def read(self, run_id: str, *, after: int = 0) -> list[Entry]:
        return [entry for entry in self._entries if entry.run_id == run_id and entry.seq > after]

    async def first(self, run_id: str) -> int:
        return self._entries[0].seq if run_id == self._run_id else 0

    async def at(self, seq: int) -> Entry | None:
        return next((entry for entry in self._entries if entry.seq == seq), None)

    async def newest(self, run_id: str) -> Entry | None:
        return self._entries[-1] if run_id == self._run_id else None

    async def watch(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Entry]:
        """Nothing ever follows what is there."""
        for entry in await self.read(run_id, after=after):
            yield entry

    async def wait_for(self, run_id: str, kinds: tuple[bytes, ...], *, after: int = 0) -> Entry:
        for entry in await self.read(run_id, after=after):
            if entry.data.startswith(kinds):
                return entry
        raise ConflictError(f"run {run_id} was exported before it had ended: nobody hears of its end here")

    def append(self, *_: Any, **__: Any) -> NoReturn:
        _refuse(self._run_id)

    async def append_after(self, *_: Any, **__: Any) -> NoReturn:
        _refuse(self._run_id)

    async def append_new(self, *_: Any, **__: Any) -> NoReturn:
        _refuse(self._run_id)


class _NoSnapshots:
    """There is the history."""

    async def load(self, run_id: str) -> None:
        return None


class _Definitions:
    """The definition of one run."""

    def __init__(self, run: PortableRun) -> None:
        self._run = run

    async def version(self, name: str, identity: str) -> bytes | None:
        data = bytes(self._run.definition)
        return data if data != bytes(NULL) and (name, identity) == (self._run.workflow, self._run.def_hash) else None

    async def newest(self, name: str) -> NoReturn:
        _refuse(self._run.run_id)

    async def add_version(self, *_: Any) -> NoReturn:
        _refuse(self._run.run_id)


class _Blobs:
    """The large payloads of one run."""

    def __init__(self, run: PortableRun) -> None:
        self._blobs = {(each.run_id, each.sha256): each for each in run.blobs}

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        found = self._blobs.get((run_id, sha256))
        return found.data if found is not None else None

    async def put(self, run_id: str, *_: Any) -> NoReturn:
        _refuse(run_id)
