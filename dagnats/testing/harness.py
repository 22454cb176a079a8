"""`Harness`: the real engine, the real worker and the client, in memory, under a virtual clock.

A harness has an event loop of its own, whose time is virtual, and runs it from inside the test's calls: `await h.run`
returns when the run has ended, and nothing happens in between. So it is all the same who runs the test: asyncio,
pytest-asyncio, anyio, trio, uvloop, or nobody at all. A plugin that gave tests a loop with virtual time would have to
agree with whatever else gives them one, and the test's own time-outs and sockets would run by that time as well.
The price: the test's own loop stands still meanwhile, so a handler cannot wait for something that happens there.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from dagnats.client.client import AsyncClient
from dagnats.config.policy import NOBODY
from dagnats.dsl.workflow import Workflow
from dagnats.errors import ConflictError, DagnatsError, NotFoundError
from dagnats.handling.handler import Handler
from dagnats.handling.source import caller_names
from dagnats.model.definition import WorkflowDef
from dagnats.model.identifier import near
from dagnats.model.step import WORKER_RUN
from dagnats.runtime.engine import Engine
from dagnats.runtime.memory.loop import VirtualLoop
from dagnats.runtime.memory.process import Process
from dagnats.runtime.memory.server import MemoryServer
from dagnats.runtime.plane.office import open_plane
from dagnats.runtime.worker import Worker
from dagnats.testing.double import Double, Stub, answering, doubling
from dagnats.testing.nested import outside_of_loops

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from types import TracebackType

    from dagnats.client.run import RunHandle
    from dagnats.client.view import EventView, RunView
    from dagnats.config.policy import ControlPlane
    from dagnats.runtime.lifespan import Lifespan

T = TypeVar("T")

LONGEST = timedelta(days=366)
"""How long a run may take unless said, by the virtual clock: one that waits for ever is told at once."""

_PACE = 1e6  # one engine: nobody waits for its lease to run out
_ACK_WAIT = timedelta(days=366)  # one worker, which is never lost


class HarnessClock:
    """The clock of a harness: stands still between two calls."""

    def __init__(self, loop: VirtualLoop, server: MemoryServer) -> None:
        self._loop = loop
        self._server = server

    @property
    def elapsed(self) -> timedelta:
        """How much time has passed since the harness was opened."""
        return timedelta(seconds=self._loop.time())

    @property
    def now(self) -> datetime:
        """The date and time, as handlers' events carry it."""
        return datetime.fromtimestamp(self._server.clock.now_ns() / 1e9, UTC)


class HarnessRun:
    """A run in a harness."""

    def __init__(self, harness: Harness, handle: RunHandle) -> None:
        self.run_id = handle.run_id
        self._harness = harness
        self._handle = handle

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def view(self) -> RunView:
        """The run as it is now; no time passes."""
        return self._harness.drive(self._handle.view())

    async def wait(self, *, within: timedelta = LONGEST) -> RunView:
        """The run once it has ended, whatever way. Raises ResultTimeout."""
        return self._harness.drive(self._handle.wait(timeout=within))

    async def result(self, type: Any = Any, *, within: timedelta = LONGEST) -> Any:
        """Its output, as `RunHandle.result` gives it."""
        return self._harness.drive(self._handle.result(type, timeout=within))

    async def history(self) -> list[EventView]:
        """All its events so far."""
        return self._harness.drive(self._handle.history())

    async def cancel(self) -> None:
        """End the run now. Raises ConflictError when it has ended."""
        self._harness.drive(self._handle.cancel())


