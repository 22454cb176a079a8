"""Contexts for unit tests of handlers: what they are given is said beforehand, what they do is kept for asserting."""

from __future__ import annotations

import concurrent.futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import typing_extensions

from dagnats.errors import NotFoundError, RefusedError
from dagnats.handling.codec import codec_for
from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.operation import Kept
from dagnats.handling.value import written
from dagnats.model.check import load_definition
from dagnats.model.definition import WorkflowDef
from dagnats.model.identifier import near
from dagnats.runtime.ports import MOST_CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from datetime import datetime, timedelta

    from dagnats.handling.operation import Operations
    from dagnats.handling.plane import Budget
    from dagnats.handling.verdict import Verdict

T = TypeVar("T")
R = typing_extensions.TypeVar("R", default=Any)

_NOTHING: Any = object()
_plain = codec_for(Any)


@dataclass(kw_only=True)
class Given:
    """What a handler under test finds. Values are written as JSON and read as the type that is asked for.

    Attributes:
        run_input: What the run was started with.
        outputs: What the steps above have returned, by step.
        checkpoint: What an earlier attempt has stored; left out: nothing.
        heartbeat_details: What an earlier attempt gave to `heartbeat`; left out: nothing.
        signals: Names and values of the signals that have come, oldest first.
        resources: What the worker's `lifespan` gives.
        metadata: The step's.
        deadline: When the attempt's time is over.
        trace: The W3C `traceparent`.
        budget: What the control plane says is left; None: the step is granted none.
    """

    run_input: Any = None
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    checkpoint: Any = _NOTHING
    heartbeat_details: Any = _NOTHING
    signals: Sequence[tuple[str, Any]] = ()
    resources: Any = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    deadline: datetime | None = None
    trace: str = ""
    budget: Budget | None = None


class Started(NamedTuple):
    """A run that a handler has started: its workflow's name, its input, and the id that the handler was given."""

    workflow: str
    input: Any
    run_id: str


class Sent(NamedTuple):
    """A signal that a handler has sent."""

    run_id: str
    name: str
    value: Any


class Emitted(NamedTuple):
    """An event that a handler has published."""

    type: str
    body: Any


@dataclass
class Did:
    """What a handler under test has done, in order. Values are plain JSON values, as others would read them.

    Attributes:
        checkpoints: What it has stored.
        heartbeats: What it gave to `heartbeat`, all of it.
        progress: Fractions and messages.
        chunks: What it has streamed.
        events: What it has published.
        started: The runs it has started, by itself or by the control plane.
        registered: The workflows it has registered, as it gave them.
        signals: The signals it has sent.
    """

    checkpoints: list[Any] = field(default_factory=list[Any])
    heartbeats: list[Any] = field(default_factory=list[Any])
    progress: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    chunks: list[bytes] = field(default_factory=list[bytes])
    events: list[Emitted] = field(default_factory=list[Emitted])
    started: list[Started] = field(default_factory=list[Started])
    registered: list[WorkflowDef] = field(default_factory=list[WorkflowDef])
    signals: list[Sent] = field(default_factory=list[Sent])


