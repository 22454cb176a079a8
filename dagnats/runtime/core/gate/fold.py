"""All gates together: one event folded into them, after its run.

    gates.fold(record, decision) -> the decision's actions, without what has to wait, with what the gates answer

Rules that hold for every event:
* It depends on the log alone. Time is what has passed between the events' timestamps, as far as it went forward.
* What is over gives back what it had before anybody is let through.
* What an event hands out and what waits already are one line: nobody overtakes.
* A task for one worker alone is always answered: from then on the worker's time to begin counts.
* An answer is an event for the run that waited. What has its answer has its slot, from the event that decided it on.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, assert_never

from dagnats.model.event import Outcome, Record, StepQueued, WorkflowAdmitted, WorkflowCancelled
from dagnats.model.instant import rfc3339
from dagnats.model.ops import GATES, GateTicked, QueueMeasured, TaskLimited, WorkflowLimited
from dagnats.runtime.core.action import AppendEvent, AskAdmission, Decision, EnqueueTask
from dagnats.runtime.core.attempt import is_out
from dagnats.runtime.core.gate.book import Leaf, Page
from dagnats.runtime.core.gate.run import Refusal, RunGates, replaced_by
from dagnats.runtime.core.gate.task import TaskGates, queue_of, ticket_name
from dagnats.runtime.core.node import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.event import AnyEvent
    from dagnats.model.ops import FactRecord
    from dagnats.model.run import Run
    from dagnats.runtime.core.action import AnyAction, Settled
    from dagnats.runtime.core.gate.book import RunTicket, TaskTicket
    from dagnats.runtime.core.gate.run import Place


MOST_BUCKETS = 1_000
"""So many rates are told of: there may be one for each customer."""


class Tally(NamedTuple):
    """What the gates hold, in numbers.

    Attributes:
        tasks: Task type, how many have a slot, how many wait.
        runs: Workflow and key, how many go on, how many wait for that.
        buckets: `{task}` or `{task}/{key}`, and when it is full again; the first thousand.
        singletons: `{workflow}/{key}`, and the run that has it.
    """

    tasks: list[tuple[str, int, int]]
    runs: list[tuple[Place, int, int]]
    buckets: list[tuple[str, int]]
    singletons: list[tuple[str, str]]


class _Place(NamedTuple):
    """Where in the log the gates are: what their answers' ids and timestamps are made of."""

    history: str
    seq: int
    time_ns: int


class _Turn:
    """What one event does to the gates.

    Attributes:
        tasks: Task types where somebody may go now.
        places: Where runs may begin now.
        arrived: The tasks that the event hands out, by ticket.
        answers: What is said to runs.
    """

    __slots__ = ("answers", "arrived", "at", "places", "tasks")

    def __init__(self, at: _Place) -> None:
        self.at = at
        self.tasks: dict[str, None] = {}
        self.places: dict[Place, None] = {}
        self.arrived: dict[str, EnqueueTask] = {}
        self.answers: list[AppendEvent] = []

    def next_id(self) -> str:
        return f"{self.at.history}.{self.at.seq}.g{len(self.answers)}"

    def answer(self, event: AnyEvent) -> None:
        self.answers.append(AppendEvent(id=self.next_id(), run_id=event.run_id, event=event))