class Harness:
    """Everything that runs workflows, without a server: `async with Harness([wf]) as h`.

    Handlers run as they would under a worker, sync ones in real threads: while one of these works, time passes as
    it really does. For a task type without a handler here, and for one that must not be called, there is `stub`.

    Args:
        serves: Workflows (registered, their handlers served), definitions, and further handlers.
        lifespan: Gives what handlers find in `resources`, as for `Worker`.
        control_plane: Which workflows may register and start others while they run; nobody's, unless said.

    Attributes:
        clock: What time it is, and how much has passed.

    Raises:
        ConflictError: Two handlers serve one task type.
        DefinitionError: A workflow is not valid.
    """

    clock: HarnessClock

    def __init__(
        self,
        serves: Iterable[Workflow[Any, Any] | WorkflowDef | Handler[..., Any]],
        *,
        lifespan: Lifespan | None = None,
        control_plane: ControlPlane = NOBODY,
    ) -> None:
        serves = list(serves)
        self._policy = control_plane
        self._lifespan = lifespan
        self._definitions = [_definition(each) for each in serves if not isinstance(each, Handler)]
        self._doubles = _doubles(self._definitions, _handlers(serves))
        self._loop: VirtualLoop | None = None
        self._broken: asyncio.Future[None]
        self._worker: asyncio.Task[None] | None = None

    # -- opening and closing ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Harness:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __enter__(self) -> Harness:
        self._loop = VirtualLoop()
        self._broken = self._loop.create_future()
        try:
            self.drive(self._open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _open(self) -> None:
        loop = self._running()
        self._server = MemoryServer()
        self.clock = HarnessClock(loop, self._server)
        self._client = AsyncClient(self._server.connect())
        process = Process(loop, "worker")
        connection = AsyncClient(process.run(self._server.connect))
        doubles = list(self._doubles.values())
        worker = Worker(connection, doubles, worker_id="harness", ack_wait=_ACK_WAIT, lifespan=self._lifespan)
        await self._client.register_all(self._definitions)
        self._start_engine()
        open_plane(self._client.connection.ports, self._client, self._policy)
        self._worker = process.spawn(self._watched(worker.run()))

    def _start_engine(self) -> None:
        self._engine = Process(self._running(), "engine")
        connection = self._engine.run(self._server.connect)
        engine = Engine(connection.ports, connection.feeds, pace=_PACE, keep=None, granted=self._policy.grant)
        self._engine.spawn(self._watched(engine.run(alone=True)))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what must not end; when it raises, so does the test."""
        try:
            await work
        except Exception as error:  # noqa: BLE001  # whatever it is, the test raises it
            if not self._broken.done():
                self._broken.set_exception(error)

    def close(self) -> None:
        """End everything. Handlers under way are cancelled, as by a worker that ends. May be called again."""
        loop, self._loop = self._loop, None
        if loop is not None:
            with outside_of_loops():
                loop.run_until_complete(self._end())
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.close()

    async def _end(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if not self._broken.cancel():
            self._broken.exception()  # whether anybody has asked or not

    # -- what tests do ---------------------------------------------------------------------------------------

    def stub(
        self,
        task: str,
        function: Callable[..., Any] | None = None,
        *,
        returns: Any = None,
        raises: BaseException | type[BaseException] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer for a task type from now on, in the place of its handler.

        Args:
            task: The task type.
            function: Called as a handler would be, with `()`, `(input)`, `(ctx)` or `(input, ctx)`.
            returns: What is returned, when there is no function.
            raises: What is raised: `Abort`, `Retry`, or any other exception.
            times: For so many calls only; what was there before answers after that.

        Raises:
            NotFoundError: No step here asks for this task type, and no handler here serves it.
            DefinitionError: The function is none that could be a handler.
        """
        double = self._double(task)
        if function is None:
            double.put(Stub(answering(task, returns=returns, raises=raises), times))
        else:
            double.put(Stub(doubling(task, function, caller_names()), times))

    def calls(self, task: str) -> int:
        """How often a task type was called, its stubs included; each attempt counts. Raises NotFoundError."""
        return self._double(task).calls

    async def run(
        self,
        workflow: Workflow[Any, Any] | str,
        input: Any = None,
        *,
        run_id: str = "",
        within: timedelta = LONGEST,
    ) -> RunView:
        """Start a run and wait for its end, whatever it is.

        Raises:
            NotFoundError: No such workflow is here; or a step's task type has neither a handler nor a stub.
            ResultTimeout: It has not ended `within` that time, by the virtual clock.
        """
        run = await self.start(workflow, input, run_id=run_id)
        return await run.wait(within=within)

    async def start(self, workflow: Workflow[Any, Any] | str, input: Any = None, *, run_id: str = "") -> HarnessRun:
        """Start a run. It goes on while a call waits for it, or time is let pass by `advance`."""
        return HarnessRun(self, self.drive(self.client.start(workflow, input, run_id=run_id)))

    async def signal(self, run: HarnessRun | RunView | str, name: str, value: Any = None) -> None:
        """Send a run a signal. Raises ConflictError when it has ended."""
        self.drive(self._handle(run).signal(name, value))

    async def approve(
        self, run: HarnessRun | RunView | str, step: str = "", answer: Any = None, *, by: str = ""
    ) -> str:
        """Answer an approval with yes, and give its step; it need not be named when the run waits for one only.

        Raises:
            ConflictError: The step does not wait for an approval.
            InputError: The answer does not fit the approval's form.
        """
        return self.drive(self._handle(run).approve(step, answer, by=by))

    async def reject(self, run: HarnessRun | RunView | str, step: str = "", answer: Any = None, *, by: str = "") -> str:
        """Answer an approval with no, and give its step. Raises like `approve`."""
        return self.drive(self._handle(run).reject(step, answer, by=by))

    async def emit(self, type: str, body: Any = None) -> None:
        """Publish an event, for every run that waits for it."""
        self.drive(self.client.publish_event(type, body))

    def _handle(self, run: HarnessRun | RunView | str) -> RunHandle:
        return self.client.handle(run if isinstance(run, str) else run.run_id)

    async def advance(self, **duration: float) -> None:
        """Let time pass: `advance(hours=3)`, with the arguments of `timedelta`. What comes due meanwhile is done."""
        self.drive(asyncio.sleep(timedelta(**duration).total_seconds()))

    async def crash_engine(self) -> None:
        """Kill the engine between two instructions, and start another one."""
        self._engine.kill()
        self.drive(self._started())

    async def _started(self) -> None:
        self._start_engine()

    def drive(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, such as a call of `client`, on the harness's own loop, and everything else with it."""
        try:
            loop = self._running()
        except DagnatsError:
            work.close()  # nobody will await it
            raise
        with outside_of_loops():
            result = loop.run_until_complete(self._first(work))
        for task, double in self._doubles.items():
            if double.is_missing:
                double.is_missing = False
                raise NotFoundError("handler", task, hint=f"say what it does: h.stub({task!r}, returns=…)")
        return result

    async def _first(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, unless the engine or the worker breaks before."""
        task = asyncio.ensure_future(work)
        await asyncio.wait([task, self._broken], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            self._broken.result()
        return await task

    @property
    def client(self) -> AsyncClient:
        """The client, for what has no method here: `h.drive(h.client.versions("order"))`."""
        self._running()
        return self._client

    # -- what is here ----------------------------------------------------------------------------------------

    def _running(self) -> VirtualLoop:
        if self._loop is None:
            raise DagnatsError("the harness is not open", hint="use it in `async with Harness([…]) as h:`")
        return self._loop

    def _double(self, task: str) -> Double:
        if task not in self._doubles:
            raise NotFoundError("task type", task, near=near(task, list(self._doubles)))
        return self._doubles[task]


def _definition(served: Workflow[Any, Any] | WorkflowDef) -> WorkflowDef:
    return served.build() if isinstance(served, Workflow) else served


def _handlers(
    serves: Iterable[Workflow[Any, Any] | WorkflowDef | Handler[..., Any]],
) -> dict[str, Handler[..., Any]]:
    """The handlers by task type."""
    found: dict[str, Handler[..., Any]] = {}
    for each in serves:
        for handler in [each] if isinstance(each, Handler) else getattr(each, "handlers", ()):
            if found.setdefault(handler.task, handler) is not handler:
                raise ConflictError(
                    f"two handlers serve task type {handler.task!r}: {found[handler.task].source} and {handler.source}"
                )
    return found


def _doubles(definitions: Iterable[WorkflowDef], handlers: dict[str, Handler[..., Any]]) -> dict[str, Double]:
    """One for each task type that is served, or asked for."""
    asked = {step.task for definition in definitions for step in definition.steps if step.type in WORKER_RUN}
    return {task: Double(task, handlers.get(task)) for task in [*handlers, *sorted(asked - handlers.keys())]}
