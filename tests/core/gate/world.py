"""Many runs in one log, with the gates between them: what an engine does, without one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.model.event import (
    AnyEvent,
    Failure,
    Parent,
    Record,
    Start,
    StepCompleted,
    StepFailed,
    TimerFired,
    WorkflowCancelled,
    WorkflowStarted,
)
from dagnats.model.json import encode
from dagnats.model.ops import Fact, FactRecord, GateTicked, TaskLimited, WorkflowLimited
from dagnats.model.run import IN_FLIGHT, Run
from dagnats.runtime.core.action import AnyAction, AppendEvent, EndRun, EnqueueTask
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.gate.book import Page
from dagnats.runtime.core.gate.fold import Gates
from dagnats.runtime.core.gate.view import GateView, view_of
from dagnats.runtime.core.graph import Graph
from tests.core.history import BEGIN, SECOND, graph, step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_page = msgspec.json.Decoder(Page)

Sent = tuple[str, str, int]
"""(run, step, attempt) of a task in its queue, or with a worker."""


def stored(page: Page) -> bytes:
    """A page as it is stored; in no order but its own."""
    return msgspec.json.encode(page, order="sorted")


class World:
    """A log, its runs, its gates.

    Attributes:
        log: Every record in order.
        unfed: Events the engine ordered that are not in the log yet.
        queue: Tasks that were handed out and have no answer yet, by whose they are.
        sent: Every task ever handed out, in order.
        time_ns: The log server's clock.
    """

    def __init__(self, **graphs: Graph) -> None:
        self.graphs = graphs
        self.log: list[Record | FactRecord] = []
        self.runs: dict[str, Run] = {}
        self.gates = Gates()
        self.kept = Page()
        self.unfed: deque[AnyEvent] = deque()
        self.queue: dict[Sent, EnqueueTask] = {}
        self.sent: list[EnqueueTask] = []
        self.time_ns = BEGIN
        self.seq = 0
        self.deaf = False
        self.missed: list[AnyAction] = []

    # -- the log ---------------------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> None:
        """Append an event and fold it; what it leads to is not in the log yet."""
        self.seq += 1
        record = Record(self.seq, self.time_ns, event)
        self.log.append(record)
        run = self.runs.get(event.run_id)
        if run is not None:
            workflow = run.workflow_id
        elif isinstance(event, WorkflowStarted):
            workflow = event.payload.workflow
        else:
            return
        decision = advance(self.graphs[workflow], run, record)
        assert decision.run is not None
        self.runs[event.run_id] = decision.run
        if self.deaf:
            self._miss(decision.actions)
        else:
            self._act(self.gates.fold(record, decision))
        self._forget_answered(decision.run)

    def say(self, fact: Fact) -> None:
        """An operator says something, or a wake-up comes."""
        self.seq += 1
        record = FactRecord(self.seq, self.time_ns, fact)
        self.log.append(record)
        self._act(self.gates.tell(record))

    def _act(self, actions: tuple[AnyAction, ...], missed: Sequence[AnyAction] = ()) -> None:
        self.kept.turn(self.gates.taken(), whole=True)
        for action in actions:
            if action not in missed:
                assert int(action.id.split(".")[1]) == self.seq, "who takes over reads there which event decided it"
            if isinstance(action, EnqueueTask):
                name = (action.run_id, action.step_id, action.attempt)
                assert name not in self.queue, f"{name} is handed out twice"
                self.queue[name] = action
                self.sent.append(action)
            elif isinstance(action, AppendEvent | EndRun):
                self.unfed.append(action.event)

    def _miss(self, actions: tuple[AnyAction, ...]) -> None:
        """The run's own events come; what the gates would have had a say in waits until they hear of it."""
        for action in actions:
            if isinstance(action, AppendEvent | EndRun):
                self.unfed.append(action.event)
            else:
                self.missed.append(action)

    def _forget_answered(self, run: Run) -> None:
        """Take tasks of whose results nobody waits any more out of the queue."""
        for name in [name for name in self.queue if name[0] == run.run_id]:
            state = run.steps.get(name[1])
            if state is None or state.status not in IN_FLIGHT or state.attempt != name[2] or state.retry_at_ns:
                del self.queue[name]

    def settle(self) -> None:
        """Feed the engine's own events until none is left."""
        while self.unfed:
            self.feed_own()

    def feed_own(self) -> None:
        self.feed(self.unfed.popleft())

    # -- facts -----------------------------------------------------------------------------------------------

    def start(
        self, run_id: str, workflow: str = "w", value: Any = None, *, held: bool = False, parent: Parent | None = None
    ) -> None:
        self.feed_start(run_id, workflow, value, held=held, parent=parent)
        self.settle()

    def feed_start(
        self, run_id: str, workflow: str = "w", value: Any = None, *, held: bool = False, parent: Parent | None = None
    ) -> None:
        """A run starts, and what the gates make of it is not in the log yet."""
        payload = Start(
            workflow=workflow,
            def_hash=self.graphs[workflow].identity,
            input=encode(value),
            held=held,
            parent=parent,
        )
        self.feed(WorkflowStarted(run_id=run_id, payload=payload))

    def complete(self, run_id: str, step_id: str = "a", output: Any = None) -> None:
        """The step's current attempt is done."""
        attempt = self.runs[run_id].steps[step_id].attempt
        self.feed(StepCompleted(run_id=run_id, step_id=step_id, attempt_number=attempt, payload=encode(output)))
        self.settle()

    def feed_result(self, run_id: str, step_id: str = "a") -> None:
        """The step's current attempt is done, and what the engine makes of it is not in the log yet."""
        attempt = self.runs[run_id].steps[step_id].attempt
        self.feed(StepCompleted(run_id=run_id, step_id=step_id, attempt_number=attempt))

    def fail(self, run_id: str, step_id: str = "a") -> None:
        attempt = self.runs[run_id].steps[step_id].attempt
        why = encode(Failure(error="boom"))
        self.feed(StepFailed(run_id=run_id, step_id=step_id, attempt_number=attempt, payload=why))
        self.settle()

    def cancel(self, run_id: str) -> None:
        self.feed(WorkflowCancelled(run_id=run_id))
        self.settle()

    def wake(self, run_id: str) -> None:
        """The run's wake-up comes, just in time."""
        due_ns = self.runs[run_id].wake_ns
        self.time_ns = max(self.time_ns, due_ns)
        self.feed(TimerFired(run_id=run_id, due_ns=due_ns))
        self.settle()

    def limit(self, task: str = "a.task", **said: Any) -> None:
        self.say(TaskLimited(task=task, **said))
        self.settle()

    def limit_runs(self, workflow: str = "w", **said: Any) -> None:
        self.say(WorkflowLimited(workflow=workflow, **said))
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time pass, with nothing in the log."""
        self.time_ns += int(seconds * SECOND)

    def tick(self) -> int:
        """The gates' wake-up comes, just in time; gives how long after the world's begin."""
        due_ns = self.tick_only()
        self.settle()
        return due_ns

    def tick_only(self) -> int:
        """The gates' wake-up comes, and what they answer is not in the log yet."""
        due_ns = self.gates.wake_ns
        assert due_ns, "the gates have asked for no wake-up"
        self.time_ns = max(self.time_ns, due_ns)
        self.say(GateTicked(due_ns=due_ns))
        return due_ns - BEGIN

    # -- what came of it -------------------------------------------------------------------------------------

    @property
    def view(self) -> GateView:
        return view_of(self.gates.page())

    @property
    def queued(self) -> list[str]:
        """The tasks that lie in the queue, `{run}.{step}`, in the order in which they were handed out."""
        return [f"{run_id}.{step_id}" for run_id, step_id, _ in self.queue]

    def waiting(self, task: str = "a.task") -> list[str]:
        return [f"{place.run_id}.{place.step_id}" for place in self.view.task(task).waiting]

    def status(self, run_id: str) -> str:
        return self.runs[run_id].status

    def statuses(self) -> dict[str, str]:
        return {run_id: run.status for run_id, run in self.runs.items()}

    # -- runs that were passed over --------------------------------------------------------------------------

    def passed_over(self, deed: Callable[[], None]) -> None:
        """Do something of which the gates hear nothing: its run is parked."""
        self.deaf = True
        deed()
        self.deaf = False

    def adopt(self, run_id: str) -> None:
        """Have the gates know a run as it is."""
        missed, self.missed = self.missed, []
        self._act(self.gates.adopt(self.seq, self.runs[run_id], missed), missed)
        self.settle()

    # -- another engine --------------------------------------------------------------------------------------

    def reopen(self) -> None:
        """Go on with gates that are made of their stored entries."""
        self.gates = Gates(_page.decode(stored(self.kept)))

    def again(self) -> World:
        """The same log, folded by another engine from its beginning."""
        other = World(**self.graphs)
        for record in self.log:
            other.time_ns = record.time_ns
            if isinstance(record, FactRecord):
                other.say(record.fact)
            else:
                other.feed(record.event)
        return other


__all__ = ["BEGIN", "SECOND", "World", "graph", "step", "stored"]
