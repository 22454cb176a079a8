"""What people do: to runs, to queues and workflows, and to the world outside, all of it as the client does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dagnats.errors import ConflictError, NotFoundError
from dagnats.runtime.core.reopen import OPENABLE
from tests.simulation.workload import CAME, KEYS, STOPPED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from dagnats.client.client import AsyncClient
    from dagnats.client.run import RunHandle
    from dagnats.client.view import RunView, StepView

ORDERS = (
    "pause", "resume", "skip", "skip", "replay", "replay", "signal", "signal", "approve", "reject", "reject", "answer",
    "fail", "cancel", "cancel", "cancel", "cancel", "rerun", "fork",
)  # fmt: skip
LIMITS = ("hold workflow", "free workflow", "limit workflow", "hold queue", "free queue", "limit queue", "pace queue")
QUEUES = ("do", "few", "paced", "list")


class Acknowledged(NamedTuple):
    """Something the log has taken, and must still have at the end: it holds these bytes."""

    run_id: str
    said: bytes


class Hand:
    """An operator at a client.

    Args:
        workflows: The names of those there are.

    Attributes:
        acknowledged: What was.
        begun: The runs that were started here: they repeat others.
    """

    def __init__(self, client: AsyncClient, random: Random, workflows: Sequence[str]) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.begun: list[str] = []
        self._client = client
        self._random = random
        self._workflows = workflows
        self._number = 0

    async def order(self, kind: str, run_id: str) -> bool:
        """Do something to a run, if it can be done now. Raises UnavailableError: it may be done, or not."""
        handle = self._client.handle(run_id)
        try:
            self._number += 1
            said = f"order {self._number}"
            done = await self._do(kind, handle, said)
        except (ConflictError, NotFoundError):  # too late, or somebody else was first
            return False
        if done and kind not in ("rerun", "fork"):
            self.acknowledged.append(Acknowledged(run_id, said.encode()))
        return done

    async def _do(self, kind: str, handle: RunHandle, said: str) -> bool:
        match kind:
            case "pause":
                await handle.pause(said)
            case "resume":
                await handle.resume(said)
            case "cancel":
                await handle.cancel(said)
            case "signal":
                await handle.signal("go", said)
            case _:
                return await self._as_it_is(kind, handle, await handle.view(), said)
        return True

    async def _as_it_is(self, kind: str, handle: RunHandle, view: RunView, said: str) -> bool:
        """What cannot be said without having looked at the run."""
        match kind:
            case "replay" if view.status in OPENABLE:
                await handle.replay(said)
                return True
            case "rerun" | "fork":
                return await self._repeat(kind, handle, view)
            case _:
                return await self._to_step(kind, handle, view, said)

    async def _repeat(self, kind: str, handle: RunHandle, view: RunView) -> bool:
        if not view.ended:
            return False
        if kind == "rerun":
            repeated = await handle.retry("rerun")
        else:
            own = [step.id for step in view.steps if not step.auxiliary and "." not in step.id]
            repeated = await handle.fork(self._random.choice(own))
        self.begun.append(repeated.run_id)
        return True

    async def _to_step(self, kind: str, handle: RunHandle, view: RunView, said: str) -> bool:
        step = self._step(kind, view)
        if step is None:
            return False
        match kind:
            case "skip":
                await handle.skip(step.id, said)
            case "fail":
                await handle.fail_step(step.id, said)
            case "approve":
                await handle.approve(step.id, by=said)
            case "reject":
                await handle.reject(step.id, by=said)
            case "answer":
                await handle.complete_wait(step.id, {"said": said})
            case _:
                return False
        return True

    def _step(self, kind: str, view: RunView) -> StepView | None:
        """A step that this can be done to, as far as one can see."""
        steps = [step for step in view.steps if not step.auxiliary]
        match kind:
            case "skip":
                found = [step for step in steps if "." not in step.id and (step.in_flight or step.status == "pending")]
            case "fail":
                found = [step for step in steps if step.in_flight and not step.retry_at_ns]
            case _:
                wanted = "wait_for_event" if kind == "answer" else "approval"
                found = [step for step in steps if step.type == wanted and step.in_flight]
        return self._random.choice(found) if found else None

    async def release(self, run_id: str) -> bool:
        """Let go what waits for a person."""
        return await self.order("resume", run_id) or await self.order("approve", run_id)

    # -- what crosses runs -------------------------------------------------------------------------------------

    async def limit(self, kind: str) -> bool:
        """Hold or limit a workflow or a queue, or let it go."""
        client, random = self._client, self._random
        workflow, queue = random.choice(self._workflows), random.choice(QUEUES)
        calls: dict[str, Any] = {
            "hold workflow": lambda: client.pause_workflow(workflow),
            "free workflow": lambda: client.resume_workflow(workflow),
            "limit workflow": lambda: client.limit_workflow(workflow, random.choice([0, 1, 3])),
            "hold queue": lambda: client.pause_queue(queue),
            "free queue": lambda: client.resume_queue(queue),
            "limit queue": lambda: client.limit_queue(queue, concurrency=random.choice([0, 1, 3])),
            "pace queue": lambda: client.limit_queue(queue, rate=random.choice([0, 5, 20])),
        }
        try:
            await calls[kind]()
        except (ConflictError, NotFoundError):
            return False
        return True

    async def free(self) -> None:
        """Hold nothing any more."""
        for workflow in self._workflows:
            said = await self._client.workflow_limits(workflow)
            if said.paused:
                await self._client.resume_workflow(workflow)
            if said.max_runs:
                await self._client.limit_workflow(workflow, 0)
        limits = {view.task: view.limits for view in await self._client.queues()}
        for task, said in limits.items():
            if said.paused:
                await self._client.resume_queue(task)
            if not said.is_idle:
                await self._client.limit_queue(task, concurrency=0, rate=0)

    async def happen(self) -> None:
        """Something happens outside that runs wait for, or are cancelled by."""
        kind = CAME if self._random.random() < 0.9 else STOPPED
        self._number += 1
        body = {"k": self._random.choice(KEYS), "n": self._number}
        await self._client.publish_event(kind, body, id=f"event {self._number}")