class _Recorder:
    """`handling.Operations` in memory. Nothing in it waits."""

    verdict: Verdict | None = None

    def __init__(self, given: Given, did: Did) -> None:
        self._given = given
        self._did = did
        self._taken: set[int] = set()  # of the signals

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._given.metadata

    @property
    def deadline(self) -> datetime | None:
        return self._given.deadline

    @property
    def trace(self) -> str:
        return self._given.trace

    @property
    def resources(self) -> Any:
        return self._given.resources

    @property
    def control_plane(self) -> _Plane | None:
        return _Plane(self, self._given.budget, self._did) if self._given.budget is not None else None

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        call: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            work.send(None)
        except StopIteration as done:
            call.set_result(done.value)
        except Exception as error:  # noqa: BLE001  # whatever it is, the handler gets it
            call.set_exception(error)
        return call

    async def run_input(self) -> bytes:
        return written(self._given.run_input)

    async def output(self, step_id: str) -> bytes:
        if step_id not in self._given.outputs:
            raise NotFoundError(
                "step above", step_id, near=near(step_id, self._given.outputs), hint="Given(outputs={…}) says what is"
            )
        return written(self._given.outputs[step_id])

    async def start(self, workflow: str, input: bytes, key: str) -> str:
        run_id = f"started-{len(self._did.started) + 1}"
        self._did.started.append(Started(workflow, _plain.decode(input), run_id))
        return run_id

    async def heartbeat(self, details: bytes) -> None:
        self._did.heartbeats.append(_plain.decode(details))

    async def heartbeat_details(self) -> bytes:
        details = self._given.heartbeat_details
        return b"" if details is _NOTHING else written(details)

    async def progress(self, fraction: float, message: str) -> None:
        self._did.progress.append((fraction, message))

    async def checkpoint(self, value: bytes) -> None:
        self._did.checkpoints.append(_plain.decode(value))

    async def load_checkpoint(self) -> Kept | None:
        if self._did.checkpoints:
            return Kept(written(self._did.checkpoints[-1]))
        return None if self._given.checkpoint is _NOTHING else Kept(written(self._given.checkpoint))

    async def wait_for_signal(self, name: str, within: timedelta) -> bytes:
        for at, (known, value) in enumerate(self._given.signals):
            if known == name and at not in self._taken:
                self._taken.add(at)
                return written(value)
        raise TimeoutError(f"no signal {name!r} within {within.total_seconds():g} s")

    async def send_signal(self, run_id: str, name: str, value: bytes) -> None:
        self._did.signals.append(Sent(run_id, name, _plain.decode(value)))

    async def stream(self, chunk: bytes) -> int:
        if len(chunk) > MOST_CHUNK_BYTES:
            raise RefusedError(f"the chunk has {len(chunk)} bytes; at most {MOST_CHUNK_BYTES} are taken")
        self._did.chunks.append(chunk)
        return len(self._did.chunks) - 1

    async def emit_event(self, type: str, body: bytes, key: str) -> None:
        self._did.events.append(Emitted(type, _plain.decode(body)))

    async def waitpoint_token(self, step: str) -> str:
        return f"token-of-{step}"


class _Plane:
    """`handling.PlaneOperations` in memory: it says yes to all that can be built."""

    def __init__(self, recorder: _Recorder, budget: Budget, did: Did) -> None:
        self._recorder = recorder
        self._budget = budget
        self._did = did

    async def register(self, definition: bytes) -> str:
        registered = load_definition(definition)
        self._did.registered.append(registered)
        return f"agent.run-1.{registered.name}"

    async def start(self, workflow: str, input: bytes, key: str) -> str:
        return await self._recorder.start(workflow, input, key)

    async def budget(self) -> Budget:
        return self._budget


@dataclass(frozen=True)
class MockTaskContext(TaskContext[R]):
    """A context of no worker, for calling an async handler in a test. Everything a handler can ask works, in memory.

    `pause` raises `dagnats.testing.Paused`, and a signal that has not come is a TimeoutError at once. Set `stop.asked`
    to see the handler stop.

    Attributes:
        given: What the handler finds.
        did: What it has done.
        verdict: How it has ended its attempt by a call; None when it has not.
    """

    run_id: str = "run-1"
    step_id: str = "step"
    workflow: str = "workflow"
    task: str = "task"
    attempt: int = 1
    worker_id: str = "worker-1"
    given: Given = field(default_factory=Given, compare=False)
    did: Did = field(default_factory=Did, compare=False)

    def __post_init__(self) -> None:
        _attach(self, _Recorder(self.given, self.did))

    @property
    def verdict(self) -> Verdict | None:
        return self._operations.verdict


@dataclass(frozen=True)
class MockSyncTaskContext(SyncTaskContext[R]):
    """The same for a sync handler.

    Attributes:
        given: What the handler finds.
        did: What it has done.
        verdict: How it has ended its attempt by a call; None when it has not.
    """

    run_id: str = "run-1"
    step_id: str = "step"
    workflow: str = "workflow"
    task: str = "task"
    attempt: int = 1
    worker_id: str = "worker-1"
    given: Given = field(default_factory=Given, compare=False)
    did: Did = field(default_factory=Did, compare=False)

    def __post_init__(self) -> None:
        _attach(self, _Recorder(self.given, self.did))

    @property
    def verdict(self) -> Verdict | None:
        return self._operations.verdict


def _attach(context: object, operations: Operations) -> None:
    """Contexts are frozen for those who get them."""
    object.__setattr__(context, "operations", operations)
