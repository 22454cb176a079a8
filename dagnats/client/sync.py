"""`Client`: the client for scripts, notebooks and web frameworks whose code waits. Every thread may use one."""

from __future__ import annotations

import os
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from dagnats.client.blocking import Blocking, Loop, told_by, waits
from dagnats.client.client import AsyncClient
from dagnats.client.connect import connect
from dagnats.client.run import RunHandle
from dagnats.client.surface import AnyClient, AnyRun
from dagnats.errors import DagnatsError
from dagnats.model.address import is_http

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from datetime import timedelta
    from pathlib import Path
    from types import TracebackType

    from dagnats.client.view import EventView
    from dagnats.runtime.ports import Chunk
    from dagnats.runtime.telemetry.entry import LogEntry

T = TypeVar("T")
ParamsT = ParamSpec("ParamsT")


def _gives_run(
    call: Callable[Concatenate[Any, ParamsT], Coroutine[Any, Any, AnyRun]],
) -> Callable[Concatenate[Blocking, ParamsT], Run]:
    """`waits`, of a call that gives a run."""

    @wraps(call)
    def waiting(self: Blocking, *args: ParamsT.args, **kwargs: ParamsT.kwargs) -> Run:
        return Run(self.loop, self.loop.do(getattr(self.inner, call.__name__)(*args, **kwargs)))

    return waiting


