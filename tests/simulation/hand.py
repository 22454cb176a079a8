"""What people do to runs, as the client does it: fold, check, append if nothing came in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dagnats.errors import ConflictError, DagnatsError, NotFoundError
from dagnats.model.event import (
    ApprovalGranted,
    ApprovalRejected,
    Failure,
    Note,
    SignalReceived,
    StepFailed,
    StepSkipped,
    WaitMatched,
    WorkflowPaused,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
    encode_event,
)
from dagnats.model.json import encode
from dagnats.model.run import IN_FLIGHT
from dagnats.runtime.core.advance import fold
from dagnats.runtime.core.graph import graph_of
from dagnats.runtime.core.reopen import OPENABLE
from dagnats.runtime.recall import recall

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from dagnats.client.client import AsyncClient
    from dagnats.model.event import AnyEvent
    from dagnats.model.run import Run
    from dagnats.runtime.core.graph import Graph
    from dagnats.runtime.recall import Recalled

BY = Note(by="somebody")
ORDERS = ("pause", "resume", "skip", "reopen", "signal", "approve", "reject", "match", "fail", "cancel")


class Acknowledged(NamedTuple):
    """Something the log has taken, and must still have at the end."""

    run_id: str
    data: bytes


class Hand:
    """An operator at a client.

    Attributes:
        acknowledged: What was.
    """

    def __init__(self, client: AsyncClient, random: Random) -> None:
        self.acknowledged: list[Acknowledged] = []
        self._client = client
        self._ports = client.connection.ports
        self._random = random
        self._graphs: dict[str, Graph] = {}

    async def order(self, kind: str, run_id: str) -> bool:
        """Do something to a run, if it can be done now. Raises UnavailableError: it may be done, or not."""
        if kind == "cancel":
            try:
                await self._client.handle(run_id).cancel()
            except (ConflictError, NotFoundError):
                return False
            return True
        made = self._makers()[kind]
        while True:
            recalled = await recall(self._ports, run_id)
            run = await self._folded(recalled)
            event = made(run) if run is not None else None
            if not event:
                return False
            data = encode_event(event)
            try:
                await self._ports.log.append_after(run_id, data, id=self._id(run_id), last=recalled.last)
            except ConflictError:
                later = await self._ports.log.read(run_id, after=recalled.last)
                if not any(entry.data == data for entry in later):
                    continue
            self.acknowledged.append(Acknowledged(run_id, data))
            if isinstance(event, WaitMatched):
                await self._match_again(event)
            return True

    async def _match_again(self, event: WaitMatched) -> None:
        """Another event that fits comes right behind: whoever compares them may say both."""
        later = msgspec.structs.replace(event, payload=msgspec.Raw(b'{"n":-1}'))
        await self._ports.log.append(event.run_id, encode_event(later), id=self._id(event.run_id), within_s=5.0)

    def _id(self, run_id: str) -> str:
        return f"{run_id}.by-hand.{self._random.getrandbits(64):x}"

    async def _folded(self, recalled: Recalled) -> Run | None:
        run, later = recalled.run, recalled.later
        first = later[0].event if later else None
        if run is not None:
            name, identity = run.workflow_id, run.def_hash
        elif isinstance(first, WorkflowStarted):
            name, identity = first.payload.workflow, first.payload.def_hash
        else:  # none yet, or its start was lost
            return None
        if identity not in self._graphs:
            self._graphs[identity] = graph_of(name, identity, await self._ports.definitions.version(name, identity))
        try:
            return fold(self._graphs[identity], later, run)
        except Exception as error:
            raise DagnatsError(f"a client cannot fold run: {error!r}") from error

    # -- one order each: the event, or None where it has no place ----------------------------------------------

    def _makers(self) -> dict[str, Callable[[Run], AnyEvent | bool | None]]:
        return {
            "pause": lambda run: self._live(run) and not run.paused and WorkflowPaused(run_id=run.run_id, payload=BY),
            "resume": lambda run: run.paused and WorkflowResumed(run_id=run.run_id, payload=BY),
            "reopen": lambda run: run.status in OPENABLE and WorkflowReopened(run_id=run.run_id, payload=BY),
            "signal": self._signal,
            "skip": self._skip,
            "fail": self._fail,
            "approve": lambda run: self._answer(run, ApprovalGranted),
            "reject": lambda run: self._answer(run, ApprovalRejected),
            "match": self._match,
            "release": self._release,
        }

    def _release(self, run: Run) -> AnyEvent | None:
        """Let go what waits for a person."""
        if run.paused:
            return WorkflowResumed(run_id=run.run_id, payload=BY)
        return self._answer(run, ApprovalGranted)

    @staticmethod
    def _live(run: Run) -> bool:
        return not run.ended and not run.ending

    def _signal(self, run: Run) -> AnyEvent | None:
        number = self._random.randrange(1_000)
        return SignalReceived(run_id=run.run_id, name="go", payload=encode(number)) if self._live(run) else None

    def _skip(self, run: Run) -> AnyEvent | None:
        found = [name for name, state in run.steps.items() if state.status in ("pending", *IN_FLIGHT)]
        found = [name for name in found if "." not in name and not name.startswith("x")]
        if not found or not self._live(run) or run.saga is not None:
            return None
        return StepSkipped(run_id=run.run_id, step_id=self._random.choice(found), payload=BY)

    def _fail(self, run: Run) -> AnyEvent | None:
        found = [name for name, state in run.steps.items() if state.status in IN_FLIGHT and not state.retry_at_ns]
        if not found or not self._live(run):
            return None
        step_id = self._random.choice(found)
        failure = Failure(error="enough", failure_type="non_retriable", detail="by_hand")
        return StepFailed(
            run_id=run.run_id, step_id=step_id, attempt_number=run.steps[step_id].attempt, payload=encode(failure)
        )

    def _waiting(self, run: Run, report: str) -> tuple[str, int] | None:
        """A step of the engine's own that waits, and its attempt."""
        graph = self._graphs[run.def_hash]
        for name, state in run.steps.items():
            node = graph.node(name, run)
            if node is not None and node.type == report and state.status == "running" and state.due_ns:
                return name, state.attempt
        return None

    def _answer(self, run: Run, kind: type[ApprovalGranted | ApprovalRejected]) -> AnyEvent | None:
        found = self._waiting(run, "approval") if self._live(run) else None
        if found is None:
            return None
        return kind(run_id=run.run_id, step_id=found[0], attempt_number=found[1], by="somebody")

    def _match(self, run: Run) -> AnyEvent | None:
        found = self._waiting(run, "wait_for_event") if self._live(run) else None
        if found is None:
            return None
        payload = msgspec.Raw(encode({"n": self._random.randrange(1_000)}))
        return WaitMatched(run_id=run.run_id, step_id=found[0], attempt_number=found[1], payload=payload)
