"""What a worker tells the log about its attempts: begun, alive, given back, completed, failed."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import RefusedError
from dagnats.model.event import (
    NOTHING,
    Consumed,
    Failure,
    StepCompleted,
    StepContinued,
    StepFailed,
    StepHeartbeat,
    StepPaused,
    StepReleased,
    StepStarted,
    encode_event,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import encode
from dagnats.runtime.blob import INLINE_BYTES, offloaded, refuse
from dagnats.runtime.patience import persist
from dagnats.runtime.record import decoded
from dagnats.runtime.reuse import said

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.model.task import Task
    from dagnats.runtime.ports import Ports, Receipt

_NONE: Consumed = {}
_RESULT = "the result"

_LONGEST_ERROR = 16_384  # characters: people read it, and each view of its run has it

MOST_DELIVERIES = 4  # from here on the attempt fails unrun: it keeps taking its workers down


class Reporter:
    """One worker's voice."""

    def __init__(self, ports: Ports, worker_id: str) -> None:
        self._ports = ports
        self._log = ports.log
        self._clock = ports.clock
        self._worker_id = worker_id

    async def begun(self, task: Task) -> None:
        """The attempt runs; its timeout counts from here."""
        await self._tell(task, StepStarted)

    def given_back(self, task: Task) -> None:
        """The attempt goes back unfinished. Sent, not waited for: the worker is on its way out."""
        self._tell(task, StepReleased)

    async def alive(self, task: Task) -> None:
        """The attempt is alive. Cancel it when that is said anew."""
        with suppress(RefusedError):  # silence has its consequences without us
            await self._tell(task, StepHeartbeat)

    def completed(self, task: Task, output: bytes, *, started_ns: int, consumed: Consumed = _NONE) -> Awaitable[None]:
        """The handler returned. An output that cannot be carried becomes a failure that says so.

        `started_ns` is 0 when the start was announced; `consumed` are the signals that the handler has taken.
        """
        return self._gave(task, StepCompleted, output, started_ns, consumed)

    def continued(self, task: Task, input: bytes, *, started_ns: int, consumed: Consumed = _NONE) -> Awaitable[None]:
        """The handler asks for another turn, with `input` when that is not empty. Otherwise like `completed`."""
        return self._gave(task, StepContinued, input, started_ns, consumed)

    async def paused(self, task: Task, delay_ms: int, *, started_ns: int, consumed: Consumed = _NONE) -> None:
        """The handler lets its step rest."""
        event = StepPaused(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self._worker_id,
            timestamp=self._now(),
            trace_parent=task.traceparent,
            delay_ms=delay_ms,
            started_at=rfc3339(started_ns) if started_ns else "",
            consumed=consumed,
        )
        await said(self._ports, task, encode_event(event), _id(task, "step.paused"))

    async def _gave(
        self,
        task: Task,
        kind: type[StepCompleted | StepContinued],
        value: bytes,
        started_ns: int,
        consumed: Consumed,
    ) -> None:
        try:
            refuse(value, what=_RESULT)
            if len(value) > INLINE_BYTES:  # it is stored before the event that refers to it
                value = await offloaded(self._ports, task.run_id, value, what=_RESULT)
            await self._say(task, kind, value, started_ns, consumed)
        except RefusedError as error:
            failure = Failure(error=f"the result could not be stored: {error}", failure_type="non_retriable")
            await self.failed(task, failure, started_ns=started_ns)

    def _say(
        self,
        task: Task,
        kind: type[StepCompleted | StepContinued],
        payload: bytes,
        started_ns: int,
        consumed: Consumed,
    ) -> Awaitable[Receipt]:
        event = kind(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self._worker_id,
            timestamp=self._now(),
            trace_parent=task.traceparent,
            payload=msgspec.Raw(payload) if payload else NOTHING,
            started_at=rfc3339(started_ns) if started_ns else "",
            consumed=consumed,
        )
        event_id = _id(task, str(kind.__struct_config__.tag))
        return said(self._ports, task, encode_event(event), event_id)

    async def failed(self, task: Task, failure: Failure, *, started_ns: int = 0) -> None:
        """The attempt failed. An error text that is too long is cut, and more of it where the log will not take it."""
        failure = shortened(failure)
        try:
            await self._failed(task, failure, started_ns)
        except RefusedError:
            cut = msgspec.structs.replace(failure, error=f"{failure.error[:1_000]}…")
            await self._failed(task, cut, started_ns)

    async def gave_up(self, task: Task, deliveries: int) -> bool:
        """Whether an attempt was failed unrun, because it keeps taking its workers down."""
        if deliveries < MOST_DELIVERIES:
            return False
        lost = await self.lost_workers(task)
        if lost < MOST_DELIVERIES - 1:
            return False
        given_up = f"given up: {lost} workers were lost while they ran this attempt"
        await self.failed(task, Failure(error=given_up, detail="worker_lost"))
        return True

    async def lost_workers(self, task: Task) -> int:
        """How many workers began this attempt and neither answered it nor gave it back."""
        count = 0
        for record in decoded(await persist(lambda: self._log.read(task.run_id))):
            event = record.event
            if not isinstance(event, StepStarted | StepReleased):
                continue
            if (event.step_id, event.attempt_number) == (task.step_id, task.attempt):
                count += 1 if isinstance(event, StepStarted) else -1
        return count

    def _failed(self, task: Task, failure: Failure, started_ns: int) -> Awaitable[Receipt]:
        event = StepFailed(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self._worker_id,
            timestamp=self._now(),
            trace_parent=task.traceparent,
            payload=encode(failure),
            started_at=rfc3339(started_ns) if started_ns else "",
        )
        return said(self._ports, task, encode_event(event), _id(task, "step.failed"))

    def _tell(self, task: Task, kind: type[StepStarted | StepReleased | StepHeartbeat]) -> Awaitable[Receipt]:
        event = kind(
            run_id=task.run_id,
            step_id=task.step_id,
            attempt_number=task.attempt,
            worker_id=self._worker_id,
            timestamp=self._now(),
            trace_parent=task.traceparent,
        )
        # Every delivery that runs begins, beats and may go back on its own.
        event_id = f"{_id(task, str(kind.__struct_config__.tag))}.{secrets.token_hex(4)}"
        return self._log.append(task.run_id, encode_event(event), id=event_id)

    def _now(self) -> str:
        """This machine's time, as events carry it."""
        return rfc3339(self._clock.now_ns())


def shortened(failure: Failure) -> Failure:
    """A failure as it is stored: an error text that is too long is cut."""
    if len(failure.error) <= _LONGEST_ERROR:
        return failure
    return msgspec.structs.replace(failure, error=f"{failure.error[:_LONGEST_ERROR]}…")


def _id(task: Task, event_type: str) -> str:
    """The id that Go workers use: one result of each type per attempt."""
    attempt = f".{task.attempt}" if task.attempt else ""
    plain = f"{task.run_id}.{task.step_id}.{event_type}{attempt}"
    return f"{plain}.{task.epoch}" if task.epoch else plain