@told_by(RunHandle)
class Run:
    """One run, with calls that wait. They are those of `RunHandle`."""

    def __init__(self, loop: Loop, inner: AnyRun) -> None:
        self.loop = loop
        self.inner = inner

    @property
    def run_id(self) -> str:
        """Which."""
        return self.inner.run_id

    @property
    def is_new(self) -> bool:
        """Whether it was this very start that began the run; an idempotent one may find it under way."""
        return self.inner.is_new

    def __repr__(self) -> str:
        return repr(self.inner)

    view = waits(AnyRun.view)
    history = waits(AnyRun.history)
    wait = waits(AnyRun.wait)

    def events(self, *, after: int = 0) -> Iterator[EventView]:
        """Its events with sequences above `after`, then those that follow, up to and including its last."""
        return self.loop.each(self.inner.events(after=after))

    def stream(self, step: str, *, after: int = -1) -> Iterator[Chunk]:
        """What a step streams: the chunks behind `after`, then those that follow until the step is done."""
        return self.loop.each(self.inner.stream(step, after=after))

    @overload
    def result(self, *, timeout: timedelta | str | None = None) -> Any: ...
    @overload
    def result(self, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...

    def result(self, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any:
        """Wait for the run's output; see `RunHandle.result`."""
        return self.loop.do(self.inner.result(type, timeout=timeout))

    # -- telling it what to do -------------------------------------------------------------------------------

    cancel = waits(AnyRun.cancel)
    pause = waits(AnyRun.pause)
    resume = waits(AnyRun.resume)
    skip = waits(AnyRun.skip)
    fail_step = waits(AnyRun.fail_step)
    signal = waits(AnyRun.signal)
    signal_json = waits(AnyRun.signal_json)
    approve = waits(AnyRun.approve)
    reject = waits(AnyRun.reject)
    complete_wait = waits(AnyRun.complete_wait)
    complete_wait_json = waits(AnyRun.complete_wait_json)
    waitpoint_token = waits(AnyRun.waitpoint_token)
    replay = waits(AnyRun.replay)
    retry = _gives_run(AnyRun.retry)
    rerun_json = _gives_run(AnyRun.rerun_json)
    fork = _gives_run(AnyRun.fork)
    fork_json = _gives_run(AnyRun.fork_json)


@told_by(AsyncClient)
class Client:
    """An open client whose calls wait: `with dagnats.Client() as client`. They are those of `AsyncClient`.

    It lives on a thread of its own, and any thread may use it. A process that is forked opens one of its own.

    Args:
        url: `nats://host:4222`, or `http://host:8080`; when left out, `DAGNATS_URL`, then the local `dagnats serve`.
        token: For that server; when left out, `DAGNATS_TOKEN`, then the local server's own.
        namespace: Which of several installations on a NATS server; see `connect`. HTTP serves its own.
        name: How the connection shows up in NATS.
        data_dir: Where the local `dagnats serve` keeps its data; when left out, `DAGNATS_DATA_DIR`, then its default.

    Raises:
        UnavailableError: No server answers there.
    """

    def __init__(
        self,
        url: str = "",
        *,
        token: str = "",
        namespace: str | None = None,
        name: str = "dagnats",
        data_dir: Path | str = "",
    ) -> None:
        self.loop = Loop()
        try:
            at = url or os.environ.get("DAGNATS_URL", "")
            self.inner = self.loop.do(_opened(at, token, namespace, name, data_dir))
        except BaseException:
            self.loop.close(_nothing())
            raise

    def close(self) -> None:
        """Close the connection, and end what other threads wait for. May be called again."""
        self.loop.close(self.inner.close())

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- workflows -------------------------------------------------------------------------------------------

    register = waits(AnyClient.register)
    register_all = waits(AnyClient.register_all)
    workflow = waits(AnyClient.workflow)
    versions = waits(AnyClient.versions)
    version = waits(AnyClient.version)
    workflows = waits(AnyClient.workflows)
    delete_workflow = waits(AnyClient.delete_workflow)

    # -- runs ------------------------------------------------------------------------------------------------

    start = _gives_run(AnyClient.start)
    start_json = _gives_run(AnyClient.start_json)
    run = waits(AnyClient.run)
    find = _gives_run(AnyClient.find)
    newest = _gives_run(AnyClient.newest)
    diagnose = waits(AnyClient.diagnose)
    run_logs = waits(AnyClient.run_logs)
    trace = waits(AnyClient.trace)
    rehearse = waits(AnyClient.rehearse)
    export_run = waits(AnyClient.export_run)
    waitpoints = waits(AnyClient.waitpoints)
    waitpoint = waits(AnyClient.waitpoint)
    checkup = waits(AnyClient.checkup)
    health = waits(AnyClient.health)
    status = waits(AnyClient.status)

    def handle(self, run_id: str) -> Run:
        """A handle on a run, by its full id; nothing is asked yet. Raises NotFoundError: no run can have this id."""
        return Run(self.loop, self.loop.do(_handle(self.inner, run_id)))

    # -- many runs -------------------------------------------------------------------------------------------

    runs = waits(AnyClient.runs)
    page = waits(AnyClient.page)
    count = waits(AnyClient.count)
    cancel_all = waits(AnyClient.cancel_all)
    retry_all = waits(AnyClient.retry_all)
    start_all = waits(AnyClient.start_all)
    start_all_json = waits(AnyClient.start_all_json)

    # -- dead letters ----------------------------------------------------------------------------------------

    dead_letters = waits(AnyClient.dead_letters)
    dead_letter = waits(AnyClient.dead_letter)
    replay_dead_letter = waits(AnyClient.replay_dead_letter)
    replay_dead_letters = waits(AnyClient.replay_dead_letters)
    discard_dead_letter = waits(AnyClient.discard_dead_letter)

    # -- workers, queues and workflows -----------------------------------------------------------------------

    workers = waits(AnyClient.workers)
    trigger_types = waits(AnyClient.trigger_types)
    trigger_type = waits(AnyClient.trigger_type)
    queues = waits(AnyClient.queues)
    queue = waits(AnyClient.queue)
    pause_queue = waits(AnyClient.pause_queue)
    resume_queue = waits(AnyClient.resume_queue)
    limit_queue = waits(AnyClient.limit_queue)
    workflow_limits = waits(AnyClient.workflow_limits)
    pause_workflow = waits(AnyClient.pause_workflow)
    resume_workflow = waits(AnyClient.resume_workflow)
    limit_workflow = waits(AnyClient.limit_workflow)

    # -- events, and the log ---------------------------------------------------------------------------------

    publish_event = waits(AnyClient.publish_event)
    publish_event_json = waits(AnyClient.publish_event_json)
    verify = waits(AnyClient.verify)
    repair = waits(AnyClient.repair)

    # -- the installation ------------------------------------------------------------------------------------

    create_token = waits(AnyClient.create_token)
    tokens = waits(AnyClient.tokens)
    revoke_token = waits(AnyClient.revoke_token)
    deeds = waits(AnyClient.deeds)
    logs = waits(AnyClient.logs)
    import_runs = waits(AnyClient.import_runs)
    imported_runs = waits(AnyClient.imported_runs)
    remove_imported = waits(AnyClient.remove_imported)
    clean = waits(AnyClient.clean)

    def follow_logs(self, *, level: str = "", service: str = "", text: str = "") -> Iterator[LogEntry]:
        """Lines as they come. Some are passed over where they come faster than they are taken."""
        return self.loop.each(self.inner.follow_logs(level=level, service=service, text=text))


async def _opened(url: str, token: str, namespace: str | None, name: str, data_dir: Path | str) -> AnyClient:
    if not is_http(url):
        return await connect(url, token=token, namespace=namespace, name=name, data_dir=data_dir)
    if namespace:
        hint = "leave the namespace out, or name the NATS server"
        raise DagnatsError(f"namespace {namespace!r}: DagNats over HTTP serves one namespace, its own", hint=hint)
    from dagnats.client.http import connect_http  # not at the top: whoever speaks to NATS loads nothing of it

    return await connect_http(url, token=token)


async def _handle(client: AnyClient, run_id: str) -> AnyRun:
    return client.handle(run_id)


async def _nothing() -> None:
    pass
