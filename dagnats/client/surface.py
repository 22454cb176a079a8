"""What a client can do, whatever it speaks: `AsyncClient` over NATS and `HttpClient` over HTTP are both this.

A program that takes an `AnyClient` works with either. What the calls do, and what they raise, is said at `AsyncClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from dagnats.client.audit import Deed
    from dagnats.client.bulk import Done, Live, Mode
    from dagnats.client.checkup import Checked
    from dagnats.client.clean import Category, Cleaned
    from dagnats.client.client import ServerStatus
    from dagnats.client.diagnosis import Finding
    from dagnats.client.difference import Difference
    from dagnats.client.health import Health
    from dagnats.client.imported import Guest, Taken
    from dagnats.client.letter import DeadLetter
    from dagnats.client.moment import Moment
    from dagnats.client.portable import Document
    from dagnats.client.queue import QueueView
    from dagnats.client.registrar import Registration, Version
    from dagnats.client.rehearsal import Rehearsal
    from dagnats.client.token import Made
    from dagnats.client.verify import Verified
    from dagnats.client.view import EventView, RunView
    from dagnats.client.waitpoint import Waitpoint
    from dagnats.dsl.workflow import Workflow
    from dagnats.model.access import Scope
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.ops import TaskLimited, WorkflowLimited
    from dagnats.model.run import RunStatus
    from dagnats.model.summary import RunPage, RunSummary, Tally
    from dagnats.model.token import AccessToken
    from dagnats.model.trigger_type import TriggerTypeView
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.ports import Chunk, Sync
    from dagnats.runtime.telemetry.entry import LogEntry
    from dagnats.runtime.telemetry.span import Span

T = TypeVar("T")


class AnyRun(Protocol):
    """A handle on one run."""

    run_id: str

    @property
    def is_new(self) -> bool: ...
    @property
    def imported(self) -> bool: ...
    async def view(self, *, gates: bool = False) -> RunView: ...
    async def history(self) -> list[EventView]: ...
    def events(self, *, after: int = 0) -> AsyncIterator[EventView]: ...
    def stream(self, step: str, *, after: int = -1) -> AsyncGenerator[Chunk]: ...
    @overload
    async def result(self, *, timeout: timedelta | str | None = None) -> Any: ...
    @overload
    async def result(self, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...
    async def wait(self, *, timeout: timedelta | str | None = None) -> RunView: ...

    # -- telling it what to do

    async def cancel(self, reason: str = "", *, by: str = "") -> None: ...
    async def pause(self, reason: str = "", *, by: str = "") -> None: ...
    async def resume(self, reason: str = "", *, by: str = "") -> None: ...
    async def skip(self, step: str, reason: str = "", *, by: str = "") -> None: ...
    async def fail_step(self, step: str, reason: str = "", *, by: str = "") -> None: ...
    async def signal(self, name: str, value: Any = None) -> None: ...
    async def signal_json(self, name: str, payload: bytes) -> None: ...
    async def approve(
        self, step: str = "", answer: Any = None, *, token: str | None = None, by: str = "", reason: str = ""
    ) -> str: ...
    async def reject(
        self, step: str = "", answer: Any = None, *, token: str | None = None, by: str = "", reason: str = ""
    ) -> str: ...
    async def complete_wait(self, step: str, body: Any = None) -> None: ...
    async def complete_wait_json(self, step: str, body: bytes) -> None: ...
    async def waitpoint_token(self, step: str) -> str: ...
    async def replay(self, reason: str = "", *, by: str = "") -> None: ...
    async def retry(self, mode: Literal["rerun", "replay"] = "rerun", input: Any = None, *, by: str = "") -> AnyRun: ...
    async def rerun_json(self, input: bytes = b"", *, by: str = "") -> AnyRun: ...
    async def fork(self, from_step: str, input: Any = None, *, latest: bool = False, by: str = "") -> AnyRun: ...
    async def fork_json(self, from_step: str, input: bytes = b"", *, latest: bool = False, by: str = "") -> AnyRun: ...


class AnyClient(Protocol):
    """An open client."""

    async def close(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    # -- workflows

    async def register(self, workflow: Workflow | WorkflowDef | bytes | str) -> Registration: ...
    async def register_all(
        self, definitions: Sequence[WorkflowDef], *, dry_run: bool = False
    ) -> list[Registration]: ...
    async def workflow(self, name: str) -> WorkflowDef: ...
    async def versions(self, name: str) -> list[Version]: ...
    async def version(self, name: str, prefix: str) -> WorkflowDef: ...
    async def workflows(self) -> list[WorkflowDef]: ...
    async def delete_workflow(self, name: str) -> WorkflowDef: ...

    # -- runs

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
        max_depth: int = ...,
        max_events: int = ...,
        by: str = "",
    ) -> AnyRun: ...
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
        max_depth: int = ...,
        max_events: int = ...,
        by: str = "",
    ) -> AnyRun: ...
    async def run(self, workflow: Workflow | str, input: Any = None, *, run_id: str = "") -> Any: ...
    def handle(self, run_id: str) -> AnyRun: ...
    async def find(self, prefix: str) -> AnyRun: ...
    async def newest(self) -> AnyRun: ...
    async def diagnose(self, run_id: str) -> tuple[RunView, list[Finding]]: ...
    async def run_logs(
        self, run_id: str, *, level: str = "", service: str = "", text: str = "", limit: int = 1_000
    ) -> list[LogEntry]: ...
    async def trace(self, run_id: str) -> list[Span]: ...
    async def rehearse(self, run_id: str, definition: WorkflowDef | None = None) -> Rehearsal: ...
    async def export_run(self, run_id: str, *, children: bool = False) -> Document: ...
    async def waitpoints(self, *, workflow: str = "", limit: int = 1_000) -> list[Waitpoint]: ...
    async def waitpoint(self, run_id: str, step: str = "") -> Waitpoint: ...
    async def checkup(self, *, fix: bool = False, by: str = "", asked_sync: Sync = "interval") -> Checked: ...
    async def health(self) -> Health: ...
    async def status(self) -> ServerStatus: ...

    # -- many runs

    async def runs(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int = 50,
    ) -> list[RunSummary]: ...
    async def page(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        below: int = 0,
        limit: int = 50,
    ) -> RunPage: ...
    async def count(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
    ) -> list[Tally]: ...
    async def cancel_all(
        self,
        workflow: str,
        *,
        status: Live = "all",
        after: Moment | None = None,
        before: Moment | None = None,
        dry_run: bool = False,
        by: str = "",
        reason: str = "",
        told: Callable[[int], None] | None = None,
    ) -> list[Done]: ...
    async def retry_all(
        self,
        workflow: str = "",
        *,
        mode: Mode,
        after: Moment | None = None,
        before: Moment | None = None,
        dry_run: bool = False,
        by: str = "",
        told: Callable[[int], None] | None = None,
    ) -> list[Done]: ...
    async def start_all(
        self,
        workflow: str,
        inputs: Sequence[Any],
        *,
        batch: str | None = None,
        run_ids: Sequence[str] = (),
        by: str = "",
    ) -> list[Done]: ...
    async def start_all_json(
        self,
        definition: WorkflowDef,
        inputs: Sequence[bytes],
        run_ids: Sequence[str],
        *,
        by: str = "",
        told: Callable[[int], None] | None = None,
    ) -> list[Done]: ...

    # -- dead letters

    async def dead_letters(self, run_id: str = "") -> list[DeadLetter]: ...
    async def dead_letter(self, seq: int) -> DeadLetter: ...
    async def replay_dead_letter(self, seq: int, *, by: str = "") -> DeadLetter: ...
    async def replay_dead_letters(self, run_id: str, *, by: str = "") -> list[DeadLetter]: ...
    async def discard_dead_letter(self, seq: int) -> DeadLetter: ...

    # -- workers, queues and workflows

    async def workers(self) -> list[WorkerEntry]: ...
    async def trigger_types(self) -> list[TriggerTypeView]: ...
    async def trigger_type(self, name: str) -> TriggerTypeView: ...
    async def queues(self) -> list[QueueView]: ...
    async def queue(self, name: str) -> QueueView: ...
    async def pause_queue(self, task: str, reason: str = "", *, by: str = "") -> None: ...
    async def resume_queue(self, task: str, *, by: str = "") -> None: ...
    async def limit_queue(
        self,
        task: str,
        *,
        concurrency: int | None = None,
        rate: int | None = None,
        period: timedelta | str = "1s",
        by: str = "",
        reason: str = "",
    ) -> TaskLimited: ...
    async def workflow_limits(self, workflow: str) -> WorkflowLimited: ...
    async def pause_workflow(self, workflow: str, reason: str = "", *, by: str = "") -> None: ...
    async def resume_workflow(self, workflow: str, *, by: str = "") -> None: ...
    async def limit_workflow(
        self,
        workflow: str,
        max_runs: int | None = None,
        *,
        max_events: int | None = None,
        max_depth: int | None = None,
        by: str = "",
        reason: str = "",
    ) -> WorkflowLimited: ...

    # -- events, and the log

    async def publish_event(self, type: str, body: Any = None, *, id: str = "") -> int: ...
    async def publish_event_json(self, type: str, body: bytes, *, id: str = "") -> int: ...
    async def verify(self, *, told: Callable[[int, int], None] | None = None) -> Verified: ...
    async def repair(self, differences: Sequence[Difference]) -> list[Difference]: ...

    # -- the installation

    async def create_token(
        self,
        scope: Scope,
        *,
        name: str = "",
        workflows: Sequence[str] = (),
        expires: Moment | None = None,
        by: str = "",
    ) -> Made: ...
    async def tokens(self) -> list[AccessToken]: ...
    async def revoke_token(self, which: str, *, by: str = "") -> AccessToken: ...
    async def deeds(
        self,
        *,
        by: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int = 50,
    ) -> list[Deed]: ...
    async def logs(
        self, *, level: str = "", service: str = "", text: str = "", since: str = "", limit: int = 100
    ) -> list[LogEntry]: ...
    def follow_logs(self, *, level: str = "", service: str = "", text: str = "") -> AsyncGenerator[LogEntry]: ...
    async def import_runs(self, document: Document) -> list[Taken]: ...
    async def imported_runs(self) -> list[Guest]: ...
    async def remove_imported(self, run_id: str) -> None: ...
    async def clean(
        self,
        categories: Collection[Category] = ...,
        *,
        older_than: timedelta | str = "",
        before: Moment | None = None,
        include_running: bool = False,
        dry_run: bool = False,
        measured: bool = False,
        by: str = "",
        told: Callable[[int, int], None] | None = None,
    ) -> Cleaned: ...
