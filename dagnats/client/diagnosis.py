"""Why a run does not go on: rules that look at facts, and name the cure. Pure; `client.diagnose` finds the facts.

The troubleshooting guides say what a person would check, one thing after the other. Each rule here is one such check.
A finding says what was seen, with its numbers, why that holds the run, and the command that cures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.model.event import SILENT, TOO_SLOW
from dagnats.model.identifier import near
from dagnats.model.instant import second_text
from dagnats.runtime.core.gate.view import GateView

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagnats.client.letter import DeadLetter
    from dagnats.client.queue import QueueView
    from dagnats.client.view import RunView, StepView
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.core.gate.view import TaskGateView, TaskPlace

_SECOND = 1_000_000_000
_SLOW_S = 2.0  # a queue and an engine that work need milliseconds
_QUIET_S = 60.0  # a snapshot is made within seconds
_SILENT_S = 300.0  # of a handler that tells how far it is: shorter pauses are common
_MOST_NAMED = 5

Kind = Literal[
    "no-engine", "engine-behind", "undecided",
    "run-paused", "scheduled", "not-admitted", "workflow-paused", "singleton", "max-runs", "ended",
    "older-definition", "dead-letters", "snapshot-behind",
    "same-error", "too-slow", "silent", "retry", "in-line", "child", "timer-overdue", "sleep", "approval",
    "wait-for-event", "queue-paused", "queue-full", "concurrency", "rate", "no-worker", "group-unmatched",
    "worker-stale", "task-missing", "handed-out", "busy-workers", "queued", "worker-gone", "timeout-overdue", "running",
]  # fmt: skip
"""What can be found of a run."""

Grade = Literal["wrong", "waits", "note"]
"""`wrong`: somebody has to do something. `waits`: it goes on by itself. `note`: worth knowing."""


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        kind: A stable name; programs compare this, never the text.
        grade: Whether somebody has to do something.
        seen: What was seen, with its numbers.
        why: What that means for the run.
        cure: The command that helps; "" where waiting is all there is to do.
        step_id: The step that it is about, or "".
        fix: What `--fix` would do: `resume_run`, `resume_workflow` or `resume_queue`; "" for nothing.
    """

    kind: Kind
    grade: Grade
    seen: str
    why: str
    cure: str = ""
    step_id: str = ""
    fix: Literal["", "resume_run", "resume_workflow", "resume_queue"] = ""


class EngineState(NamedTuple):
    """Whether somebody decides.

    Attributes:
        leads: Whether an engine holds the lease, and renews it.
        behind: How many events it has not decided yet.
        silent_s: How long ago the lease was renewed.
        seq: The event that it has come to; 0 when it has decided none.
    """

    leads: bool = True
    behind: int = 0
    silent_s: float = 0.0
    seq: int = 0


