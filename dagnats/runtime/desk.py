"""The worker's side of a context: everything that a handler asks for beyond its input, for one attempt."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from dagnats.errors import ConflictError, DecodeError
from dagnats.handling.operation import Kept
from dagnats.model.event import Consumed, SignalReceived, decode_event
from dagnats.model.json import NULL, carriable
from dagnats.model.trace import step_trace_parent
from dagnats.runtime.blob import resolved
from dagnats.runtime.checkpoint import load_checkpoint, save_checkpoint
from dagnats.runtime.past import Past
from dagnats.runtime.patience import persist
from dagnats.runtime.plane.petition import Petitions
from dagnats.runtime.pulse import Pulsing, refuse_details
from dagnats.runtime.telemetry.context import within

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from concurrent.futures import Future
    from datetime import timedelta

    from dagnats.handling.verdict import Verdict
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.task import Task
    from dagnats.runtime.ports import Ports

T = TypeVar("T")

_SIGNAL = f'{{"type":"{SignalReceived.__struct_config__.tag}"'.encode()
_consumed_decoder = msgspec.json.Decoder(Consumed)


class Reachable(Protocol):
    """A run, as a client gives it."""

    async def signal_json(self, name: str, payload: bytes) -> None: ...

    async def waitpoint_token(self, step: str) -> str: ...


class Started(Protocol):
    """A run that was started."""

    @property
    def run_id(self) -> str: ...


class Caller(Protocol):
    """A client, seen from here: what handlers ask of other runs."""

    async def workflow(self, name: str) -> WorkflowDef: ...

    async def start_json(self, definition: WorkflowDef, input: bytes, *, run_id: str = "", by: str = "") -> Started: ...

    def handle(self, run_id: str) -> Reachable: ...

    async def publish_event_json(self, type: str, body: bytes, *, id: str = "") -> int: ...


class Desk:
    """`handling.Operations` for one attempt. Made for every handler that takes a context: it does nothing until asked.

    Args:
        ports: Where everything is.
        caller: Who starts runs and sends signals.
        resources: What the worker's `lifespan` gave.
        task: The attempt.
    """

    __slots__ = (
        "_begun_ns",
        "_caller",
        "_calls",
        "_consumed",
        "_loop",
        "_past",
        "_petitions",
        "_ports",
        "_pulsing",
        "_task",
        "resources",
        "verdict",
    )  # fmt: skip

    def __init__(self, ports: Ports, caller: Caller, resources: Any, task: Task) -> None:
        self._ports = ports
        self._caller = caller
        self._task = task
        self._begun_ns = ports.clock.now_ns() if task.timeout_ms else 0
        self._loop = asyncio.get_running_loop()
        self._calls = 0
        self._past: Past | None = None
        self._pulsing: Pulsing | None = None
        self._consumed: Consumed | None = None
        self.resources = resources
        self._petitions: Petitions | None = None
        self.verdict: Verdict | None = None

    # -- what is known -------------------------------------------------------------------------------------------

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._task.metadata

    @property
    def deadline(self) -> datetime | None:
        task = self._task
        ends = [task.deadline * 1_000_000] if task.deadline else []
        if task.timeout_ms:
            ends.append(self._begun_ns + task.timeout_ms * 1_000_000)
        return datetime.fromtimestamp(min(ends) / 1e9, UTC) if ends else None

    @property
    def trace(self) -> str:
        task = self._task
        return step_trace_parent(task.traceparent, task.run_id, task.step_id, task.attempt)

    @property
    def control_plane(self) -> Petitions | None:
        if self._petitions is None and self._task.dispatch_nonce:
            self._petitions = Petitions(self._ports.inquiries, self._task, self._call)
        return self._petitions

    @property
    def consumed(self) -> Consumed:
        """The newest signal of each name that was taken, by the attempts before and by this one."""
        return self._task.consumed if self._consumed is None else self._consumed

    # -- for the worker ------------------------------------------------------------------------------------------

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def close(self) -> None:
        """The handler has ended."""
        if self._pulsing is not None:
            await self._pulsing.close()

    def leave(self) -> None:
        """Nobody waits for the attempt any more."""
        if self._pulsing is not None:
            self._pulsing.leave()

    # -- the run -------------------------------------------------------------------------------------------------

    async def run_input(self) -> bytes:
        return await self._the_past().run_input()

    async def output(self, step_id: str) -> bytes:
        return await self._the_past().output(step_id)

    def _the_past(self) -> Past:
        if self._past is None:
            self._past = Past(self._ports, self._task.run_id, self._task.step_id)
        return self._past

    # -- how far it is -------------------------------------------------------------------------------------------

    async def heartbeat(self, details: bytes) -> None:
        refuse_details(details)
        await self._the_pulse().say(details=msgspec.Raw(details))

    async def heartbeat_details(self) -> bytes:
        return bytes((await self._the_pulse().before()).details)

    async def progress(self, fraction: float, message: str) -> None:
        await self._the_pulse().say(fraction=fraction, message=message)

    def _the_pulse(self) -> Pulsing:
        if self._pulsing is None:
            self._pulsing = Pulsing(self._ports, self._task)
        return self._pulsing

    async def checkpoint(self, value: bytes) -> None:
        task = self._task
        note = msgspec.json.encode(self._consumed) if self._consumed else None
        await save_checkpoint(self._ports, task.run_id, task.step_id, value, attempt=task.attempt, note=note)

    async def load_checkpoint(self) -> Kept | None:
        held = await load_checkpoint(self._ports, self._task.run_id, self._task.step_id)
        return Kept(held.data, foreign=not held.attempt) if held is not None else None

    # -- other runs ----------------------------------------------------------------------------------------------

    async def start(self, workflow: str, input: bytes, key: str) -> str:
        run_id = hashlib.sha256(self._call("start", key).encode()).hexdigest()[:32]
        by = f"step {self._task.step_id} of run {self._task.run_id}"
        definition = await persist(lambda: self._caller.workflow(workflow))
        try:
            with within(self.trace):
                await persist(lambda: self._caller.start_json(definition, input, run_id=run_id, by=by))
        except ConflictError:  # an earlier attempt has begun it, with another input
            if not await persist(lambda: self._ports.log.first(run_id)):
                raise
        return run_id

    async def send_signal(self, run_id: str, name: str, value: bytes) -> None:
        await persist(lambda: self._caller.handle(run_id).signal_json(name, value))

    async def emit_event(self, type: str, body: bytes, key: str) -> None:
        id = self._call("emit", key)
        await persist(lambda: self._caller.publish_event_json(type, body, id=id))

    async def waitpoint_token(self, step: str) -> str:
        return await persist(lambda: self._caller.handle(self._task.run_id).waitpoint_token(step))

    def _call(self, kind: str, key: str) -> str:
        """A name for the next call, or for the one of a key, the same in every attempt."""
        task = self._task
        if key:
            which = f"key-{hashlib.sha256(carriable(key).encode()).hexdigest()[:32]}"
        else:
            self._calls += 1
            which = str(self._calls)
        return f"{task.run_id}.{task.step_id}.{task.iteration}.{kind}.{which}"

    # -- signals and chunks --------------------------------------------------------------------------------------

    async def wait_for_signal(self, name: str, within: timedelta) -> bytes:
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self._signal(name)
        except TimeoutError:
            raise TimeoutError(f"no signal {name!r} within {within.total_seconds():g} s") from None

    async def _signal(self, name: str) -> bytes:
        taken = await self._taken()
        async with aclosing(self._ports.log.watch(self._task.run_id, after=taken.get(name, 0))) as entries:
            async for entry in entries:
                signal = _signal(entry.data)
                # Another wait of this handler may have taken it since.
                if signal is not None and signal.name == name and entry.seq > taken.get(name, 0):
                    taken[name] = entry.seq
                    return await persist(lambda: resolved(self._ports, bytes(signal.payload or NULL)))  # noqa: B023
        raise AssertionError("a watch does not end")

    async def _taken(self) -> Consumed:
        """What this attempt goes on from: what earlier results say, and what is noted with the checkpoint."""
        if self._consumed is None:
            held = await persist(lambda: self._ports.checkpoints.load(self._task.run_id, self._task.step_id))
            noted = _noted(held.note) if held is not None else {}
            if self._consumed is None:
                known = self._task.consumed
                self._consumed = {name: max(known.get(name, 0), noted.get(name, 0)) for name in {**known, **noted}}
        return self._consumed

    async def stream(self, chunk: bytes) -> int:
        task = self._task
        return await self._ports.chunks.append(task.run_id, task.step_id, chunk, attempt=task.attempt)


def _signal(data: bytes) -> SignalReceived | None:
    if not data.startswith(_SIGNAL):
        return None
    try:
        event = decode_event(data)
    except DecodeError:
        return None
    return event if isinstance(event, SignalReceived) else None


def _noted(note: bytes) -> Consumed:
    try:
        return _consumed_decoder.decode(note) if note else {}
    except (msgspec.DecodeError, UnicodeDecodeError):  # of a later version
        return {}
