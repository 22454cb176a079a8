"""Drives `advance` as an engine would: facts get a place in the log, the engine's own events come back to it."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

import msgspec

from dagnats.model.check import load_definition
from dagnats.model.event import (
    NOTHING,
    AnyEvent,
    ApprovalGranted,
    ApprovalRejected,
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    Failure,
    FailureType,
    Note,
    Poison,
    Record,
    SignalReceived,
    Start,
    StepCompleted,
    StepContinued,
    StepFailed,
    StepHeartbeat,
    StepPaused,
    StepQueued,
    StepReleased,
    StepSkipped,
    StepStarted,
    TimerFired,
    WaitMatched,
    WorkflowAdmitted,
    WorkflowCancelled,
    WorkflowPaused,
    WorkflowPoisoned,
    WorkflowReopened,
    WorkflowResumed,
    WorkflowStarted,
    decode_event,
    encode_event,
)
from dagnats.model.instant import rfc3339
from dagnats.model.json import encode
from dagnats.model.pointer import content as carried
from dagnats.model.pointer import has_pointer, pointers, put_in
from dagnats.model.run import Run, StepState, decode_run, encode_run
from dagnats.model.step import WORKER_RUN
from dagnats.runtime.core.action import (
    AnyAction,
    AppendEvent,
    CancelTasks,
    DropDeadLetters,
    DropTimer,
    EndRun,
    EnqueueTask,
    KeepSignal,
    SendDeadLetter,
    SetTimer,
)
from dagnats.runtime.core.advance import advance
from dagnats.runtime.core.graph import Graph

SECOND = 1_000_000_000
BEGIN = 1_790_000_000 * SECOND  # any instant

A = TypeVar("A", bound=AnyAction)
E = TypeVar("E", bound=AnyEvent)


def step(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    """A step of a definition; its task type is `<id>.task`."""
    return {"id": step_id, "task": f"{step_id}.task", "depends_on": list(needs), **settings}


def typed(
    step_id: str, kind: str, *needs: str, config: dict[str, Any] | None = None, **settings: Any
) -> dict[str, Any]:
    """A step of another type; workers run it when they run steps of its type."""
    task = {"task": f"{step_id}.task"} if kind in WORKER_RUN else {}
    config = {} if config is None else {"config": config}
    return {"id": step_id, "type": kind, "depends_on": list(needs), **task, **config, **settings}


def graph(*steps: dict[str, Any], **settings: Any) -> Graph:
    return Graph(load_definition({"name": "w", "steps": list(steps), **settings}))


class History:
    """One run and its log.

    Attributes:
        log: Every record fed, the engine's own included.
        actions: Every action decided, in order.
        last: The actions of the last call, with those of the engine's events that followed from it.
        time_ns: The log server's clock; tests move it with `wait`.
        unfed: Events the engine ordered that are not in the log yet.
        abroad: Events it ordered for the histories of other runs.
        settled: All attempts that gates were told of as no longer in flight.
    """

    def __init__(self, graph: Graph, *, loops_back: bool = True) -> None:
        self.graph = graph
        self.log: list[Record] = []
        self.actions: list[AnyAction] = []
        self.last: list[AnyAction] = []
        self.time_ns = BEGIN
        self.unfed: deque[AnyEvent] = deque()
        self.abroad: list[AnyEvent] = []
        self.settled: list[tuple[str, int]] = []
        self._loops_back = loops_back
        self._run: Run | None = None

    # -- facts ---------------------------------------------------------------------------------------------

    def feed(self, event: AnyEvent) -> list[AnyAction]:
        """Append one event and fold it, then the engine's answers to it."""
        self.last = []
        self._fold(event)
        while self._loops_back and self.unfed:
            self.feed_own()
        return self.last

    def feed_own(self) -> None:
        """Append and fold the oldest of the engine's own events."""
        self._fold(self.unfed.popleft())

    def _fold(self, event: AnyEvent) -> None:
        record = Record(len(self.log) + 1, self.time_ns, event)
        self.log.append(record)
        decision = advance(self.graph, self._run, record)
        self._run = decision.run
        self.last += decision.actions
        self.actions += decision.actions
        self.settled += decision.settled
        for action in decision.actions:
            if isinstance(action, AppendEvent | EndRun):
                (self.unfed if action.run_id == "r" else self.abroad).append(self.whole(action.event))

    def whole(self, event: AnyEvent) -> AnyEvent:
        """An event as it is sent: with what the log has in the place of pointers."""
        data = encode_event(event)
        return decode_event(self.put_in(data)) if has_pointer(data) else event

    def put_in(self, data: bytes) -> bytes:
        """Some JSON out of the state, with what the log has in the place of pointers."""
        found = {each: carried(encode_event(self.log[each.seq - 1].event), each) for each in pointers(data)}
        assert None not in found.values(), "it points at what is not there"
        return put_in(data, {each: content for each, content in found.items() if content is not None})

    def start(self, value: Any = None, *, trace_parent: str = "", **settings: Any) -> list[AnyAction]:
        payload = Start(workflow="w", def_hash=self.graph.identity, input=encode(value), **settings)
        return self.feed(WorkflowStarted(run_id="r", payload=payload, trace_parent=trace_parent))

    def say(self, kind: Any, step_id: str, *, attempt: int | None = None, **settings: Any) -> list[AnyAction]:
        """Feed an event about a step, of its current attempt unless another is named."""
        attempt = self.state(step_id).attempt if attempt is None else attempt
        return self.feed(kind(run_id="r", step_id=step_id, attempt_number=attempt, **settings))

    def continued(self, step_id: str, value: Any = None, **settings: Any) -> list[AnyAction]:
        return self.say(StepContinued, step_id, payload=NOTHING if value is None else encode(value), **settings)

    def rested(self, step_id: str, seconds: float, **settings: Any) -> list[AnyAction]:
        """The handler pauses its step."""
        return self.say(StepPaused, step_id, delay_ms=int(seconds * 1_000), **settings)

    def matched(self, step_id: str, value: Any = None) -> list[AnyAction]:
        return self.say(WaitMatched, step_id, payload=encode(value), event_seq=7)

    def granted(self, step_id: str, answer: Any = None, by: str = "ann") -> list[AnyAction]:
        payload = NOTHING if answer is None else encode(answer)
        return self.say(ApprovalGranted, step_id, payload=payload, by=by)

    def rejected(self, step_id: str, answer: Any = None, by: str = "") -> list[AnyAction]:
        payload = NOTHING if answer is None else encode(answer)
        return self.say(ApprovalRejected, step_id, payload=payload, by=by)

    def child_completed(self, step_id: str, output: Any = None, **settings: Any) -> list[AnyAction]:
        outcome = ChildOutcome(child_run_id=self.state(step_id).child_run_id, status="completed", output=encode(output))
        return self.say(ChildCompleted, step_id, payload=outcome, **settings)

    def child_failed(
        self, step_id: str, error: str = "boom", status: str = "failed", **settings: Any
    ) -> list[AnyAction]:
        outcome = ChildOutcome(child_run_id=self.state(step_id).child_run_id, status=status, error=error)
        return self.say(ChildFailed, step_id, payload=outcome, **settings)

    def failed_by_hand(
        self, step_id: str, error: str = "enough", *, kind: FailureType = "non_retriable"
    ) -> list[AnyAction]:
        failure = Failure(error=error, failure_type=kind, detail="by_hand")
        return self.say(StepFailed, step_id, payload=encode(failure))

    def skipped_by_hand(self, step_id: str) -> list[AnyAction]:
        return self.feed(StepSkipped(run_id="r", step_id=step_id, payload=Note(by="ann")))

    def signalled(self, name: str, value: Any) -> list[AnyAction]:
        return self.feed(SignalReceived(run_id="r", name=name, payload=encode(value)))

    def let_through(self, step_id: str) -> list[AnyAction]:
        """A gate lets the current attempt go."""
        return self.say(StepQueued, step_id)

    def admitted(self) -> list[AnyAction]:
        return self.feed(WorkflowAdmitted(run_id="r"))

    def paused(self) -> list[AnyAction]:
        return self.feed(WorkflowPaused(run_id="r"))

    def resumed(self) -> list[AnyAction]:
        return self.feed(WorkflowResumed(run_id="r"))

    def reopened(self, *, held: bool = False) -> list[AnyAction]:
        return self.feed(WorkflowReopened(run_id="r", held=held))

    def started(self, step_id: str, attempt: int | None = None, worker_id: str = "") -> list[AnyAction]:
        attempt = self.state(step_id).attempt if attempt is None else attempt
        return self.feed(StepStarted(run_id="r", step_id=step_id, attempt_number=attempt, worker_id=worker_id))

    def heartbeat(self, step_id: str, worker_id: str = "", details: Any = None) -> list[AnyAction]:
        attempt = self.state(step_id).attempt
        payload = NOTHING if details is None else encode(details)
        event = StepHeartbeat(run_id="r", step_id=step_id, attempt_number=attempt, worker_id=worker_id, payload=payload)
        return self.feed(event)

    def released(self, step_id: str, worker_id: str = "") -> list[AnyAction]:
        attempt = self.state(step_id).attempt
        return self.feed(StepReleased(run_id="r", step_id=step_id, attempt_number=attempt, worker_id=worker_id))

    def completed(
        self, step_id: str, output: Any = None, *, attempt: int | None = None, **settings: Any
    ) -> list[AnyAction]:
        attempt = self.state(step_id).attempt if attempt is None else attempt
        return self.feed(
            StepCompleted(run_id="r", step_id=step_id, attempt_number=attempt, payload=encode(output), **settings)
        )

    def failed(
        self,
        step_id: str,
        error: str = "boom",
        kind: FailureType = "non_retriable",
        *,
        attempt: int | None = None,
        retry_after_ms: int = 0,
        **settings: Any,
    ) -> list[AnyAction]:
        failure = Failure(error=error, failure_type=kind, retry_after_ms=retry_after_ms)
        return self.say(StepFailed, step_id, attempt=attempt, payload=encode(failure), **settings)

    def cancel(self) -> list[AnyAction]:
        return self.feed(WorkflowCancelled(run_id="r"))

    def poisoned(self, error: str) -> list[AnyAction]:
        return self.feed(WorkflowPoisoned(run_id="r", payload=Poison(error=error)))

    def wait(self, seconds: float) -> None:
        """Let time pass, with nobody telling the run."""
        self.time_ns += int(seconds * SECOND)

    def tick(self) -> list[AnyAction]:
        """The outstanding wake-up comes, just in time."""
        due_ns = self.run.wake_ns
        assert due_ns, "no wake-up is outstanding"
        self.time_ns = max(self.time_ns, due_ns)
        return self.feed(TimerFired(run_id="r", due_ns=due_ns))

    # -- what came of it -----------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        assert self._run is not None, "the run has not begun"
        return self._run

    def state(self, step_id: str) -> StepState:
        return self.run.steps[step_id]

    def output(self, step_id: str) -> Any:
        """What a step gave, decoded."""
        return msgspec.json.decode(self.state(step_id).output)

    @property
    def result(self) -> Any:
        """The run's output, decoded."""
        return msgspec.json.decode(self.run.outcome.output)

    def said(self, kind: type[E]) -> list[E]:
        """All events of a kind that the engine ordered so far."""
        events = [action.event for action in self.actions if isinstance(action, AppendEvent | EndRun)]
        return [event for event in events if isinstance(event, kind)]

    def status(self, step_id: str) -> str:
        state = self.run.steps.get(step_id)
        return state.status if state is not None else "pending"

    def of(self, kind: type[A]) -> list[A]:
        """All actions of a kind so far."""
        return [action for action in self.actions if isinstance(action, kind)]

    @property
    def kept(self) -> list[KeepSignal]:
        """All signals shown to workers."""
        return self.of(KeepSignal)

    @property
    def dropped_timers(self) -> list[DropTimer]:
        """All wake-ups that were taken back."""
        return self.of(DropTimer)

    @property
    def of_tasks(self) -> list[EnqueueTask]:
        """All tasks so far."""
        return self.of(EnqueueTask)

    @property
    def dropped_letters(self) -> list[str]:
        """The steps whose dead letters were dropped so far."""
        return [action.step_id for action in self.of(DropDeadLetters)]

    @property
    def enqueued(self) -> list[str]:
        """The steps handed out by the last call, in order."""
        return [action.step_id for action in self.last if isinstance(action, EnqueueTask)]

    @property
    def task(self) -> EnqueueTask:
        """The one task of the last call."""
        (task,) = [action for action in self.last if isinstance(action, EnqueueTask)]
        return task

    @property
    def timers(self) -> list[int]:
        """The wake-ups asked for by the last call, in ns after the history's begin."""
        return [action.due_ns - BEGIN for action in self.last if isinstance(action, SetTimer)]

    @property
    def given_up(self) -> list[tuple[str, int]]:
        """The attempts that the last call wants stopped."""
        told = [action for action in self.last if isinstance(action, CancelTasks)]
        return [(step_id, attempt) for action in told for step_id, _, attempt in action.steps]

    @property
    def dead_letters(self) -> list[str]:
        return [action.step_id for action in self.of(SendDeadLetter)]

    @property
    def stamp(self) -> str:
        """The history's present, as events carry it."""
        return rfc3339(self.time_ns)


def copy_of(run: Run | None) -> Run | None:
    """The run as an engine would load it from its snapshot."""
    return None if run is None else decode_run(encode_run(run))


def content(run: Run | None) -> bytes:
    """The run as bytes, to compare; without the length of its history."""
    return b"" if run is None else encode_run(msgspec.structs.replace(run, events=0))
