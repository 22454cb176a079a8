"""What a handler is told about the attempt it works on, and what it can do besides returning."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Never, Protocol, TypeVar, overload

import typing_extensions

from dagnats.handling.loop import Continue
from dagnats.handling.plane import ControlPlane, SyncControlPlane
from dagnats.handling.value import read, written
from dagnats.handling.verdict import (
    LONGEST_RETRY,
    SHORTEST_RETRY,
    Paused,
    SaidTwice,
    Verdict,
    duration,
    resting,
    waiting,
)
from dagnats.model.json import carriable

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, MutableMapping
    from datetime import datetime

    from dagnats.handling.operation import Kept, Operations

T = TypeVar("T")
R = typing_extensions.TypeVar("R", default=Any)
"""What the worker's `lifespan` gives: `TaskContext[Resources]`."""


class HasName(Protocol):
    """A workflow, seen from here."""

    @property
    def name(self) -> str: ...


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the attempt's ids to every record, as `extra` and as a prefix people can read."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        ids = self.extra or {}
        kwargs["extra"] = {**ids, **kwargs.get("extra", {})}
        return f"[run_id={ids['run_id']} step={ids['step_id']}] {msg}", kwargs


class Stop:
    """Whether an attempt has to stop. The worker sets it, once; contexts show it, in whatever thread they are.

    Attributes:
        calls: What threads wait for: it is cancelled when they have to stop.
    """

    __slots__ = ("_asked", "calls")

    def __init__(self) -> None:
        self._asked = False
        self.calls: set[concurrent.futures.Future[Any]] = set()

    @property
    def asked(self) -> bool:
        return self._asked

    @asked.setter
    def asked(self, asked: bool) -> None:
        self._asked = asked
        if asked:
            for call in list(self.calls):
                call.cancel()


@dataclass(frozen=True, slots=True)
class _Context(Generic[R]):
    run_id: str
    step_id: str
    workflow: str
    task: str
    attempt: int
    worker_id: str
    stop: Stop = field(default_factory=Stop, repr=False, compare=False)
    iteration: int = 0
    previous: Any = None
    operations: Operations | None = field(default=None, repr=False, compare=False)

    @property
    def is_cancelled(self) -> bool:
        return self.stop.asked

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        # Made when it is asked for: most attempts say nothing, and it costs as much as the rest of a context.
        ids = {"run_id": self.run_id, "step_id": self.step_id, "attempt": self.attempt, "workflow": self.workflow}
        if self.operations is not None:
            ids["trace_parent"] = self.operations.trace
        return _RunLogger(logging.getLogger(f"dagnats.task.{self.task}"), ids)

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._operations.metadata

    @property
    def deadline(self) -> datetime | None:
        return self._operations.deadline

    @property
    def trace(self) -> str:
        return self._operations.trace

    @property
    def resources(self) -> R:
        return self._operations.resources

    def complete(self, output: Any = None) -> None:
        """End the step with this output, instead of returning it."""
        self._say(Verdict("completed", output))

    def fail(self, error: str | BaseException) -> None:
        """Fail the attempt; the step's retry policy follows."""
        self._say(Verdict("retriable", error=error))

    def fail_permanent(self, error: str | BaseException) -> None:
        """Fail the step for good."""
        self._say(Verdict("non_retriable", error=error))

    def fail_retry_after(self, error: str | BaseException, after: timedelta | str) -> None:
        """Fail the attempt; the next one begins so much later: a tenth of a second at least, an hour at most."""
        length = min(max(duration(after, "after"), SHORTEST_RETRY), LONGEST_RETRY)
        self._say(Verdict("retry_after", error=error, after=length))

    def continue_(self, *value: Any) -> None:
        """Ask for another turn of an agent loop, with another input when one is given."""
        if len(value) > 1:
            raise TypeError(f"continue_ takes one value at most, not {len(value)}")
        turn: Continue[Any] = Continue(value[0]) if value else Continue()
        self._say(Verdict("continued", turn))

    def _say(self, verdict: Verdict) -> None:
        said = self._operations.verdict
        if said is not None:
            raise SaidTwice(f"the handler has ended its attempt twice: {said.kind}, then {verdict.kind}")
        self._operations.verdict = verdict

    @property
    def _operations(self) -> Operations:
        if self.operations is None:
            raise RuntimeError(
                f"this {type(self).__name__} belongs to no worker: use MockTaskContext of dagnats.testing in a test"
            )
        return self.operations