class StepFacts(NamedTuple):
    """What a step's definition says, as far as it matters here.

    Attributes:
        group: The worker group that it asks for, or "".
        timeout_ns: How long an attempt may take; 0 for as long as it takes.
        max_attempts: How often it is tried; 0 where nothing says so.
        heartbeat_ns: How long an attempt may be silent; 0 for as long as it takes.
        asks: Of an approval: the subject on which people are asked.
    """

    group: str = ""
    timeout_ns: int = 0
    max_attempts: int = 0
    heartbeat_ns: int = 0
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the rules look at.

    Attributes:
        view: The run.
        now_ns: The server's time, or the best guess at it.
        engine: Whether somebody decides.
        gates: Who has slots, and who waits.
        queues: Queues by name.
        workers: The workers that there are.
        steps: By step, what its definition says.
        letters: The run's dead letters.
        errors: By step, how often its attempts failed with the same words as the last one.
        children: By step, the status of the run that it waits for; "" when there is none.
        newest_hash: The definition that is registered now; "" when the workflow is not.
        last: The sequence and the time of the run's newest event, read after everything else; zeros when unknown.
        snapshot_seq: The event that the run's snapshot was made at; 0 without one, or when it cannot be read.
        told_ns: By step, when its running attempt said last how far it is.
    """

    view: RunView
    now_ns: int
    engine: EngineState = field(default_factory=lambda: EngineState())
    gates: GateView = field(default_factory=lambda: GateView((), ()))
    queues: Mapping[str, QueueView] = field(default_factory=dict["str", "QueueView"])
    workers: tuple[WorkerEntry, ...] = ()
    steps: Mapping[str, StepFacts] = field(default_factory=dict[str, StepFacts])
    letters: tuple[DeadLetter, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    children: Mapping[str, str] = field(default_factory=dict[str, str])
    newest_hash: str = ""
    last: tuple[int, int] = (0, 0)
    snapshot_seq: int = 0
    told_ns: Mapping[str, int] = field(default_factory=dict[str, int])


def findings(facts: Facts) -> list[Finding]:
    """What holds a run, most important first; for a run that has ended, what there is to say about that."""
    found = [*_of_engine(facts), *_of_run(facts)]
    if not facts.view.ended:
        for step in facts.view.steps:
            if step.in_flight or step.held:
                found += _of_step(facts, step)
        if facts.newest_hash and facts.newest_hash != facts.view.def_hash:
            found.append(_older_definition(facts))
        found += _of_snapshot(facts)
    found += _of_letters(facts)
    order = {"wrong": 0, "waits": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.grade])


# -- the whole ---------------------------------------------------------------------------------------------------


def _of_engine(facts: Facts) -> Iterator[Finding]:
    if facts.view.ended:
        return
    if not facts.engine.leads:
        yield Finding(
            "no-engine",
            "wrong",
            f"no engine has renewed its lease for {_span(facts.engine.silent_s)}",
            "nobody decides: no run goes on, and no new one begins",
            "dagnats serve",
        )
    elif facts.engine.behind > 1_000:
        yield Finding(
            "engine-behind",
            "waits",
            f"the engine is {facts.engine.behind:,} events behind the end of the log",
            "what this run waits for may be among them",
        )
    elif facts.last[0] > facts.engine.seq and (old_s := (facts.now_ns - facts.last[1]) / _SECOND) > _SLOW_S:
        yield Finding(
            "undecided",
            "waits",
            f"its newest event is {_span(old_s)} old, and is event {facts.last[0]} of the log; the engine has come to"
            f" event {facts.engine.seq}",
            "what follows from it is decided when the engine comes to it",
            "dagnats doctor",
        )


def _of_run(facts: Facts) -> Iterator[Finding]:
    view = facts.view
    if view.paused:
        yield Finding(
            "run-paused",
            "wrong",
            f"run {view.run_id} is paused",
            "what is in flight goes on, and nothing more is handed out",
            f"dagnats run resume {view.run_id}",
            fix="resume_run",
        )
    match view.status:
        case "scheduled":
            wait = _span((view.run_at_ns - facts.now_ns) / _SECOND)
            yield Finding(
                "scheduled", "waits", f"it begins at {second_text(view.run_at_ns)}, in {wait}", "its time has not come"
            )
        case "pending":
            yield _pending(facts)
        case "failed" | "compensate_failed" | "compensated" | "cancelled":
            yield _ended(facts)
        case _:
            pass


def _pending(facts: Facts) -> Finding:
    view = facts.view
    at = facts.gates.run(view.run_id)
    if at is None:
        waited = _span((facts.now_ns - view.created_ns) / _SECOND)
        return Finding(
            "not-admitted",
            "waits",
            f"it was started {waited} ago and is in no line",
            "the engine has not come to its start yet, or lets it begin right now",
        )
    gate, place = at
    if place.why == "pause":
        by = f" by {gate.said.by}" if gate.said is not None and gate.said.by else ""
        return Finding(
            "workflow-paused",
            "wrong",
            f"workflow {view.workflow} is paused{by}; this run is number {place.place} in line",
            "none of its runs begins",
            f"dagnats workflow resume {view.workflow}",
            fix="resume_workflow",
        )
    holders = _named([out.run_id for out in gate.out])
    if place.why == "singleton":
        return Finding(
            "singleton",
            "waits",
            f"another run of {view.workflow} goes on: {holders}",
            "only one may at a time: this run begins when that one has ended",
            f"dagnats run diagnose {gate.out[0].run_id}" if gate.out else "",
        )
    key = f" for {gate.key!r}" if gate.key else ""
    return Finding(
        "max-runs",
        "waits",
        f"{len(gate.out)} of at most {gate.max_runs} runs of {view.workflow}{key} go on ({holders}); this one is number"
        f" {place.place} in line",
        "it begins when one of them has ended",
        f"dagnats workflow limit {view.workflow} --max-runs {gate.max_runs + 1}",
    )


def _ended(facts: Facts) -> Finding:
    view = facts.view
    blame = f"step {view.failed_step} failed: {view.error}" if view.failed_step else view.error or "no reason was given"
    cures = {
        "failed": f"dagnats run retry {view.run_id} --mode replay",
        "compensate_failed": f"dagnats run retry {view.run_id} --mode replay",
        "cancelled": f"dagnats run retry {view.run_id} --mode replay",
        "compensated": f"dagnats run retry {view.run_id}",
    }
    return Finding(
        "ended",
        "wrong" if view.status != "cancelled" else "note",
        f"it ended as {view.status}: {blame}",
        "it does not go on by itself",
        cures[view.status],
        step_id=view.failed_step,
    )


def _older_definition(facts: Facts) -> Finding:
    view = facts.view
    return Finding(
        "older-definition",
        "note",
        f"it runs by definition {view.def_hash[:12]}; registered is {facts.newest_hash[:12]}",
        "a run keeps the definition it was started with: a mended workflow counts for new runs only",
        f"dagnats run retry {view.run_id}",
    )


def _of_letters(facts: Facts) -> Iterator[Finding]:
    if facts.letters and not facts.view.ended:
        places = _named([str(letter.seq) for letter in facts.letters])
        yield Finding(
            "dead-letters",
            "note",
            f"{len(facts.letters)} of its tasks are dead letters: {places}",
            "they failed for good, and are kept for somebody to look at",
            f"dagnats dlq list --run {facts.view.run_id}",
        )


def _of_snapshot(facts: Facts) -> Iterator[Finding]:
    """The engine saves what it has decided within seconds. Nobody has to wait for that: who reads, reads on."""
    seq, time_ns = facts.last
    quiet_s = (facts.now_ns - time_ns) / _SECOND
    decided = facts.engine.leads and not facts.engine.behind
    if decided and facts.snapshot_seq < seq and quiet_s > _QUIET_S:
        yield Finding(
            "snapshot-behind",
            "note",
            f"its newest event is {seq}, {_span(quiet_s)} old, and its snapshot "
            + (f"was made at event {facts.snapshot_seq}" if facts.snapshot_seq else "is not there, or unreadable"),
            "nothing is held: whoever looks reads the events as well, and its next event is saved with all before",
        )


# -- one step ----------------------------------------------------------------------------------------------------


def _of_step(facts: Facts, step: StepView) -> Iterator[Finding]:
    repeated = facts.errors.get(step.id, 0)
    if repeated > 1 and not step.error.startswith((TOO_SLOW, SILENT)):
        limit = facts.steps.get(_origin(step), StepFacts()).max_attempts
        of = f" of {limit}" if limit else ""
        yield Finding(
            "same-error",
            "note",
            f"its last {repeated} attempts{of} failed with the same error: {step.error}",
            "trying again may not help",
            f"dagnats run events {facts.view.run_id} --step {step.id} --type step.failed --full",
            step.id,
        )
    yield from _over_time(facts, step)
    if step.retry_at_ns:
        wait = _span((step.retry_at_ns - facts.now_ns) / _SECOND)
        yield Finding(
            "retry", "waits", f"its next attempt is due in {wait}; the last one: {step.error}", "it is tried again",
            f"dagnats run fail {facts.view.run_id} {step.id}", step.id,
        )  # fmt: skip
    elif step.held:
        yield Finding(
            "in-line",
            "waits",
            "it is ready, and as many steps of the run are in flight as may be",
            "it goes on when one of them has ended",
            step_id=step.id,
        )
    elif step.child_run_id:
        yield _child(facts, step)
    elif step.type in _ENGINES:
        yield from _waiting(facts, step)
    elif step.part_of == "" and step.items:
        return  # a map: its items are steps of their own
    elif step.status == "queued":
        yield from _queued(facts, step)
    else:
        yield _running(facts, step)


def _over_time(facts: Facts, step: StepView) -> Iterator[Finding]:
    """What the last attempt was ended for by the engine."""
    said = facts.steps.get(_origin(step), StepFacts())
    of = f" of {said.max_attempts}" if said.max_attempts else ""
    cure = f"dagnats run logs {facts.view.run_id}"
    if step.error.startswith(TOO_SLOW):
        limit = _span(said.timeout_ns / _SECOND)
        yield Finding(
            "too-slow",
            "note",
            f"an attempt was ended because it took longer than the {limit} that it may take; this is attempt"
            f" {step.attempts}{of}",
            "a handler that is slower than its step's timeout will not end in time the next time either: give it more"
            " time, or less to do",
            cure,
            step.id,
        )
    elif step.error.startswith(SILENT):
        limit = _span(said.heartbeat_ns / _SECOND)
        yield Finding(
            "silent",
            "note",
            f"an attempt was ended because its worker said nothing for {limit}; this is attempt {step.attempts}{of}",
            "its worker died, lost its connection, or its handler blocks the event loop",
            cure,
            step.id,
        )


_ENGINES = frozenset({"sleep", "wait_for_event", "approval"})
"""Types of steps that the engine itself waits for."""


def _child(facts: Facts, step: StepView) -> Finding:
    status = facts.children.get(step.id, "")
    if not status and (facts.now_ns - step.queued_ns) / _SECOND < _SLOW_S:
        return Finding(
            "child", "waits", f"run {step.child_run_id} is being started for it", "it runs then", "", step.id
        )
    return Finding(
        "child",
        "waits" if status else "wrong",
        f"run {step.child_run_id} runs for it, and is {status}" if status else f"run {step.child_run_id} is not there",
        "it ends when that run does" if status else "nothing will end it",
        f"dagnats run diagnose {step.child_run_id}" if status else f"dagnats run fail {facts.view.run_id} {step.id}",
        step.id,
    )


def _waiting(facts: Facts, step: StepView) -> Iterator[Finding]:
    run_id = facts.view.run_id
    left = f"until {second_text(step.due_ns)}" if step.due_ns else "without a limit"
    late_s = (facts.now_ns - step.due_ns) / _SECOND if step.due_ns else 0.0
    if late_s > _SLOW_S:
        yield Finding(
            "timer-overdue",
            "wrong",
            f"its time was over {_span(late_s)} ago",
            "the engine has not come to it: it is not running, is behind, or its wake-up is lost",
            "dagnats queue repair --fix",
            step.id,
        )
        return
    if step.type == "sleep":
        cure = f"dagnats run skip {run_id} {step.id}"
        yield Finding("sleep", "waits", f"it sleeps {left}", "it goes on then", cure, step.id)
    elif step.type == "approval":
        asks = facts.steps.get(_origin(step), StepFacts()).asks
        yield Finding(
            "approval",
            "wrong",
            f"it waits for somebody's approval, {left}",
            f"a person has to answer; who listens on {asks!r} was asked" if asks else "a person has to answer",
            f"dagnats run approve {run_id} {step.id}",
            step.id,
        )
    else:
        yield Finding(
            "wait-for-event",
            "wrong",
            f"it waits for event {step.awaits!r}, {left}",
            "whoever publishes that event lets it go on",
            f"dagnats event publish {step.awaits} '{{…}}'",
            step.id,
        )


def _queued(facts: Facts, step: StepView) -> Iterator[Finding]:
    """A step that no worker has begun."""
    serving = [worker for worker in facts.workers if step.task in worker.task_types]
    for gate, place in facts.gates.steps(facts.view.run_id):
        if place.step_id == step.id:
            yield _at_gate(facts, step, gate, place)
            if place.queue in gate.full and not serving:  # then it stays full
                yield _nobody_serves(facts, step)
            return
    group = facts.steps.get(_origin(step), StepFacts()).group
    fitting = [worker for worker in serving if _serves(worker, group)]
    queue = facts.queues.get(f"{step.task}.{group}" if group else step.task)
    waited_s = (facts.now_ns - step.queued_ns) / _SECOND
    if queue is not None and queue.limits.paused:
        yield _queue_paused(step, queue)
    elif not serving and not (queue is not None and queue.state.pulls):
        yield _nobody_serves(facts, step)
    elif not fitting and group and not (queue is not None and queue.state.pulls):
        yield Finding(
            "group-unmatched",
            "wrong",
            f"{len(serving)} workers serve {step.task!r}, none of them in group {group!r}",
            "the step asks for a worker of that group",
            f"dagnats worker --group {group}",
            step.id,
        )
    elif queue is not None and waited_s > _SLOW_S:
        yield _not_begun(facts, step, queue, fitting)
    else:
        yield Finding("queued", "waits", f"it was queued {_span(waited_s)} ago", "a worker will take it", "", step.id)


def _not_begun(facts: Facts, step: StepView, queue: QueueView, fitting: list[WorkerEntry]) -> Finding:
    """Somebody serves its queue, and has not begun it."""
    state, waited = queue.state, _span((facts.now_ns - step.queued_ns) / _SECOND)
    show = f"dagnats queue show {queue.name}"
    if not state.waiting and not state.in_flight and not facts.engine.behind and facts.last[0] == facts.view.seq:
        return Finding(
            "task-missing",
            "wrong",
            f"it was queued {waited} ago, and queue {queue.name} is empty",
            "there is no task that a worker could take",
            "dagnats queue repair --fix",
            step.id,
        )
    if state.waiting and not state.in_flight and not state.pulls:
        return Finding(
            "worker-stale",
            "wrong",
            f"it was queued {waited} ago; {_named([worker.worker_id for worker in fitting])} should serve queue"
            f" {queue.name}, and nobody takes tasks from it",
            "a worker that has died, or lost its connection, is listed for another minute",
            "dagnats worker",
            step.id,
        )
    if not state.waiting and state.in_flight:
        return Finding(
            "handed-out",
            "waits",
            f"it was queued {waited} ago; its task is in the hands of a worker, which has not said that it began it",
            f"if that worker has died, another one gets the task {_span(state.ack_wait_s)} after it was handed out",
            show,
            step.id,
        )
    return Finding(
        "busy-workers",
        "waits",
        f"it has been queued for {waited}: {state.waiting} tasks wait, {state.in_flight} are in the hands"
        f" of {len(fitting)} workers",
        "all workers are busy",
        show,
        step.id,
    )


def _at_gate(facts: Facts, step: StepView, gate: TaskGateView, place: TaskPlace) -> Finding:
    if gate.said is not None and gate.said.paused:
        by = f" by {gate.said.by}" if gate.said.by else ""
        return Finding(
            "queue-paused", "wrong", f"queue {gate.task} is paused{by}; it is number {place.place} in line",
            "no task of this type is handed out", f"dagnats queue resume {gate.task}", step.id, "resume_queue",
        )  # fmt: skip
    if gate.concurrency and len(gate.out) >= gate.concurrency:
        holders = _named([f"{out.run_id}/{out.step_id}" for out in gate.out])
        return Finding(
            "concurrency",
            "waits",
            f"{len(gate.out)} of at most {gate.concurrency} tasks of type {gate.task} are in flight ({holders}); it is"
            f" number {place.place} in line",
            "it goes on when one of them has ended",
            f"dagnats queue limit {gate.task} --concurrency {gate.concurrency + 1}",
            step.id,
        )
    waited = _span((facts.now_ns - place.since_ns) / _SECOND)
    if place.queue in gate.full:
        return Finding(
            "queue-full",
            "waits",
            f"queue {place.queue} has as many tasks as it takes; it has been number {place.place} in line for {waited}",
            "it goes on when workers have taken tasks",
            "dagnats worker",
            step.id,
        )
    key = f" for {place.key!r}" if place.key else ""
    refill = f", the next one may in {_span((gate.next_ns - facts.now_ns) / _SECOND)}" if gate.next_ns else ""
    return Finding(
        "rate",
        "waits",
        f"as many tasks of type {gate.task}{key} have begun as may in this time{refill}; it has been number"
        f" {place.place} in line for {waited}",
        "it goes on when the rate lets another one begin",
        f"dagnats queue show {gate.task}",
        step.id,
    )


def _queue_paused(step: StepView, queue: QueueView) -> Finding:
    by = f" by {queue.limits.by}" if queue.limits.by else ""
    return Finding(
        "queue-paused", "wrong", f"queue {queue.task} is paused{by}", "no task of this type is handed out",
        f"dagnats queue resume {queue.task}", step.id, "resume_queue",
    )  # fmt: skip


def _nobody_serves(facts: Facts, step: StepView) -> Finding:
    known = sorted({task for worker in facts.workers for task in worker.task_types})
    close = near(step.task, known)
    if close:
        seen = f"no worker serves {step.task!r}; workers serve {' and '.join(repr(task) for task in close)}"
    elif facts.workers:
        seen = f"{len(facts.workers)} workers are there, and none serves {step.task!r}"
    else:
        seen = f"no worker is there; the step asks for one that serves {step.task!r}"
    group = facts.steps.get(_origin(step), StepFacts()).group
    cure = f"dagnats worker --group {group}" if group else "dagnats worker"
    return Finding("no-worker", "wrong", seen, "the task waits in its queue until one comes", cure, step.id)


def _running(facts: Facts, step: StepView) -> Finding:
    run_id = facts.view.run_id
    since_s = (facts.now_ns - step.started_ns) / _SECOND if step.started_ns else 0.0
    limit_s = facts.steps.get(_origin(step), StepFacts()).timeout_ns / _SECOND
    who = f"worker {step.worker_id}" if step.worker_id else "a worker"
    if step.worker_id and step.worker_id not in {worker.worker_id for worker in facts.workers}:
        return Finding(
            "worker-gone",
            "waits",
            f"{who} began it {_span(since_s)} ago, and is in the list of workers no more",
            "its task goes to another worker when the queue's ack wait is over",
            f"dagnats queue show {step.task}",
            step.id,
        )
    if limit_s and since_s > limit_s + _SLOW_S:
        return Finding(
            "timeout-overdue",
            "wrong",
            f"{who} began it {_span(since_s)} ago; it may take {_span(limit_s)}",
            "the engine has not ended it: it is not running, or is behind",
            "dagnats queue repair --fix",
            step.id,
        )
    quiet_s = (facts.now_ns - facts.told_ns.get(step.id, facts.now_ns)) / _SECOND
    if quiet_s > _SILENT_S:
        return Finding(
            "silent",
            "wrong",
            f"{who} began it {_span(since_s)} ago, and its handler said last {_span(quiet_s)} ago how far it is",
            "it may hang: what it asks does not answer, or it waits for something that does not come",
            f"dagnats run fail {run_id} {step.id}",
            step.id,
        )
    may = f", of {_span(limit_s)} that it may take" if limit_s else "; nothing limits how long it may take"
    return Finding(
        "running",
        "waits",
        f"{who} has been at it for {_span(since_s)}{may}",
        "its handler has not returned: it works, waits for a signal, or hangs",
        f"dagnats run fail {run_id} {step.id}",
        step.id,
    )


def _origin(step: StepView) -> str:
    """The step of the definition that it is, or is a part of."""
    return step.part_of if ".map." in step.id else step.id


def _serves(worker: WorkerEntry, group: str) -> bool:
    return group in worker.groups if group else not worker.groups


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(names[:_MOST_NAMED]) + more) or "nobody"


def _span(seconds: float) -> str:
    """A time as people say it: `4 ms`, `12 s`, `3 min`, `5 h`, `2 days`."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1_000:.0f} ms"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3_600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
