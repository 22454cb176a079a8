"""`HttpClient`: everything a program does with workflows and runs, asked of a server's API."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.client.checkup import Checked
from dagnats.client.client import (
    ServerStatus,
    name_of,
)
from dagnats.client.document.finding import FindingDocument, finding_of
from dagnats.client.document.run import RunDocument, run_of
from dagnats.client.http.dispatcher import HttpDispatcher
from dagnats.client.http.housekeeper import HttpHousekeeper
from dagnats.client.http.operator import HttpOperator
from dagnats.client.http.read import ailment, health, holding, read, waitpoint
from dagnats.client.http.reader import HttpReader
from dagnats.client.http.registrar import HttpRegistrar
from dagnats.client.http.run import HttpRun
from dagnats.client.http.wire import path_of
from dagnats.client.installation import AilmentDocument, HealthDocument, StoreDocument, WaitpointDocument
from dagnats.client.moment import start_instant
from dagnats.client.opening import Closing
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.start import Terms, new_id
from dagnats.client.waitpoint import chosen
from dagnats.model.duration import format_duration
from dagnats.model.event import MAX_DEPTH, MAX_EVENTS
from dagnats.model.instant import rfc3339
from dagnats.runtime.clock import SystemClock
from dagnats.runtime.loaded import Loaded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.client.diagnosis import Finding
    from dagnats.client.health import Health
    from dagnats.client.http.wire import Wire
    from dagnats.client.moment import Moment
    from dagnats.client.view import RunView
    from dagnats.client.waitpoint import Waitpoint
    from dagnats.dsl.workflow import Workflow
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Sync


class _Started(msgspec.Struct, frozen=True):
    run_id: str


class _Status(msgspec.Struct, frozen=True):
    stream_count: int
    runs: int
    active_runs: int
    store: StoreDocument | None = None
    configuration: Loaded | None = None
    namespace: str = ""


class _Checked(msgspec.Struct, frozen=True):
    findings: list[AilmentDocument]


class _Diagnosis(msgspec.Struct, frozen=True):
    findings: list[FindingDocument]


class HttpClient(Closing, HttpRegistrar, HttpReader, HttpOperator, HttpDispatcher, HttpHousekeeper):
    """An open client. Get one from `dagnats.connect_http()`; it is closed by `async with`.

    It does what `AsyncClient` does, with the same errors. Definitions come without their triggers, which may have
    secrets in them.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def close(self) -> None:
        """Close its connections."""
        await self._wire.close()

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
        priority: int | None = None,
        max_depth: int = MAX_DEPTH,
        max_events: int = MAX_EVENTS,
        by: str = "",
    ) -> HttpRun:
        """Start a run. When this returns, the start is in the log and will be carried out. See `AsyncClient.start`."""
        terms = Terms(labels=labels, priority=priority, max_depth=max_depth, max_events=max_events, by=by)
        return await self._start(
            name_of(workflow), json_bytes(input), run_id=run_id, idempotency_key=idempotency_key, at=at, terms=terms
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
        priority: int | None = None,
        max_depth: int = MAX_DEPTH,
        max_events: int = MAX_EVENTS,
        by: str = "",
    ) -> HttpRun:
        """Start a run of a registered workflow with input that is JSON already; its newest definition counts."""
        terms = Terms(labels=labels, priority=priority, max_depth=max_depth, max_events=max_events, by=by)
        return await self._start(
            definition.name, input, run_id=run_id, idempotency_key=idempotency_key, at=at, terms=terms
        )

    async def _start(
        self,
        workflow: str,
        input: bytes,
        *,
        run_id: str,
        idempotency_key: str,
        at: Moment | None,
        terms: Terms,
    ) -> HttpRun:
        terms.check()
        said: dict[str, Any] = {
            "workflow": workflow,
            "input": msgspec.Raw(accepted(input, what="the run's input")),
            "run_id": new_id(run_id),  # ours, so that the same request again is the same start
            "labels": dict(terms.labels or {}),
            "by": terms.by,
            **terms.unusual(),
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

    async def diagnose(self, run_id: str) -> tuple[RunView, list[Finding]]:
        """A run, and what holds it. Raises NotFoundError."""
        path = path_of("runs", run_id)
        view = read(await self._wire.get(path), RunDocument)
        found = read(await self._wire.get(f"{path}/diagnose"), _Diagnosis)
        return run_of(view), [finding_of(each) for each in found.findings]

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
        return ServerStatus(
            found.stream_count,
            found.runs,
            found.active_runs,
            found.configuration,
            holding=holding(found.store) if found.store is not None else None,
            namespace=found.namespace,
        )


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
