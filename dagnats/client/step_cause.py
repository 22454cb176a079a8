"""Why a step does not go on: rules that look at facts, and name the cure. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.diagnosis import Finding, StepFacts
from dagnats.client.wording import named, span
from dagnats.model.event import SILENT, TOO_SLOW
from dagnats.model.identifier import near
from dagnats.model.instant import second_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.client.diagnosis import Facts
    from dagnats.client.queue import QueueView
    from dagnats.client.view import StepView
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.core.gate.view import TaskGateView, TaskPlace

_SECOND = 1_000_000_000
_SLOW_S = 2.0  # a queue that works needs milliseconds
_SILENT_S = 300.0  # of a handler that tells how far it is: shorter pauses are common


def of_step(facts: Facts, step: StepView) -> Iterator[Finding]:
    """What holds a step that is ready, or in flight."""
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
        wait = span((step.retry_at_ns - facts.now_ns) / _SECOND)
        last = f"; the last one: {step.error}" if step.error else ""  # a turn of a loop, or a pause, has none
        yield Finding(
            "retry", "waits", f"its next attempt is due in {wait}{last}",
            "it is tried again" if last else "it begins then",
            f"dagnats run fail {facts.view.run_id} {step.id}", step.id,
        )  # fmt: skip
    elif step.held:
        paused = facts.view.paused
        yield Finding(
            "in-line",
            "waits",
            f"it is ready, and {'its run is paused' if paused else 'as many steps of the run are in flight as may be'}",
            f"it goes on when {'the run is resumed' if paused else 'one of them has ended'}",
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
        limit = span(said.timeout_ns / _SECOND)
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
        limit = span(said.heartbeat_ns / _SECOND)
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
            f"its time was over {span(late_s)} ago",
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
        yield Finding("queued", "waits", f"it was queued {span(waited_s)} ago", "a worker will take it", "", step.id)


def _not_begun(facts: Facts, step: StepView, queue: QueueView, fitting: list[WorkerEntry]) -> Finding:
    """Somebody serves its queue, and has not begun it."""
    state, waited = queue.state, span((facts.now_ns - step.queued_ns) / _SECOND)
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
            f"it was queued {waited} ago; {named([worker.worker_id for worker in fitting])} should serve queue"
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
            f"if that worker has died, another one gets the task {span(state.ack_wait_s)} after it was handed out",
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
        holders = named([f"{out.run_id}/{out.step_id}" for out in gate.out])
        return Finding(
            "concurrency",
            "waits",
            f"{len(gate.out)} of at most {gate.concurrency} tasks of type {gate.task} are in flight ({holders}); it is"
            f" number {place.place} in line",
            "it goes on when one of them has ended",
            f"dagnats queue limit {gate.task} --concurrency {gate.concurrency + 1}",
            step.id,
        )
    waited = span((facts.now_ns - place.since_ns) / _SECOND)
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
    refill = f", the next one may in {span((gate.next_ns - facts.now_ns) / _SECOND)}" if gate.next_ns else ""
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
        there = "1 worker is" if len(facts.workers) == 1 else f"{len(facts.workers)} workers are"
        seen = f"{there} there, and none serves {step.task!r}"
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
            f"{who} began it {span(since_s)} ago, and is in the list of workers no more",
            "its task goes to another worker when the queue's ack wait is over",
            f"dagnats queue show {step.task}",
            step.id,
        )
    if limit_s and since_s > limit_s + _SLOW_S:
        return Finding(
            "timeout-overdue",
            "wrong",
            f"{who} began it {span(since_s)} ago; it may take {span(limit_s)}",
            "the engine has not ended it: it is not running, or is behind",
            "dagnats queue repair --fix",
            step.id,
        )
    quiet_s = (facts.now_ns - facts.told_ns.get(step.id, facts.now_ns)) / _SECOND
    if quiet_s > _SILENT_S:
        return Finding(
            "silent",
            "wrong",
            f"{who} began it {span(since_s)} ago, and its handler said last {span(quiet_s)} ago how far it is",
            "it may hang: what it asks does not answer, or it waits for something that does not come",
            f"dagnats run fail {run_id} {step.id}",
            step.id,
        )
    may = f", of {span(limit_s)} that it may take" if limit_s else "; nothing limits how long it may take"
    return Finding(
        "running",
        "waits",
        f"{who} has been at it for {span(since_s)}{may}",
        "its handler has not returned: it works, waits for a signal, or hangs",
        f"dagnats run fail {run_id} {step.id}",
        step.id,
    )


def _origin(step: StepView) -> str:
    """The step of the definition that it is, or is a part of."""
    return step.part_of if ".map." in step.id else step.id


def _serves(worker: WorkerEntry, group: str) -> bool:
    return group in worker.groups if group else not worker.groups
