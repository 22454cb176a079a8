"""A run's whole history as one JSON document, for another installation or another day. `docs/backup.md` describes it.

A document has one run or several, and with each all that its history points at: the definition it follows, and large
payloads. Events are as the log has them; one that is no event is kept as its bytes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import msgspec

import dagnats
from dagnats.errors import DagnatsError, DecodeError, DefinitionError, NotFoundError
from dagnats.model.check import load_definition
from dagnats.model.event import ChildSpawned, WorkflowStarted, decode_event, encode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.instant import rfc3339
from dagnats.model.json import NULL
from dagnats.runtime.blob import references
from dagnats.runtime.ports import Entry
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable

    from dagnats.runtime.ports import Ports

FORMAT = "dagnats.run/1"
_MOST_RUNS = 10_000
_EXAMPLE = "`dagnats run export RUN_ID FILE` writes such a file"


class Exported(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a history.

    Attributes:
        seq: Its place in the log it comes from.
        time_ns: That log's time for it.
        event: The event; null for what is none.
        text: What is none, in base64: the member `base64`.
    """

    seq: int
    time_ns: int
    event: msgspec.Raw = NULL
    text: str = msgspec.field(default="", name="base64")


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A payload that was too large for an event.

    Attributes:
        run_id: The run it lies under.
        sha256: Of its bytes.
        text: They, in base64: the member `base64`.
    """

    run_id: str
    sha256: str
    text: str = msgspec.field(name="base64")

    @property
    def data(self) -> bytes:
        """Its bytes. Raises ValueError."""
        return base64.b64decode(self.text, validate=True)


class PortableRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        run_id: Which.
        workflow: Its workflow.
        def_hash: The definition it follows.
        definition: That; null when it was not stored any more.
        history: Its entries, in order.
        blobs: The large payloads that these point at.
    """

    run_id: str
    workflow: str
    def_hash: str
    definition: msgspec.Raw
    history: tuple[Exported, ...]
    blobs: tuple[Blob, ...] = ()

    def entries(self) -> list[Entry]:
        """The history as a log has it. Raises ValueError."""
        return [Entry(each.seq, each.time_ns, self.run_id, _data(each)) for each in self.history]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds.

    Attributes:
        format: `dagnats.run/1`.
        exported_at: When.
        dagnats: The version that wrote it.
        runs: The run that was asked for, then those that it has started, if they were asked for too.
    """

    format: str
    exported_at: str
    dagnats: str
    runs: tuple[PortableRun, ...]


class _Head(msgspec.Struct):
    """What of a document says whether it is one."""

    format: str = ""


def encode_document(document: Document) -> bytes:
    """`document` as a file holds it."""
    return msgspec.json.encode(document) + b"\n"


def encode_run(run: PortableRun) -> bytes:
    """One run by itself."""
    return msgspec.json.encode(run)


def decode_run(data: bytes) -> PortableRun:
    """A run that `encode_run` has written. Raises DecodeError."""
    try:
        return msgspec.json.decode(data, type=PortableRun)
    except msgspec.DecodeError as error:
        raise DecodeError(f"what is stored of an imported run cannot be read: {error}") from None


# -- out ---------------------------------------------------------------------------------------------------------


async def exported(ports: Ports, run_id: str, *, children: bool = False) -> Document:
    """A run as a document.

    Args:
        children: With the runs that it has started, and those that these have started; one that is gone is left out.

    Raises:
        NotFoundError: There is no such run.
        DecodeError: Its history does not begin with a start.
    """
    runs = [run async for run in exported_runs(ports, run_id, children=children)]
    return msgspec.structs.replace(_empty(ports), runs=tuple(runs))


async def exported_runs(ports: Ports, run_id: str, *, children: bool = False) -> AsyncGenerator[PortableRun]:
    """The runs of such a document, one by one. Takes what `exported` does, and raises like it."""
    first = await _exported(ports, run_id)
    if first is None:
        raise NotFoundError("run", run_id)
    yield first
    there, waiting = {run_id}, _children(first) if children else []
    for child_id in waiting:  # grows while it is read
        if child_id in there or len(there) >= _MOST_RUNS:
            continue
        child = await _exported(ports, child_id)
        if child is not None:
            there.add(child_id)
            yield child
            waiting += _children(child)


async def document_parts(ports: Ports, runs: AsyncIterable[PortableRun]) -> AsyncGenerator[bytes]:
    """A file as `encode_document` writes it, run by run: no more than one is in memory."""
    head, between = msgspec.json.encode(_empty(ports)).removesuffix(b"]}"), b""
    yield head
    async for run in runs:
        yield between + encode_run(run)
        between = b","
    yield b"]}\n"


def _empty(ports: Ports) -> Document:
    """A document of now, without a run."""
    return Document(format=FORMAT, exported_at=rfc3339(ports.clock.now_ns()), dagnats=dagnats.__version__, runs=())


async def _exported(ports: Ports, run_id: str) -> PortableRun | None:
    entries = await ports.log.read(run_id)
    if not entries:
        return None
    records = decoded(entries)
    start = records[0].event if records else None
    if not isinstance(start, WorkflowStarted):
        raise DecodeError(f"the history of run {run_id} does not begin with its start")
    name, identity = start.payload.workflow, start.payload.def_hash
    definition = await ports.definitions.version(name, identity)
    return PortableRun(
        run_id=run_id,
        workflow=name,
        def_hash=identity,
        definition=msgspec.Raw(definition) if definition is not None else NULL,
        history=tuple(map(_out, entries)),
        blobs=await _blobs(ports, [entry.data for entry in entries]),
    )


def _out(entry: Entry) -> Exported:
    try:
        decode_event(entry.data)
    except DecodeError:
        return Exported(seq=entry.seq, time_ns=entry.time_ns, text=base64.b64encode(entry.data).decode())
    return Exported(seq=entry.seq, time_ns=entry.time_ns, event=msgspec.Raw(entry.data))


async def _blobs(ports: Ports, waiting: list[bytes]) -> tuple[Blob, ...]:
    """What some data points at, and what that points at. What is lost is left out: the history shows the reference."""
    found: dict[tuple[str, str], Blob] = {}
    for data in waiting:  # grows while it is read
        for run_id, sha256, size in references(data):
            content = await ports.blobs.get(run_id, sha256, size) if (run_id, sha256) not in found else None
            if content is not None:
                found[run_id, sha256] = Blob(run_id=run_id, sha256=sha256, text=base64.b64encode(content).decode())
                waiting.append(content)
    return tuple(found.values())


def _children(run: PortableRun) -> list[str]:
    events = [record.event for record in decoded(run.entries())]
    spawned = [event.payload.child_run_id for event in events if isinstance(event, ChildSpawned)]
    return [run_id for run_id in spawned if is_run_id(run_id)]


# -- in ----------------------------------------------------------------------------------------------------------


def read_document(data: bytes, *, name: str) -> Document:
    """The document in a file, all of it checked.

    Args:
        name: The file's, for errors.

    Raises:
        DagnatsError: It is none, is of a later version, or something in it does not fit the rest.
    """
    try:
        data = msgspec.json.format(data, indent=-1)  # payloads without the white space that an editor has put there
        written = msgspec.json.decode(data, type=_Head).format
    except msgspec.ValidationError:
        written = ""
    except (msgspec.DecodeError, RecursionError):
        raise DagnatsError(f"{name} is not JSON", hint=_EXAMPLE) from None
    if written != FORMAT:
        is_later = written.startswith("dagnats.run/")
        why = f"is of format {written!r}; this version reads {FORMAT!r}" if is_later else "holds no exported run"
        raise DagnatsError(f"{name} {why}", hint="" if is_later else _EXAMPLE)
    try:
        document = msgspec.json.decode(data, type=Document)
    except msgspec.DecodeError as error:
        raise DagnatsError(f"{name} is damaged: {error}") from None
    if not document.runs:
        raise DagnatsError(f"{name} holds no run")
    if len({run.run_id for run in document.runs}) < len(document.runs):
        raise DagnatsError(f"{name} is damaged: it holds a run twice")
    runs = tuple(_checked(run, name) for run in document.runs)
    return msgspec.structs.replace(document, runs=runs)


def _checked(run: PortableRun, name: str) -> PortableRun:
    """A run whose parts fit each other, its events written as we write them."""
    if why := _misfit(run):
        raise DagnatsError(f"{name} is damaged: run {run.run_id!r}: {why}")
    history = tuple(
        each if each.text else msgspec.structs.replace(each, event=msgspec.Raw(_normal(bytes(each.event))))
        for each in run.history
    )
    return msgspec.structs.replace(run, history=history, definition=_definition(run))


def _definition(run: PortableRun) -> msgspec.Raw:
    """Its definition, written as it is stored."""
    data = bytes(run.definition)
    return run.definition if data == b"null" else msgspec.Raw(load_definition(data).stored)


def _normal(event: bytes) -> bytes:
    return encode_event(decode_event(event))


def _misfit(run: PortableRun) -> str:
    """What is wrong with a run; "" when nothing is."""
    if not is_run_id(run.run_id):
        return "this cannot name a run"
    try:
        entries = run.entries()
        blobs = {each.sha256: hashlib.sha256(each.data).hexdigest() for each in run.blobs}
    except ValueError as error:
        return f"it has bytes that are no base64: {error}"
    for sha256, digest in blobs.items():
        if sha256 != digest:
            return f"the payload {sha256} has another hash: {digest}"
    if [entry.seq for entry in entries] != sorted({entry.seq for entry in entries}):
        return "its events are not in order"
    try:
        events = [decode_event(bytes(each.event)) for each in run.history if not each.text]
    except DecodeError as error:
        return f"it has what is no event: {error}"
    start = events[0] if events else None
    if not isinstance(start, WorkflowStarted) or any(event.run_id != run.run_id for event in events):
        return "its history is not its own, from its start on"
    if (start.payload.workflow, start.payload.def_hash) != (run.workflow, run.def_hash):
        return f"its start is of {start.payload.workflow}@{start.payload.def_hash}"
    return _misfit_definition(run)


def _misfit_definition(run: PortableRun) -> str:
    data = bytes(run.definition)
    if data == b"null":
        return ""
    try:
        identity = load_definition(data).identity
    except DefinitionError as error:
        return f"its definition is not valid: {error.problems[0]}"
    return "" if identity == run.def_hash else f"its definition is another one: {identity}"


def _data(each: Exported) -> bytes:
    return base64.b64decode(each.text, validate=True) if each.text else bytes(each.event)
