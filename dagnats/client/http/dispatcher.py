"""Who works, at what, and how much at a time: a part of `HttpClient`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.document.queue import QueueDocument, queue_of
from dagnats.client.document.workflow import WorkflowLimitsDocument, limits_of
from dagnats.client.http.read import read
from dagnats.client.http.wire import path_of
from dagnats.client.queue import positive, run_limits
from dagnats.dsl.duration import duration_text
from dagnats.model.trigger_type import TriggerTypeView
from dagnats.model.worker import WorkerEntry

if TYPE_CHECKING:
    from datetime import timedelta

    from dagnats.client.http.wire import Wire
    from dagnats.client.queue import QueueView
    from dagnats.model.ops import TaskLimited, WorkflowLimited


class HttpDispatcher:
    """Calls that concern workers and queues. What they do: see `Dispatcher`."""

    _wire: Wire

    async def workers(self) -> list[WorkerEntry]:
        """The workers that there are, by name."""
        return read(await self._wire.get(path_of("workers")), list[WorkerEntry])

    async def trigger_types(self) -> list[TriggerTypeView]:
        """The trigger types that workers provide, or did, by name."""
        return read(await self._wire.get(path_of("trigger-types")), list[TriggerTypeView])

    async def trigger_type(self, name: str) -> TriggerTypeView:
        """A trigger type. Raises NotFoundError, with near names."""
        return read(await self._wire.get(path_of("trigger-types", name)), TriggerTypeView)

    async def queues(self) -> list[QueueView]:
        """Every queue that has tasks, had workers, or is named by a registered workflow."""
        return list(map(queue_of, read(await self._wire.get(path_of("queues")), list[QueueDocument])))

    async def queue(self, name: str) -> QueueView:
        """The queue of a task type. Raises NotFoundError, with near names."""
        return queue_of(read(await self._wire.get(path_of("queues", name)), QueueDocument))

    async def pause_queue(self, task: str, reason: str = "", *, by: str = "") -> None:
        """Hand out no task of a type until it is resumed. See `Dispatcher.pause_queue`."""
        await self._wire.post(path_of("queues", task, "pause"), {"by": by, "reason": reason})

    async def resume_queue(self, task: str, *, by: str = "") -> None:
        """Let a paused queue go on. Raises ConflictError when it is not paused."""
        await self._wire.post(path_of("queues", task, "resume"), {"by": by})

    async def limit_queue(
        self,
        task: str,
        *,
        concurrency: int | None = None,
        rate: int | None = None,
        period: timedelta | str = "1s",
        by: str = "",
        reason: str = "",
    ) -> TaskLimited:
        """Limit the tasks of a type, whatever definitions say; gives what holds now. See `Dispatcher.limit_queue`."""
        limits = {
            "concurrency": None if concurrency is None else positive("concurrency", concurrency),
            "rate": None if rate is None else positive("rate", rate),
        }
        said = {**limits, "period": duration_text(period), "by": by, "reason": reason}
        told = await self._wire.post(path_of("queues", task, "limits"), said, again=True)
        return queue_of(read(told, QueueDocument)).limits

    async def workflow_limits(self, workflow: str) -> WorkflowLimited:
        """What operators have said of a workflow."""
        return limits_of(read(await self._wire.get(path_of("workflows", workflow, "limits")), WorkflowLimitsDocument))

    async def pause_workflow(self, workflow: str, reason: str = "", *, by: str = "") -> None:
        """Let no run of a workflow begin until it is resumed. See `Dispatcher.pause_workflow`."""
        await self._wire.post(path_of("workflows", workflow, "pause"), {"by": by, "reason": reason})

    async def resume_workflow(self, workflow: str, *, by: str = "") -> None:
        """Let runs of a paused workflow begin. Raises ConflictError when it is not paused."""
        await self._wire.post(path_of("workflows", workflow, "resume"), {"by": by})

    async def limit_workflow(
        self,
        workflow: str,
        max_runs: int | None = None,
        *,
        max_events: int | None = None,
        max_depth: int | None = None,
        by: str = "",
        reason: str = "",
    ) -> WorkflowLimited:
        """Limit the runs of a workflow. See `Dispatcher.limit_workflow`."""
        limits = run_limits({"max_runs": max_runs, "max_events": max_events, "max_depth": max_depth})
        said = {**limits, "by": by, "reason": reason}
        told = await self._wire.post(path_of("workflows", workflow, "limits"), said, again=True)
        return limits_of(read(told, WorkflowLimitsDocument))
