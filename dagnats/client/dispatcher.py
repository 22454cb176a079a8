"""Who works, at what, and how much at a time: workers, queues, and what operators say of queues and workflows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.client import queue, trigger_type
from dagnats.dsl.duration import duration_text
from dagnats.errors import DagnatsError, DecodeError, NotFoundError
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.identifier import near
from dagnats.model.worker import decode_worker
from dagnats.runtime.limit import workflow_limit

if TYPE_CHECKING:
    from datetime import timedelta

    from dagnats.client.queue import QueueView
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.ops import TaskLimited, WorkflowLimited
    from dagnats.model.trigger_type import TriggerTypeView
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.ports import Ports


class Dispatcher(ABC):
    """Calls that concern workers and queues: a part of `AsyncClient`."""

    _ports: Ports

    @abstractmethod
    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name."""

    @abstractmethod
    async def workflows(self) -> list[WorkflowDef]:
        """The newest definition of every name."""

    # -- workers ---------------------------------------------------------------------------------------------

    async def workers(self) -> list[WorkerEntry]:
        """The workers that there are, by name. One that was killed is among them for up to a minute."""
        found: list[WorkerEntry] = []
        for data in await self._ports.directory.all():
            with suppress(DecodeError):  # anybody may write there
                found.append(decode_worker(data))
        return sorted(found, key=lambda entry: entry.worker_id)

    async def trigger_types(self) -> list[TriggerTypeView]:
        """The trigger types that workers provide, or did, by name."""
        return await trigger_type.trigger_types(self._ports, await self.workers())

    async def trigger_type(self, name: str) -> TriggerTypeView:
        """A trigger type. Raises NotFoundError, with near names."""
        return trigger_type.named(await self.trigger_types(), name)

    # -- queues ----------------------------------------------------------------------------------------------

    async def queues(self) -> list[QueueView]:
        """Every queue that has tasks, had workers, or is named by a registered workflow."""
        return await queue.queue_views(self._ports, await self.workflows())

    async def queue(self, name: str) -> QueueView:
        """The queue of a task type. Raises NotFoundError, with near names."""
        views = {view.name: view for view in await self.queues()}
        if name not in views:
            hint = "" if views else "no workflow is registered yet, so there are no queues"
            raise NotFoundError("queue", name, near=near(name, views), hint=hint)
        return views[name]

    async def pause_queue(self, task: str, reason: str = "", *, by: str = "") -> None:
        """Hand out no task of a type until it is resumed. What workers have goes on.

        Raises:
            NotFoundError: Nothing uses that type.
            ConflictError: It is paused already, or is a worker group of a type.
        """
        queue.expect_whole(await self.queue(task))
        await queue.pause_task(self._ports, task, by=by, reason=reason)

    async def resume_queue(self, task: str, *, by: str = "") -> None:
        """Let a paused queue go on. Raises ConflictError when it is not paused."""
        await queue.resume_task(self._ports, task, by=by)

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
        """Limit the tasks of a type, whatever definitions say; gives what holds now.

        Args:
            task: The type.
            concurrency: How many may be in flight; 0 for what definitions say, None to leave it as it is.
            rate: How many may start in a `period`; likewise.
            period: See `rate`.
            by: Who does it.
            reason: Why.
        """
        queue.expect_whole(await self.queue(task))
        changes: dict[str, int] = {}
        if concurrency is not None:
            changes["concurrency"] = queue.positive("concurrency", concurrency)
        if rate is not None:
            changes["rate"] = queue.positive("rate", rate)
            changes["period_ns"] = _period_ns(period) if rate else 0
        return await queue.change_task(self._ports, task, by=by, reason=reason, **changes)

    # -- workflows -------------------------------------------------------------------------------------------

    async def workflow_limits(self, workflow: str) -> WorkflowLimited:
        """What operators have said of a workflow."""
        return await workflow_limit(self._ports.log, workflow)

    async def pause_workflow(self, workflow: str, reason: str = "", *, by: str = "") -> None:
        """Let no run of a workflow begin until it is resumed. Runs that have begun go on.

        Raises:
            NotFoundError: No such workflow is registered.
            ConflictError: It is paused already.
        """
        await self.workflow(workflow)
        await queue.pause_workflow(self._ports, workflow, by=by, reason=reason)

    async def resume_workflow(self, workflow: str, *, by: str = "") -> None:
        """Let runs of a paused workflow begin. Raises ConflictError when it is not paused."""
        await queue.resume_workflow(self._ports, workflow, by=by)

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
        """Limit the runs of a workflow. What is not given stays as it is.

        Args:
            max_runs: How many may go on at a time; 0 for what the definition says. Runs that went on before, of a
                workflow without any limit, are not counted: nothing had to remember them.
            max_events: How long the history of a run that begins from now on may become; 0 for 50,000 events.
            max_depth: How many runs may be above a child that such a run, or a child of it, starts; 0 for 8.
            by: Who says so.
            reason: Why.

        Raises:
            DagnatsError: No limit is given, or one is negative, or more than any run may have.
            NotFoundError: No such workflow is registered.
        """
        limits = {"max_runs": max_runs, "max_events": max_events, "max_depth": max_depth}
        queue.run_limits(limits)
        await self.workflow(workflow)
        return await queue.change_workflow(self._ports, workflow, limits, by=by, reason=reason)


def _period_ns(period: timedelta | str) -> int:
    try:
        nanos = duration_nanos(parse_duration(duration_text(period)))
    except ValueError as error:
        raise DagnatsError(f"period: {error}") from None
    if not nanos:
        raise DagnatsError("a rate needs a period that is longer than nothing", hint="write '1s' or '1m'")
    return nanos