class Gates:
    """What crosses runs.

    Args:
        page: All entries, as `page` gave them; none for a log that nobody has folded.

    Attributes:
        wake_ns: When whoever leads is to write a tick, if nothing else comes into the log; 0 for never.
        wake_seq: The event that asked for it: it names the tick, so that two engines write the same.
    """

    def __init__(self, page: Page | None = None) -> None:
        page = page if page is not None else Page()
        self._task_tickets = Leaf(page.tasks)
        self._run_tickets = Leaf(page.runs)
        self._buckets = Leaf(page.buckets)
        self._task_limits = Leaf(page.task_limits)
        self._workflow_limits = Leaf(page.workflow_limits)
        self._rooms = Leaf(page.rooms)
        self._clock_ns, self._last_ns = page.clock_ns, page.last_ns
        self.wake_ns, self.wake_seq = page.wake_ns, page.wake_seq
        self._tasks = TaskGates(self._task_tickets, self._buckets, self._task_limits, self._rooms)
        self._runs = RunGates(self._run_tickets, self._workflow_limits)
        self._known_runs, self._known_tasks = self._run_tickets.entries, self._tasks.of_run
        self._limited, self._long = self._task_limits.entries, self._rooms.entries
        self._due_ns = 0
        for task in self._tasks.types:  # nobody may go, or would have gone: this finds out when
            self._tasks.pump(task, self._clock_ns)
        self._note_due()

    # -- events ----------------------------------------------------------------------------------------------

    def fold(self, record: Record, decision: Decision) -> tuple[AnyAction, ...]:
        """One event of a run, and what `advance` has decided at it; gives what is to be done."""
        self._pass_time(record.time_ns)
        run, actions = decision.run, decision.actions
        if run is None:
            return actions
        run_id = run.run_id
        holds, asked = run_id in self._known_tasks, run_id in self._known_runs
        if not (
            0 < self._due_ns <= self._clock_ns
            or (holds and (actions or decision.settled or run.ended))
            or (asked and (run.ended or isinstance(record.event, WorkflowAdmitted)))
            or (actions and self._concerns(actions))
        ):  # as nearly always: this has to cost next to nothing
            if holds or asked:
                self._set_wake_up(record.seq)  # a clock that was put back brings nearer what waits for a time
            return actions
        turn = _Turn(_Place(run_id, record.seq, record.time_ns))
        kept = self._sorted(turn, run, actions)
        self._release(turn, run, decision.settled)
        if isinstance(record.event, WorkflowAdmitted) and run.status != "pending" and not run.ended:
            place = self._runs.began(run_id)
            if place is not None:
                turn.places[place] = None
        self._let_go(turn)
        held = {id(action) for action in turn.arrived.values()}
        return (*(action for action in kept if id(action) not in held), *turn.answers)

    def adopt(self, seq: int, run: Run, actions: Iterable[AnyAction]) -> tuple[AnyAction, ...]:
        """A run of which the gates have missed some events: have them know it as it is now.

        Args:
            seq: The place in the log where that is.
            run: The run there.
            actions: All that its whole history has decided; gives what of it, and of the gates' answers, is to be done.
        """
        tickets = [self._task_tickets.entries[name] for name in self._known_tasks.get(run.run_id, ())]
        over = [ticket for ticket in tickets if not is_out(run, ticket.step_id, ticket.attempt)]
        settled = tuple(sorted((ticket.step_id, ticket.attempt) for ticket in over))
        wanted = tuple(action for action in actions if self._is_missed(run, action))
        # Whether it was admitted meanwhile shows in its status: said once more, that changes nothing.
        record = Record(seq, self._last_ns, WorkflowAdmitted(run_id=run.run_id))
        return self.fold(record, Decision(run, wanted, settled))

    def _is_missed(self, run: Run, action: AnyAction) -> bool:
        match action:
            case AskAdmission():
                known = self._known_runs.get(run.run_id)
                newest = run.status == "pending" and action.seq == run.asked
                return newest and (known is None or known.seq != action.seq)
            case EnqueueTask():
                name = ticket_name(run.run_id, action.step_id, action.attempt)
                return name not in self._task_tickets.entries and is_out(run, action.step_id, action.attempt)
            case _:
                return True

    def tell(self, record: FactRecord) -> tuple[AnyAction, ...]:
        """What an operator said, or a wake-up; gives what is to be done."""
        self._pass_time(record.time_ns)
        turn = _Turn(_Place(GATES, record.seq, record.time_ns))
        match record.fact:
            case TaskLimited() as said:
                _note(self._task_limits, said.task, said)
                self._tasks.relimit(said, self._clock_ns)
                turn.tasks[said.task] = None
            case WorkflowLimited() as said:
                _note(self._workflow_limits, said.workflow, said)
                turn.places.update(dict.fromkeys(self._runs.places(said.workflow)))
            case GateTicked() as tick:
                if tick.due_ns >= self.wake_ns:
                    self.wake_ns = self.wake_seq = 0
            case QueueMeasured() as seen:
                if seen.room < 0:
                    self._rooms.drop(seen.queue)
                else:
                    self._rooms.put(seen.queue, seen.room)
                turn.tasks.update((task, None) for task in self._tasks.types if f"{seen.queue}.".startswith(f"{task}."))
            case _:
                assert_never(record.fact)
        self._let_go(turn)
        return tuple(turn.answers)

    def _pass_time(self, time_ns: int) -> None:
        """Only forward, and only as far as the log says: a clock that is put back stops nothing."""
        if self._last_ns and time_ns > self._last_ns:
            self._clock_ns += time_ns - self._last_ns
        self._last_ns = time_ns

    def _concerns(self, actions: tuple[AnyAction, ...]) -> bool:
        for action in actions:
            if isinstance(action, EnqueueTask):
                if action.limits is not UNLIMITED or action.worker_id or action.task in self._limited:
                    return True
                if self._long and queue_of(action) in self._long:
                    return True
            elif isinstance(action, AskAdmission):
                return True
        return False

    # -- a run's decision ------------------------------------------------------------------------------------

    def _sorted(self, turn: _Turn, run: Run, actions: tuple[AnyAction, ...]) -> list[AnyAction]:
        """Take in what is about the gates; gives what is to be done by others, tasks that may have to wait included."""
        kept: list[AnyAction] = []
        for at, action in enumerate(actions):
            match action:
                case AskAdmission():
                    # What it has from an earlier question: the end of that was missed while the run was parked.
                    turn.places.update(dict.fromkeys(self._runs.release(run.run_id)))
                    place, refusals = self._runs.ask(action, run.clock_ns)
                    turn.places[place] = None
                    for refusal in refusals:
                        turn.answer(_cancelled(refusal, turn.at.time_ns))
                case EnqueueTask(admitted=True):
                    self._tasks.go(ticket_name(run.run_id, action.step_id, action.attempt), self._clock_ns)
                    kept.append(action)
                case EnqueueTask() if self._concerns((action,)):
                    turn.arrived[self._tasks.arrive(action, turn.at.seq, at, turn.at.time_ns)] = action
                    turn.tasks[action.task] = None
                    kept.append(action)
                case _:
                    kept.append(action)
        return kept

    def _release(self, turn: _Turn, run: Run, settled: tuple[Settled, ...]) -> None:
        """Give back what attempts that are over had, and everything when the run is."""
        names = [ticket_name(run.run_id, step_id, attempt) for step_id, attempt in settled]
        if run.ended:
            names += sorted(self._tasks.of_run.get(run.run_id, ()))
            turn.places.update(dict.fromkeys(self._runs.release(run.run_id)))
        for name in names:
            task = self._tasks.release(name)
            if task:
                turn.tasks[task] = None

    # -- who may go ------------------------------------------------------------------------------------------

    def _let_go(self, turn: _Turn) -> None:
        now_ns = self._clock_ns
        if 0 < self._due_ns <= now_ns:
            turn.tasks.update((task, None) for task, ready_ns in self._tasks.ready_ns.items() if ready_ns <= now_ns)
        for task in turn.tasks:
            for name in self._tasks.pump(task, now_ns):
                arrived = turn.arrived.get(name)
                if arrived is not None and not arrived.worker_id:
                    del turn.arrived[name]
                    self._tasks.out(name)
                else:
                    turn.answer(_queued(self._task_tickets.entries[name], turn.at.time_ns))
        for place in turn.places:
            for run_id in self._runs.pump(place):
                turn.answer(_admitted(self._run_tickets.entries[run_id], turn.at.time_ns))
        self._tasks.forget_full(now_ns)
        self._note_due()
        self._set_wake_up(turn.at.seq)

    def _note_due(self) -> None:
        """When time alone changes something."""
        self._due_ns = self._tasks.full_ns
        if self._tasks.ready_ns:
            ready_ns = min(self._tasks.ready_ns.values())
            self._due_ns = min(ready_ns, self._due_ns) if self._due_ns else ready_ns

    def _set_wake_up(self, seq: int) -> None:
        """Ask for a wake-up, unless one that is early enough is outstanding: the log may stay silent."""
        if not self._tasks.ready_ns:
            return
        due_ns = self._last_ns + min(self._tasks.ready_ns.values()) - self._clock_ns
        if not 0 < self.wake_ns <= due_ns:
            self.wake_ns, self.wake_seq = due_ns, seq

    # -- what is known ---------------------------------------------------------------------------------------

    def waits(self, run_id: str, step_id: str, attempt: int) -> bool:
        """Whether an attempt is in no queue, because a gate holds it."""
        ticket = self._task_tickets.entries.get(ticket_name(run_id, step_id, attempt))
        return ticket is not None and ticket.state != "out"

    @property
    def paused(self) -> list[str]:
        """The task types of which nothing may be handed out."""
        return sorted(task for task, said in self._task_limits.entries.items() if said.paused)

    def tally(self) -> Tally:
        """What is held now; it takes no longer when more wait."""
        off_ns = self._last_ns - self._clock_ns
        buckets = [(name, full_ns + off_ns) for name, full_ns in islice(self._buckets.entries.items(), MOST_BUCKETS)]
        return Tally(list(self._tasks.counts()), list(self._runs.counts()), buckets, list(self._runs.holders()))

    @property
    def rooms(self) -> dict[str, int]:
        """How many more tasks may be put into queues that are long."""
        return dict(self._long)

    @property
    def lines(self) -> set[str]:
        """The queues that somebody waits to be put into."""
        return self._tasks.lines

    def outstanding(self) -> list[AppendEvent]:
        """All that the gates have answered and the runs' histories do not say yet, for a log that lost its tail.

        Their ids have the event that asked: what a history says before that is no answer to it.
        """
        at = _Place(GATES, self.wake_seq, self._last_ns)
        turn = _Turn(at)
        for ticket in self._task_tickets.entries.values():
            turn.at = at._replace(seq=ticket.seq)
            if ticket.state == "granted":
                turn.answer(_queued(ticket, at.time_ns))
        for ticket in self._run_tickets.entries.values():
            turn.at = at._replace(seq=ticket.seq)
            self._repeat(turn, ticket)
        return turn.answers

    def _repeat(self, turn: _Turn, ticket: RunTicket) -> None:
        time_ns = turn.at.time_ns
        if ticket.state == "granted":
            turn.answer(_admitted(ticket, time_ns))
        elif ticket.state == "refused":
            turn.answer(_cancelled(Refusal(ticket.run_id, ticket.why), time_ns))
        elif ticket.state == "next":
            turn.answer(_cancelled(Refusal(self._runs.holder(ticket.singleton), replaced_by(ticket.run_id)), time_ns))

    # -- entries ---------------------------------------------------------------------------------------------

    def taken(self) -> Page:
        """What has changed since this was asked last."""
        return self._times(
            Page(
                tasks=self._task_tickets.taken(),
                runs=self._run_tickets.taken(),
                buckets=self._buckets.taken(),
                task_limits=self._task_limits.taken(),
                workflow_limits=self._workflow_limits.taken(),
                rooms=self._rooms.taken(),
            )
        )

    def page(self) -> Page:
        """All entries."""
        return self._times(
            Page(
                tasks=dict(self._task_tickets.entries),
                runs=dict(self._run_tickets.entries),
                buckets=dict(self._buckets.entries),
                task_limits=dict(self._task_limits.entries),
                workflow_limits=dict(self._workflow_limits.entries),
                rooms=dict(self._rooms.entries),
            )
        )

    def _times(self, page: Page) -> Page:
        page.clock_ns, page.last_ns = self._clock_ns, self._last_ns
        page.wake_ns, page.wake_seq = self.wake_ns, self.wake_seq
        return page


def _note(limits: Leaf[TaskLimited] | Leaf[WorkflowLimited], name: str, said: TaskLimited | WorkflowLimited) -> None:
    """The newest counts; what leaves everything to the definitions is forgotten."""
    if said.is_idle:
        limits.drop(name)
    else:
        limits.put(name, said)  # pyright: ignore[reportArgumentType]  # the callers pair them


def _queued(ticket: TaskTicket, time_ns: int) -> StepQueued:
    return StepQueued(
        run_id=ticket.run_id, step_id=ticket.step_id, attempt_number=ticket.attempt, timestamp=rfc3339(time_ns)
    )


def _admitted(ticket: RunTicket, time_ns: int) -> WorkflowAdmitted:
    return WorkflowAdmitted(run_id=ticket.run_id, timestamp=rfc3339(time_ns), asked=ticket.seq)


def _cancelled(refusal: Refusal, time_ns: int) -> WorkflowCancelled:
    return WorkflowCancelled(run_id=refusal.run_id, timestamp=rfc3339(time_ns), payload=Outcome(error=refusal.why))
