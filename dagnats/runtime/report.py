"""What a worker tells the log about its attempts: begun, given back, completed, failed."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import RefusedError
from dagnats.model.event import (
    Failure,
    StepCompleted,
    StepFailed,
    StepReleased,
    StepStarted,
    encode_event,
    event_type,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import encode
from dagnats.runtime.patience import persist
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.model.task import Task
    from dagnats.runtime.ports import Log


START_AFTER_S = 0.05  # attempts that end sooner carry their start in the result: one event fewer


class Reporter:
    """One worker's voice."""

    def __init__(self, log: Log, worker_id: str) -> None:
        self._log = log
        self._worker_id = worker_id

    async def begun(self, task: Task) -> None:
        """The attempt runs; its timeout counts from here."""
        await self._send(StepStarted(**self._about(task)))

    def given_back(self, task: Task) -> None:
        """The attempt goes back unfinished. Sent, not waited for: the worker is on its way out."""
        self._send(StepReleased(**self._about(task)))

    async def completed(self, task: Task, output: bytes, *, started_at: str) -> None:
        """The handler returned. An output the log will not take becomes a failure that says so."""
        event = StepCompleted(**self._about(task), payload=msgspec.Raw(output), started_at=started_at)
        try:
            await self._send(event)
        except RefusedError as error:
            failure = Failure(error=f"the result could not be stored: {error}", failure_type="non_retriable")
            await self.failed(task, failure, started_at=started_at)

    async def failed(self, task: Task, failure: Failure, *, started_at: str = "") -> None:
        """The attempt failed. An error text the log will not take is cut."""
        event = StepFailed(**self._about(task), payload=encode(failure), started_at=started_at)
        try:
            await self._send(event)
        except RefusedError:
            cut = msgspec.structs.replace(failure, error=f"{failure.error[:1_000]}…")
            await self._send(StepFailed(**self._about(task), payload=encode(cut), started_at=started_at))

    async def lost_workers(self, task: Task) -> int:
        """How many workers began this attempt and neither answered it nor gave it back."""
        count = 0
        for _, _, event in decoded(await persist(lambda: self._log.read(task.run_id))):
            if not isinstance(event, StepStarted | StepReleased):
                continue
            if (event.step_id, event.attempt_number) == (task.step_id, task.attempt):
                count += 1 if isinstance(event, StepStarted) else -1
        return count

    def _about(self, task: Task) -> dict[str, Any]:
        return {
            "run_id": task.run_id,
            "step_id": task.step_id,
            "attempt_number": task.attempt,
            "worker_id": self._worker_id,
            "timestamp": now(),
            "trace_parent": task.traceparent,
        }

    def _send(self, event: StepStarted | StepReleased | StepCompleted | StepFailed) -> Awaitable[object]:
        # The id that Go workers use: one event of each type per attempt.
        event_id = f"{event.run_id}.{event.step_id}.{event_type(event)}.{event.attempt_number}"
        if isinstance(event, StepStarted | StepReleased):
            event_id += f".{secrets.token_hex(4)}"  # every delivery that runs begins, and may go back, on its own
        return self._log.append(event.run_id, encode_event(event), id=event_id)


class Start:
    """The start of an attempt: announced at once, after a while, or folded into a fast result."""

    def __init__(self, report: Reporter, task: Task, *, at_once: bool) -> None:
        self._report = report
        self._task = task
        self._at_once = at_once
        self._announcing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.unsent = ""

    async def begin(self) -> None:
        if self._at_once:
            await self._report.begun(self._task)
            return
        self.unsent = now()
        self._timer = asyncio.get_running_loop().call_later(START_AFTER_S, self._announce)

    def _announce(self) -> None:
        self.unsent = ""
        self._announcing = asyncio.create_task(self._report.begun(self._task))

    async def end(self) -> None:
        """Before the result goes out: an announcement under way comes first."""
        if self._timer is not None:
            self._timer.cancel()
        if self._announcing is not None:
            await self._announcing


def now() -> str:
    """This machine's time, as events carry it."""
    return rfc3339(time.time_ns())
