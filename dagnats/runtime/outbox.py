"""Does what the core decided: every action becomes a message under the action's own id.

All messages of a batch are under way before the first acknowledgement is waited for. A refusal that no repetition can
cure becomes an event of its run, so that a person sees it there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

from dagnats.errors import RefusedError
from dagnats.model.event import Failure, Outcome, StepFailed, WorkflowFailed, encode_event
from dagnats.model.json import encode
from dagnats.model.task import Task, encode_task
from dagnats.runtime.core.action import AppendEvent, EndRun, EnqueueTask, SendDeadLetter, SetTimer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.engine")


class Outbox:
    """The way out of the engine."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def act(self, actions: Sequence[AnyAction]) -> None:
        """Return when everything is stored. A run's end comes after the run's other actions are."""
        busy = {action.run_id for action in actions if not isinstance(action, EndRun)}
        last = [action for action in actions if isinstance(action, EndRun) and action.run_id in busy]
        await self._send([action for action in actions if not isinstance(action, EndRun) or action.run_id not in busy])
        await self._send(last)

    async def _send(self, actions: Sequence[AnyAction]) -> None:
        under_way = [(action, self._message(action)) for action in actions]
        for action, stored in under_way:
            try:
                await stored
            except RefusedError as error:
                await self._refused(action, error)

    def _message(self, action: AnyAction) -> Awaitable[object]:
        ports = self._ports
        match action:
            case EnqueueTask():
                return ports.tasks.put(action.task, action.run_id, encode_task(_task(action)), id=action.id)
            case SetTimer():
                return ports.timers.set(action.run_id, due_ns=action.due_ns, seq=action.seq, id=action.id)
            case AppendEvent() | EndRun():
                return ports.log.append(action.run_id, encode_event(action.event), id=action.id)
            case SendDeadLetter():
                return self._dead_letter(action)
            case _:
                assert_never(action)

    def _dead_letter(self, action: SendDeadLetter) -> Awaitable[object]:
        task = Task(
            task_id=f"{action.run_id}.{action.step_id}",
            run_id=action.run_id,
            step_id=action.step_id,
            attempt=action.attempt,
            input=action.input,
        )
        headers = {
            "Dagnats-Dlq-Run-Id": action.run_id,
            "Dagnats-Dlq-Step-Id": action.step_id,
            "Dagnats-Dlq-Task": action.task,
            "Dagnats-Dlq-Error": action.failure.error,
            "Dagnats-Dlq-Attempts": str(action.attempt),
            "Dagnats-Dlq-Consumer": "TASK_QUEUES",
            "Dagnats-Dlq-Task-Subject": f"task.{action.task}.{action.run_id}",
        }
        subject = f"{action.task}.{action.run_id}.{action.step_id}"
        return self._ports.dead_letters.put(subject, encode_task(task), headers=headers, id=action.id)

    async def _refused(self, action: AnyAction, error: RefusedError) -> None:
        match action:
            case EnqueueTask():
                await self._append_refusal(action, _dispatch_refused(action, error))
            case EndRun():
                outcome = Outcome(error=f"the run's end could not be stored: {error}")
                event = WorkflowFailed(run_id=action.run_id, timestamp=action.event.timestamp, payload=outcome)
                await self._append_refusal(action, event)
            case SetTimer() | AppendEvent() | SendDeadLetter():
                # The history has what they say; without a timer the next event of the run applies its deadlines.
                log.error("run %s: %s was refused: %s", action.run_id, type(action).__name__, error)
            case _:
                assert_never(action)

    async def _append_refusal(self, action: AnyAction, event: StepFailed | WorkflowFailed) -> None:
        await self._ports.log.append(action.run_id, encode_event(event), id=f"{action.id}.refused")


def _task(action: EnqueueTask) -> Task:
    return Task(
        task_id=f"{action.run_id}.{action.step_id}",
        run_id=action.run_id,
        step_id=action.step_id,
        attempt=action.attempt,
        input=action.input,
        workflow_name=action.workflow,
        # Rounded up: a worker that gives up early would fail an attempt that still had time.
        timeout_ms=-(-action.timeout_ns // 1_000_000),
        traceparent=action.trace_parent,
    )


def _dispatch_refused(action: EnqueueTask, error: RefusedError) -> StepFailed:
    failure = Failure(
        error=f"the task could not be queued: {error}", failure_type="non_retriable", detail="dispatch_refused"
    )
    return StepFailed(
        run_id=action.run_id, step_id=action.step_id, attempt_number=action.attempt, payload=encode(failure)
    )
