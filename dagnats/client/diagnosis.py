"""Why a run does not go on: rules that look at facts, and name the cure. Pure; `client.diagnose` finds the facts.

The troubleshooting guides say what a person would check, one thing after the other. Each rule here is one such check.
A finding says what was seen, with its numbers, why that holds the run, and the command that cures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

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
_MOST_NAMED = 5

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

    kind: str
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
    """

    leads: bool = True
    behind: int = 0
    silent_s: float = 0.0


class StepFacts(NamedTuple):
    """What a step's definition says, as far as it matters here."""

    group: str = ""
    timeout_ns: int = 0
    max_attempts: int = 0


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


def findings(facts: Facts) -> list[Finding]:
    """What holds a run, most important first; for a run that has ended, what there is to say about that."""
    found = [*_of_engine(facts), *_of_run(facts)]
    if not facts.view.ended:
        for step in facts.view.steps:
            if step.in_flight or step.held:
                found += _of_step(facts, step)
        if facts.newest_hash and facts.newest_hash != facts.view.def_hash:
            found.append(_older_definition(facts))
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


# -- one step ----------------------------------------------------------------------------------------------------


def _of_step(facts: Facts, step: StepView) -> Iterator[Finding]:
    repeated = facts.errors.get(step.id, 0)
    if repeated > 1:
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


_ENGINES = frozenset({"sleep", "wait_for_event", "approval"})
"""Types of steps that the engine itself waits for."""


def _child(facts: Facts, step: StepView) -> Finding:
    status = facts.children.get(step.id, "")
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
    seen, why, cure = {
        "sleep": (f"it sleeps {left}", "it goes on then", f"dagnats run skip {run_id} {step.id}"),
        "approval": (
            f"it waits for somebody's approval, {left}",
            "a person has to answer",
            f"dagnats run approve {run_id} {step.id}",
        ),
        "wait_for_event": (
            f"it waits for event {step.awaits!r}, {left}",
            "whoever publishes that event lets it go on",
            f"dagnats event publish {step.awaits} '{{…}}'",
        ),
    }[step.type]
    yield Finding(step.type.replace("_", "-"), "waits" if step.type == "sleep" else "wrong", seen, why, cure, step.id)


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
        state = queue.state
        yield Finding(
            "busy-workers",
            "waits",
            f"it has been queued for {_span(waited_s)}: {state.waiting} tasks wait, {state.in_flight} are in the hands"
            f" of {len(fitting)} workers",
            "all workers are busy",
            f"dagnats queue show {step.task}",
            step.id,
        )
    else:
        yield Finding("queued", "waits", f"it was queued {_span(waited_s)} ago", "a worker will take it", "", step.id)


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
    return Finding(
        "rate",
        "waits",
        f"as many tasks of type {gate.task}{key} have begun as may in this time; it has been number {place.place} in"
        f" line for {waited}",
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
    return Finding("no-worker", "wrong", seen, "the task waits in its queue until one comes", "dagnats worker", step.id)


def _running(facts: Facts, step: StepView) -> Finding:
    run_id = facts.view.run_id
    since_s = (facts.now_ns - step.started_ns) / _SECOND if step.started_ns else 0.0
    limit_s = facts.steps.get(_origin(step), StepFacts()).timeout_ns / _SECOND
    who = f"worker {step.worker_id}" if step.worker_id else "a worker"
    if step.worker_id and facts.workers and step.worker_id not in {worker.worker_id for worker in facts.workers}:
        return Finding(
            "worker-gone",
            "waits",
            f"{who} began it {_span(since_s)} ago, and is not there any more",
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
    may = f", of {_span(limit_s)} that it may take" if limit_s else "; nothing limits how long it may take"
    return Finding(
        "running",
        "waits",
        f"{who} has been at it for {_span(since_s)}{may}",
        "its handler has not returned",
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