class TaskContext(_Context[R]):
    """The context of an async handler: take it as the last positional parameter, annotated with this class.

    Whatever it does may raise a DagnatsError. None of it is lost with a connection: it waits until NATS answers.

    Attributes:
        run_id: The run this attempt belongs to.
        step_id: The step.
        workflow: The workflow's name.
        task: The task type.
        attempt: 1 for the first try; grows with every retry.
        worker_id: The worker that runs it.
        stop: The worker's; a test may set `stop.asked` to see its handler stop.
        iteration: Which turn of an agent loop it is, from 0. It does not grow with a retry.
        previous: What the turn before gave to `Continue`, as JSON reads; None in the first one.
        operations: The worker's side of it.
        is_cancelled: Whether nobody wants the result any more: the run was cancelled, the step's time is over, the
            worker ends. The handler hears of it by `asyncio.CancelledError`, and has a while to clean up.
        logger: Bound with these ids.
        metadata: The step's, from the definition.
        deadline: When the attempt's time, or the run's, is over, in UTC; None for never.
        trace: The W3C `traceparent` of this attempt, in the trace of the run.
        resources: What the worker's `lifespan` gave.
        control_plane: Registers workflows and starts runs of them; None where the step is granted none.
    """

    __slots__ = ()

    @property
    def control_plane(self) -> ControlPlane | None:
        operations = self._operations.control_plane
        return ControlPlane(operations) if operations is not None else None

    @overload
    async def run_input(self, type: type[T]) -> T: ...
    @overload
    async def run_input(self, type: Any = Any) -> Any: ...

    async def run_input(self, type: Any = Any) -> Any:
        """What the run was started with."""
        return read(await self._operations.run_input(), type, "the run's input")

    @overload
    async def output(self, step: str, type: type[T]) -> T: ...
    @overload
    async def output(self, step: str, type: Any = Any) -> Any: ...

    async def output(self, step: str, type: Any = Any) -> Any:
        """What a step has returned that this one comes after, directly or not; None when it was skipped.

        Raises:
            NotFoundError: This step comes after no such step.
        """
        return read(await self._operations.output(step), type, f"the output of step {step!r}")

    async def start(self, workflow: HasName | str, input: Any = None, *, key: str = "") -> str:
        """Start a run of a registered workflow, which goes on by itself, and give its id.

        An attempt that is repeated finds the run that its first start began: the id follows from the run, the step,
        the turn, and which call it is. So a handler must not change the order of its calls, or has to give keys.

        Args:
            workflow: Which one.
            input: Any value with a JSON form.
            key: Which start of this step's it is, in place of its number: for a handler that goes on from a
                checkpoint, and so does not repeat all of its calls.
        """
        name = workflow if isinstance(workflow, str) else workflow.name
        return await self._operations.start(name, written(input), key)

    async def heartbeat(self, details: Any = None) -> None:
        """Say how far this attempt is, for people and for the next attempt. Stored once a second at most.

        Nothing depends on it: the worker tells by itself that the handler is alive.
        """
        await self._operations.heartbeat(written(details))

    @overload
    async def heartbeat_details(self, type: type[T]) -> T | None: ...
    @overload
    async def heartbeat_details(self, type: Any = Any) -> Any: ...

    async def heartbeat_details(self, type: Any = Any) -> Any:
        """The last that an earlier attempt gave to `heartbeat`; None for nothing."""
        data = await self._operations.heartbeat_details()
        return read(data, type, "what the last attempt gave to heartbeat") if data else None

    async def progress(self, fraction: float, message: str = "") -> None:
        """Say, for people, how much is done: from 0 to 1. Stored once a second at most."""
        await self._operations.progress(_fraction(fraction), carriable(str(message)))

    async def checkpoint(self, value: Any) -> None:
        """Store a value for whoever runs this step next: another attempt, another worker, the next turn.

        Raises:
            ConflictError: A later attempt has stored one: this one is over.
            RefusedError: It is larger than 64 MiB.
        """
        await self._operations.checkpoint(written(value))

    @overload
    async def load_checkpoint(self, type: type[T]) -> T | None: ...
    @overload
    async def load_checkpoint(self, type: Any = Any) -> Any: ...

    async def load_checkpoint(self, type: Any = Any) -> Any:
        """The last checkpoint of this step; None when there is none."""
        return _checkpoint(await self._operations.load_checkpoint(), type)

    async def pause(self, delay: timedelta | str) -> Never:
        """End the attempt, and begin the handler from its top after `delay`: the same try, with its checkpoint.

        It holds no slot meanwhile. Never returns: it raises what no `except Exception` catches.

        Raises:
            ValueError: The delay is longer than 30 days.
        """
        raise Paused(resting(delay))

    @overload
    async def wait_for_signal(self, name: str, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...
    @overload
    async def wait_for_signal(self, name: str, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any: ...

    async def wait_for_signal(self, name: str, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any:
        """The oldest signal of a name that this step has not taken, one that came before included.

        The handler holds its slot meanwhile. That a signal is taken is stored with the next checkpoint, or the
        result: an attempt that fails before gives it to the next one.

        Args:
            name: The signal's.
            type: What it is read as.
            timeout: How long to wait: an hour at most, and when left out.

        Raises:
            TimeoutError: None has come.
            ValueError: The timeout is longer than an hour.
        """
        return read(await self._operations.wait_for_signal(name, waiting(timeout)), type, f"signal {name!r}")

    async def send_signal(self, run_id: str, name: str, value: Any = None) -> None:
        """Send another run a signal. Raises NotFoundError, and ConflictError when it has ended."""
        await self._operations.send_signal(run_id, name, written(value))

    async def stream(self, chunk: bytes | str) -> int:
        """Add a chunk to what the step streams, for whoever follows it, and give its offset, from 0.

        Raises:
            RefusedError: It is larger than 256 KiB.
        """
        return await self._operations.stream(_chunk(chunk))

    async def emit_event(self, type: str, body: Any = None, *, key: str = "") -> None:
        """Publish an event, for the runs that wait for it. An attempt that is repeated soon does not repeat it.

        `key` says which of this step's events it is: see `start`.
        """
        await self._operations.emit_event(type, written(body), key)

    async def waitpoint_token(self, step: str) -> str:
        """A token for somebody who may bring what a step of this run waits for, once; also before that step begins.

        It is the only thing that whoever has it needs: `POST /v1/waitpoints/{token}/complete`. So keep it secret. Asked
        for again it is the same. An event is kept until its wait begins; an approval has to be asked for first.

        Args:
            step: A `wait_for_event` or an `approval`.

        Raises:
            NotFoundError: The run has no such step.
            ConflictError: The step waits for nobody, or not any more.
        """
        return await self._operations.waitpoint_token(step)


class SyncTaskContext(_Context[R]):
    """The same for a sync handler, which runs in a thread: its methods block.

    Nothing can interrupt a thread: a handler that takes long looks at `is_cancelled` now and then, and returns. A
    method that waits, or is called then, raises `asyncio.CancelledError`.
    """

    __slots__ = ()

    @property
    def control_plane(self) -> SyncControlPlane | None:
        operations = self._operations.control_plane
        return SyncControlPlane(operations, self._wait) if operations is not None else None

    @overload
    def run_input(self, type: type[T]) -> T: ...
    @overload
    def run_input(self, type: Any = Any) -> Any: ...

    def run_input(self, type: Any = Any) -> Any:
        """As `TaskContext.run_input`."""
        return read(self._wait(self._operations.run_input()), type, "the run's input")

    @overload
    def output(self, step: str, type: type[T]) -> T: ...
    @overload
    def output(self, step: str, type: Any = Any) -> Any: ...

    def output(self, step: str, type: Any = Any) -> Any:
        """As `TaskContext.output`."""
        return read(self._wait(self._operations.output(step)), type, f"the output of step {step!r}")

    def start(self, workflow: HasName | str, input: Any = None, *, key: str = "") -> str:
        """As `TaskContext.start`."""
        name = workflow if isinstance(workflow, str) else workflow.name
        return self._wait(self._operations.start(name, written(input), key))

    def heartbeat(self, details: Any = None) -> None:
        """As `TaskContext.heartbeat`."""
        self._wait(self._operations.heartbeat(written(details)))

    @overload
    def heartbeat_details(self, type: type[T]) -> T | None: ...
    @overload
    def heartbeat_details(self, type: Any = Any) -> Any: ...

    def heartbeat_details(self, type: Any = Any) -> Any:
        """As `TaskContext.heartbeat_details`."""
        data = self._wait(self._operations.heartbeat_details())
        return read(data, type, "what the last attempt gave to heartbeat") if data else None

    def progress(self, fraction: float, message: str = "") -> None:
        """As `TaskContext.progress`."""
        self._wait(self._operations.progress(_fraction(fraction), carriable(str(message))))

    def checkpoint(self, value: Any) -> None:
        """As `TaskContext.checkpoint`."""
        self._wait(self._operations.checkpoint(written(value)))

    @overload
    def load_checkpoint(self, type: type[T]) -> T | None: ...
    @overload
    def load_checkpoint(self, type: Any = Any) -> Any: ...

    def load_checkpoint(self, type: Any = Any) -> Any:
        """As `TaskContext.load_checkpoint`."""
        return _checkpoint(self._wait(self._operations.load_checkpoint()), type)

    def pause(self, delay: timedelta | str) -> Never:
        """As `TaskContext.pause`."""
        raise Paused(resting(delay))

    @overload
    def wait_for_signal(self, name: str, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...
    @overload
    def wait_for_signal(self, name: str, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any: ...

    def wait_for_signal(self, name: str, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any:
        """As `TaskContext.wait_for_signal`."""
        data = self._wait(self._operations.wait_for_signal(name, waiting(timeout)))
        return read(data, type, f"signal {name!r}")

    def send_signal(self, run_id: str, name: str, value: Any = None) -> None:
        """As `TaskContext.send_signal`."""
        self._wait(self._operations.send_signal(run_id, name, written(value)))

    def stream(self, chunk: bytes | str) -> int:
        """As `TaskContext.stream`."""
        return self._wait(self._operations.stream(_chunk(chunk)))

    def emit_event(self, type: str, body: Any = None, *, key: str = "") -> None:
        """As `TaskContext.emit_event`."""
        self._wait(self._operations.emit_event(type, written(body), key))

    def waitpoint_token(self, step: str) -> str:
        """As `TaskContext.waitpoint_token`."""
        return self._wait(self._operations.waitpoint_token(step))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the worker's loop do it, and wait here."""
        if self.stop.asked:
            work.close()
            raise asyncio.CancelledError("the attempt has to stop")
        call = self._operations.submit(work)
        self.stop.calls.add(call)
        try:
            if self.stop.asked:  # meanwhile
                call.cancel()
            return call.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError("the attempt has to stop") from None
        finally:
            self.stop.calls.discard(call)


def _fraction(fraction: float) -> float:
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction is {fraction!r}; it is from 0 to 1")
    return float(fraction)


def _chunk(chunk: bytes | str) -> bytes:
    if isinstance(chunk, str):
        return carriable(chunk).encode()
    if not isinstance(chunk, bytes | bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"a chunk is bytes or text, not {type(chunk).__name__}: stream json.dumps(…) of it")
    return bytes(chunk)


def _checkpoint(kept: Kept | None, type: Any) -> Any:
    if kept is None:
        return None
    if kept.foreign and type is bytes:  # as a Go worker stores them: any bytes
        return kept.data
    return read(kept.data, type, "the checkpoint")
