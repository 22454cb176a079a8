"""`HttpClient`: everything a program does with workflows and runs, asked of a server's API."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.client.checkup import Checked
from dagnats.client.client import (
    SHORTEST_PREFIX,
    Registration,
    ServerStatus,
    Version,
    ambiguous,
    definition_of,
    expect_plain,
    name_of,
    too_short,
)
from dagnats.client.document import FindingDocument, RunDocument, VersionDocument
from dagnats.client.http.housekeeper import HttpHousekeeper
from dagnats.client.http.operator import HttpOperator
from dagnats.client.http.read import ailment, finding, health, holding, read, run_view, waitpoint
from dagnats.client.http.run import HttpRun
from dagnats.client.http.wire import LONG_S, path_of
from dagnats.client.imported import IMPORTED
from dagnats.client.installation import AilmentDocument, HealthDocument, StoreDocument, WaitpointDocument
from dagnats.client.moment import start_instant
from dagnats.client.payload import accepted
from dagnats.client.portable import Document
from dagnats.client.rehearsal import RehearsalDocument, rehearsal_of
from dagnats.client.run import json_bytes
from dagnats.client.start import new_id
from dagnats.client.trace import SpanDocument, span_of
from dagnats.client.waitpoint import chosen
from dagnats.errors import DefinitionError, NotFoundError, RefusedError
from dagnats.model.check import load_definition
from dagnats.model.duration import format_duration
from dagnats.model.identifier import is_run_id
from dagnats.model.instant import parse_rfc3339, rfc3339
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.loaded import Loaded
from dagnats.runtime.telemetry.entry import LogEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from dagnats.client.diagnosis import Finding
    from dagnats.client.health import Health
    from dagnats.client.http.wire import Wire
    from dagnats.client.moment import Moment
    from dagnats.client.rehearsal import Rehearsal
    from dagnats.client.view import RunView
    from dagnats.client.waitpoint import Waitpoint
    from dagnats.dsl.workflow import Workflow
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Sync
    from dagnats.runtime.telemetry.span import Span

_MOST_IDS = 100


class _Started(msgspec.Struct, frozen=True):
    run_id: str


class _Registered(msgspec.Struct, frozen=True):
    name: str
    action: str
    hash: str
    previous: msgspec.Raw


class _Status(msgspec.Struct, frozen=True):
    stream_count: int
    runs: int
    active_runs: int
    store: StoreDocument | None = None
    configuration: Loaded | None = None


class _Checked(msgspec.Struct, frozen=True):
    findings: list[AilmentDocument]


class _Diagnosis(msgspec.Struct, frozen=True):
    findings: list[FindingDocument]


class HttpClient(HttpOperator, HttpHousekeeper):
    """An open client. Get one from `dagnats.connect_http()`; it is closed by `async with`.

    It does what `AsyncClient` does, with the same errors. Definitions come without their triggers, which may have
    secrets in them.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def close(self) -> None:
        """Close its connections."""
        await self._wire.close()

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # -- workflows -------------------------------------------------------------------------------------------

    async def register(self, workflow: Workflow | WorkflowDef | bytes | str) -> Registration:
        """Make a definition the newest of its name, with its triggers. See `AsyncClient.register`."""
        (registration,) = await self.register_all([definition_of(workflow)])
        return registration

    async def register_all(self, definitions: Sequence[WorkflowDef], *, dry_run: bool = False) -> list[Registration]:
        """Register definitions that may run each other as children. See `AsyncClient.register_all`."""
        for definition in definitions:
            expect_plain(definition)
        if not definitions:
            return []
        documents = [each.model_dump(mode="json", exclude_defaults=True) for each in definitions]
        told = await self._wire.post(
            path_of("registrations"), {"definitions": documents, "dry_run": dry_run}, again=True, long=True
        )
        pairs = zip(read(told, list[_Registered]), definitions, strict=True)
        return [_registration(each, definition) for each, definition in pairs]

    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name. Raises NotFoundError, with near names."""
        return load_definition((await self._wire.get(path_of("workflows", name))).content)

    async def versions(self, name: str) -> list[Version]:
        """Every version of a name, the last registered first. Raises NotFoundError."""
        found = read(await self._wire.get(path_of("workflows", name, "versions")), list[VersionDocument])
        definitions = await asyncio.gather(*(self.version(name, each.hash) for each in found))
        pairs = zip(found, definitions, strict=True)
        return [Version(definition, parse_rfc3339(each.registered_at), each.newest) for each, definition in pairs]

    async def version(self, name: str, prefix: str) -> WorkflowDef:
        """The one version of a name whose hash is, or begins with, `prefix`. See `AsyncClient.version`."""
        return load_definition((await self._wire.get(path_of("workflows", name), {"version": prefix})).content)

    async def workflows(self) -> list[WorkflowDef]:
        """The newest definition of every name, by name; what this version cannot read is left out."""
        found = read(await self._wire.get(path_of("workflows")), list[msgspec.Raw])
        return [definition for definition in map(_readable, found) if definition is not None]

    async def delete_workflow(self, name: str) -> WorkflowDef:
        """Forget the name of a workflow, and give what it was. See `AsyncClient.delete_workflow`."""
        definition = await self.workflow(name)
        await self._wire.ask("DELETE", path_of("workflows", name))
        return definition

    # -- runs ------------------------------------------------------------------------------------------------

    async def start(
        self,
        workflow: Workflow | str,
        input: Any = None,
        *,
        run_id: str = "",
        idempotency_key: str = "",
        at: Moment | None = None,
        labels: Mapping[str, str] | None = None,
        by: str = "",
    ) -> HttpRun:
        """Start a run. When this returns, the start is in the log and will be carried out. See `AsyncClient.start`."""
        data = json_bytes(input)
        return await self._start(
            name_of(workflow), data, run_id=run_id, idempotency_key=idempotency_key, at=at, labels=labels, by=by
        )

    async def start_json(
        self,
        definition: WorkflowDef,
        input: bytes,
        *,
        run_id: str = "",
        idempotency_key: str = "",
        at: Moment | None = None,
        labels: Mapping[str, str] | None = None,
        by: str = "",
    ) -> HttpRun:
        """Start a run of a registered workflow with input that is JSON already; its newest definition counts."""
        return await self._start(
            definition.name, input, run_id=run_id, idempotency_key=idempotency_key, at=at, labels=labels, by=by
        )

    async def _start(
        self,
        workflow: str,
        input: bytes,
        *,
        run_id: str,
        idempotency_key: str,
        at: Moment | None,
        labels: Mapping[str, str] | None,
        by: str,
    ) -> HttpRun:
        said: dict[str, Any] = {
            "workflow": workflow,
            "input": msgspec.Raw(accepted(input, what="the run's input")),
            "run_id": new_id(run_id),  # ours, so that the same request again is the same start
            "labels": dict(labels or {}),
            "by": by,
        }
        if at is not None:
            said["run_at"] = _start_text(at)
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        told = await self._wire.ask(
            "POST", path_of("runs"), body=msgspec.json.encode(said), headers=headers, again=True
        )
        is_new = "idempotent-replayed" not in told.headers
        return HttpRun(self._wire, read(told, _Started).run_id, is_new=is_new)

    async def run(self, workflow: Workflow | str, input: Any = None, *, run_id: str = "") -> Any:
        """Start a run and wait for its output. Raises like `start` and `HttpRun.result`."""
        handle = await self.start(workflow, input, run_id=run_id)
        return await handle.result()

    def handle(self, run_id: str) -> HttpRun:
        """A handle on a run, by its full id; nothing is asked yet. Raises NotFoundError: no run can have this id."""
        if not is_run_id(run_id):
            raise NotFoundError("run", run_id)
        return HttpRun(self._wire, run_id)

    async def find(self, prefix: str) -> HttpRun:
        """The one run whose id is, or begins with, `prefix`. See `AsyncClient.find`."""
        if is_run_id(prefix) and (there := await self._there(prefix)) is not None:
            return there
        if len(prefix) < SHORTEST_PREFIX:
            raise too_short(prefix)
        found = [run.run_id for run in await self.runs(prefix=prefix, limit=_MOST_IDS)]
        imports = [run_id for run_id in await self._imports() if run_id.startswith(prefix) and run_id not in found]
        found += imports
        if not found:
            raise NotFoundError("run", prefix)
        if len(found) > 1:
            raise ambiguous(prefix, found)
        return HttpRun(self._wire, found[0], imported=bool(imports))

    async def _there(self, run_id: str) -> HttpRun | None:
        """A run by its full id; None when there is none."""
        try:
            told = await self._wire.get(path_of("runs", run_id))
        except NotFoundError:
            return None
        return HttpRun(self._wire, run_id, imported=IMPORTED in told.headers)

    async def _imports(self) -> list[str]:
        try:
            return [each.run_id for each in await self.imported_runs()]
        except RefusedError:  # they are for those whom all workflows concern
            return []

    async def newest(self) -> HttpRun:
        """The run that was started last. Raises NotFoundError when there is none."""
        for run in await self.runs(limit=1):
            return self.handle(run.run_id)
        raise NotFoundError("run", "newest", hint="start one with `dagnats run start`")

    async def diagnose(self, run_id: str) -> tuple[RunView, list[Finding]]:
        """A run, and what holds it. Raises NotFoundError."""
        path = path_of("runs", run_id)
        view = read(await self._wire.get(path), RunDocument)
        found = read(await self._wire.get(f"{path}/diagnose"), _Diagnosis)
        return run_view(view), [finding(each) for each in found.findings]

    async def run_logs(
        self, run_id: str, *, level: str = "", service: str = "", text: str = "", limit: int = 1_000
    ) -> list[LogEntry]:
        """The last lines about a run, oldest first. See `AsyncClient.run_logs`."""
        which = {"level": level, "service": service, "text": text, "limit": limit}
        return read(await self._wire.get(path_of("runs", run_id, "logs"), which), list[LogEntry])

    async def trace(self, run_id: str) -> list[Span]:
        """The spans of a run and of those below it, by their starts, without the moments within them."""
        return list(map(span_of, read(await self._wire.get(path_of("runs", run_id, "trace")), list[SpanDocument])))

    async def rehearse(self, run_id: str, definition: WorkflowDef | None = None) -> Rehearsal:
        """Fold a run's history once more, at the server, and compare. See `AsyncClient.rehearse`."""
        said = {"definition": definition.content()} if definition is not None else {}
        told = await self._wire.post(path_of("runs", run_id, "rehearse"), said, again=True, long=True)
        return rehearsal_of(read(told, RehearsalDocument))

    async def export_run(self, run_id: str, *, children: bool = False) -> Document:
        """A run's whole history as a document. See `AsyncClient.export_run`."""
        which = {"children": "true"} if children else {}
        return read(await self._wire.get(path_of("runs", run_id, "export"), which, wait_s=LONG_S), Document)

    async def waitpoints(self, *, workflow: str = "", limit: int = 1_000) -> list[Waitpoint]:
        """The waitpoints of the newest `limit` runs that go on, the oldest waitpoint first."""
        which = {"workflow": workflow, "limit": limit}
        return list(map(waitpoint, read(await self._wire.get(path_of("waitpoints"), which), list[WaitpointDocument])))

    async def waitpoint(self, run_id: str, step: str = "") -> Waitpoint:
        """One waitpoint; without a step, the one that its run waits at. See `AsyncClient.waitpoint`."""
        found = chosen(await self.handle(run_id).view(), step, {})
        path = path_of("waitpoints", run_id, found.step_id)
        return waitpoint(read(await self._wire.get(path), WaitpointDocument))

    async def checkup(self, *, fix: bool = False, by: str = "", asked_sync: Sync = "interval") -> Checked:
        """What is wrong with the whole, and what was put right. When writes should be on disk, the server knows."""
        path = path_of("doctor")
        told = await (self._wire.post(path, {"by": by}, long=True) if fix else self._wire.get(path))
        found = [(ailment(each), each.fixed) for each in read(told, _Checked).findings]
        return Checked([each for each, _ in found], [each for each, is_fixed in found if is_fixed])

    async def health(self) -> Health:
        """How the whole does."""
        return health(read(await self._wire.get(path_of("status"), {"detail": "true"}), HealthDocument))

    async def status(self) -> ServerStatus:
        """The server at a glance."""
        found = read(await self._wire.get(path_of("status")), _Status)
        held = holding(found.store) if found.store is not None else None
        return ServerStatus(found.stream_count, found.runs, found.active_runs, found.configuration, held)


def _registration(told: _Registered, definition: WorkflowDef) -> Registration:
    previous = load_definition(bytes(told.previous)) if bytes(told.previous) != b"null" else None
    match told.action:
        case "created" | "updated" | "unchanged":
            return Registration(told.name, told.hash, told.action, definition, previous)
        case _:
            raise AssertionError(f"a server did something unknown: {told.action!r}")


def _readable(data: msgspec.Raw) -> WorkflowDef | None:
    try:
        return load_definition(bytes(data))
    except DefinitionError:
        return None


def _start_text(at: Moment) -> str:
    """When a run is to begin, as the API takes it. Raises DagnatsError, as `AsyncClient.start` does."""
    at_ns = start_instant(at, now_ns=SystemClock().now_ns())
    match at:
        case str():
            return at
        case timedelta():
            return f"+{format_duration(at)}"  # by the server's clock
        case _:
            return rfc3339(at_ns)
