"""What is wrong with the whole: rules that look at facts, and name the cure. Pure; `client.checkup` finds the facts.

`client.diagnosis` asks the same of one run. An ailment says what was seen, with its numbers, what that means, and the
command that cures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.client.diagnosis import EngineState
from dagnats.client.wording import named
from dagnats.model.identifier import near
from dagnats.model.instant import written_ns
from dagnats.runtime.core.gate.view import GateView
from dagnats.runtime.ports import JetStreamOff
from dagnats.runtime.room import FULL, NEAR_FULL, limit_of, used

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagnats.client.diagnosis import Grade
    from dagnats.client.queue import QueueView
    from dagnats.errors import UnavailableError
    from dagnats.model.ops import WorkflowLimited
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.ports import Defect, Holding, Sync
    from dagnats.runtime.telemetry.entry import LogEntry

_BEHIND = 1_000  # events; what an engine at full speed has not decided yet is fewer
_OVERDUE_S = 30.0
_CLOCKS_S = 5.0  # apart, a lease that is renewed looks as if it had expired
_LISTED_S = 60.0  # so long the server shows what a worker has said of itself
_LEFT_LYING_S = 5.0  # a worker that asks for tasks gets one within milliseconds

Kind = Literal[
    "unreachable", "jetstream-off", "stream-missing", "stream-misconfigured", "consumer-missing",
    "no-engine", "engine-behind", "clock-skew", "timer-overdue", "store-full", "store-near-limit", "sync-weaker",
    "queue-paused", "queue-full", "no-worker", "worker-stale", "concurrency", "workflow-paused", "max-runs",
    "dead-letters", "telemetry-export",
]  # fmt: skip
"""What can be found of the whole."""

Fix = Literal["", "prepare", "resume_queue", "resume_workflow"]


class Ailment(NamedTuple):
    """One thing that was found.

    Attributes:
        kind: A stable name; programs compare this, never the text.
        grade: Whether somebody has to do something.
        seen: What was seen, with its numbers.
        why: What that means.
        cure: The command that helps; "" where waiting is all there is to do.
        subject: The queue, the workflow or the stream that it is about, or "".
        fix: What `--fix` would do; "" for nothing.
    """

    kind: Kind
    grade: Grade
    seen: str
    why: str
    cure: str = ""
    subject: str = ""
    fix: Fix = ""


@dataclass(frozen=True, slots=True)
class Signs:
    """All that the rules look at.

    Attributes:
        defects: What streams, buckets and consumers lack.
        engine: Whether somebody decides.
        gates: Who has slots, and who waits.
        queues: All of them.
        workers: The workers that there are.
        now_ns: This machine's time.
        renewed: Whether workers renew what they have said of themselves.
        paused: Workflows that somebody holds.
        letters: How many dead letters there are, by what they are about.
        overdue: How many wake-ups should have come, and how late the oldest is, in seconds.
        holding: How full the store is.
        sync: When the server's writes are on disk, as whoever started it said.
        asked_sync: When they should be, by the configuration.
        exports: What processes say of exporting telemetry that does not work.
    """

    defects: tuple[Defect, ...] = ()
    engine: EngineState = field(default_factory=lambda: EngineState())
    gates: GateView = field(default_factory=lambda: GateView((), ()))
    queues: tuple[QueueView, ...] = ()
    workers: tuple[WorkerEntry, ...] = ()
    now_ns: int = 0
    renewed: bool = False
    paused: tuple[WorkflowLimited, ...] = ()
    letters: Mapping[str, int] = field(default_factory=dict[str, int])
    overdue: tuple[int, float] = (0, 0.0)
    holding: Holding | None = None
    sync: Sync = "interval"
    asked_sync: Sync = "interval"
    exports: tuple[LogEntry, ...] = ()


def ailments(signs: Signs) -> list[Ailment]:
    """What is wrong with the whole, most important first."""
    found = [
        *(_defect(defect) for defect in signs.defects if defect.kind != "no-consumer" or signs.engine.leads),
        *_of_engine(signs),
        *_of_clocks(signs),
        *_of_store(signs),
        *(each for queue in signs.queues for each in _of_queue(signs, queue)),
        *_of_workflows(signs),
        *_of_letters(signs),
        *map(_of_export, signs.exports),
    ]
    order = {"wrong": 0, "waits": 1, "note": 2}
    return sorted(found, key=lambda ailment: order[ailment.grade])


def unreachable(error: UnavailableError) -> Ailment:
    """The one thing to say when the server does not answer, does not let us in, or stores nothing."""
    if isinstance(error, JetStreamOff):
        return _off(str(error), error.hint)
    if error.hint and "dagnats serve" not in error.hint:  # somebody is there, and wants something else of us
        return Ailment("unreachable", "wrong", str(error), error.hint)
    return Ailment("unreachable", "wrong", str(error), "nothing else can be looked at", "dagnats serve")


def _off(seen: str, cure: str) -> Ailment:
    return Ailment("jetstream-off", "wrong", seen, "nothing can be stored there", cure, "JetStream")


def _defect(defect: Defect) -> Ailment:
    if defect.kind == "missing":
        return Ailment(
            "stream-missing", "wrong", f"stream {defect.name} is not there", "what is to be stored there is refused",
            "dagnats doctor --fix", defect.name, "prepare",
        )  # fmt: skip
    if defect.kind == "off":
        return _off("NATS answers, and its JetStream is off", defect.detail)
    if defect.kind == "no-consumer":
        return Ailment(
            "consumer-missing", "wrong", f"the engine's consumer {defect.name} of stream {defect.detail} is not there",
            "no wake-up that comes due is heard: an engine makes it when it begins to lead", "dagnats serve",
            defect.name,
        )  # fmt: skip
    return Ailment(
        "stream-misconfigured",
        "wrong",
        f"stream {defect.name} is set up otherwise: {defect.detail}",
        "no engine and no worker starts on it",
        f"nats stream edit {defect.name}",
        defect.name,
    )


def _of_engine(signs: Signs) -> Iterator[Ailment]:
    engine = signs.engine
    if not engine.leads:
        yield Ailment(
            "no-engine",
            "wrong",
            f"{engine.silence}, and {engine.behind:,} events wait",
            "nobody decides: no run goes on, and no new one begins",
            "dagnats serve",
        )
    elif engine.behind > _BEHIND:
        yield Ailment(
            "engine-behind", "waits", f"the engine is {engine.behind:,} events behind the end of the log",
            "runs go on late",
        )  # fmt: skip
    if engine.leads and engine.silent_s > _CLOCKS_S:
        yield Ailment(
            "clock-skew",
            "note",
            f"the lease was renewed just now, and by this machine's clock {engine.silent_s:.0f} s ago",
            "ages and waits are told wrong here; what the engine does goes by the server's clock",
        )
    count, late_s = signs.overdue
    if engine.leads and count and late_s > _OVERDUE_S:
        yield Ailment(
            "timer-overdue",
            "wrong",
            f"{count} wake-ups have not been taken up, the oldest for {late_s:.0f} s",
            "retries, sleeps and time limits of their runs are late",
            "dagnats queue repair --fix",
        )


def _of_clocks(signs: Signs) -> Iterator[Ailment]:
    """Workers whose own clock says something else than this machine's about when they were listed."""
    for worker in signs.workers if signs.renewed else ():
        ahead_s = (seen_ns - signs.now_ns) / 1e9 if (seen_ns := written_ns(worker.last_seen)) else 0.0
        if ahead_s > _CLOCKS_S or ahead_s < -_LISTED_S - _CLOCKS_S:
            where = f" on {worker.hostname}" if worker.hostname else ""
            yield Ailment(
                "clock-skew",
                "note",
                f"by its own clock, worker {worker.worker_id}{where} was seen {abs(ahead_s):.0f} s"
                + (" from now" if ahead_s > 0 else f" ago; an entry is listed for {_LISTED_S:.0f} s"),
                "times that it tells, such as when a step began, are wrong; what the engine does goes by the server's"
                " clock",
                subject=worker.worker_id,
            )


def _of_store(signs: Signs) -> Iterator[Ailment]:
    holding = signs.holding
    if holding is not None and holding.share >= NEAR_FULL:
        is_full = holding.share >= FULL
        yield Ailment(
            "store-full" if is_full else "store-near-limit",
            "wrong",
            f"{used(holding)}; {limit_of(holding)} is the limit",
            "no run begins, and no signal and no event is taken: the rest is for runs under way"
            if is_full
            else f"from {FULL:.0%} on, no run begins",
            "dagnats clean --older-than=7d",
        )
    if signs.asked_sync == "always" and signs.sync != "always":
        yield Ailment(
            "sync-weaker",
            "wrong",
            "the configuration asks for sync: always, and the server writes to disk from time to time",
            "a machine that loses its power loses the newest events",
            "dagnats serve --sync always",
        )


def _of_queue(signs: Signs, queue: QueueView) -> Iterator[Ailment]:
    state, gate, fitting = queue.state, signs.gates.task(queue.task), _fitting(signs, queue)
    waiting = state.waiting + (len(gate.waiting) if queue.task == queue.name else 0)
    if queue.limits.paused and queue.task == queue.name:
        by = f" by {queue.limits.by}" if queue.limits.by else ""
        yield Ailment(
            "queue-paused", "wrong" if waiting else "note",
            f"queue {queue.task} is paused{by}, and {waiting} tasks wait",
            "no task of this type is handed out", f"dagnats queue resume {queue.task}", queue.task, "resume_queue",
        )  # fmt: skip
    elif state.waiting and not state.pulls and not fitting:
        yield _nobody_serves(signs, queue)
    elif state.waiting and not (state.pulls or state.in_flight) and _age_s(signs, state.oldest_ns) > _LEFT_LYING_S:
        yield _stale(queue, fitting)
    if queue.name in gate.full:
        held, length = sum(place.queue == queue.name for place in gate.waiting), state.waiting + state.in_flight
        yield Ailment(
            "queue-full",
            "waits",
            f"queue {queue.name} takes no more than its {length:,} tasks; {held:,} wait in line",
            "they go on as workers take tasks",
            "dagnats worker",
            queue.name,
        )
    if gate.concurrency and gate.waiting and len(gate.out) >= gate.concurrency and queue.task == queue.name:
        holders = named([f"{out.run_id}/{out.step_id}" for out in gate.out])
        yield Ailment(
            "concurrency",
            "waits",
            f"{len(gate.out)} of at most {gate.concurrency} tasks of type {queue.task} are in flight ({holders}), and"
            f" {len(gate.waiting)} wait",
            "they go on as these end",
            f"dagnats queue limit {queue.task} --concurrency {gate.concurrency + 1}",
            queue.task,
        )


def _age_s(signs: Signs, time_ns: int) -> float:
    return (signs.now_ns - time_ns) / 1e9 if time_ns else 0.0


def _fitting(signs: Signs, queue: QueueView) -> list[str]:
    """The workers that are listed for a queue."""
    group = queue.name.removeprefix(queue.task).removeprefix(".")
    return [
        worker.worker_id
        for worker in signs.workers
        if queue.task in worker.task_types and (group in worker.groups if group else not worker.groups)
    ]


def _stale(queue: QueueView, listed: list[str]) -> Ailment:
    never = "" if queue.state.ack_wait_s else "; it has no consumer"
    return Ailment(
        "worker-stale",
        "wrong",
        f"{queue.state.waiting} tasks wait in queue {queue.name}; {named(listed)} should serve it, and nobody takes"
        f" tasks from it{never}",
        "a worker that has died, or lost its connection, is listed for another minute",
        "dagnats worker",
        queue.name,
    )


def _nobody_serves(signs: Signs, queue: QueueView) -> Ailment:
    known = sorted({task for worker in signs.workers for task in worker.task_types})
    close = near(queue.task, known)
    what = f"; workers serve {' and '.join(repr(task) for task in close)}" if close else ""
    group = queue.name.removeprefix(queue.task).removeprefix(".")
    return Ailment(
        "no-worker",
        "wrong",
        f"{queue.state.waiting} tasks wait in queue {queue.name}, and no worker serves it{what}",
        "they wait until one comes",
        f"dagnats worker --group {group}" if group else "dagnats worker",
        queue.name,
    )


def _of_workflows(signs: Signs) -> Iterator[Ailment]:
    for said in signs.paused:
        waiting = sum(len(gate.waiting) for gate in signs.gates.runs if gate.workflow == said.workflow)
        by = f" by {said.by}" if said.by else ""
        yield Ailment(
            "workflow-paused",
            "wrong" if waiting else "note",
            f"workflow {said.workflow} is paused{by}, and {waiting} runs wait",
            "none of its runs begins",
            f"dagnats workflow resume {said.workflow}",
            said.workflow,
            "resume_workflow",
        )
    held = {said.workflow for said in signs.paused}
    for gate in signs.gates.runs:
        if gate.workflow not in held and gate.max_runs and gate.waiting and len(gate.out) >= gate.max_runs:
            holders = named([out.run_id for out in gate.out])
            key = f" for {gate.key!r}" if gate.key else ""
            yield Ailment(
                "max-runs",
                "waits",
                f"{len(gate.out)} of at most {gate.max_runs} runs of {gate.workflow}{key} go on ({holders}), and"
                f" {len(gate.waiting)} wait",
                "they begin as these end",
                f"dagnats workflow limit {gate.workflow} --max-runs {gate.max_runs + 1}",
                gate.workflow,
            )


def _of_letters(signs: Signs) -> Iterator[Ailment]:
    total = sum(signs.letters.values())
    if total:
        most = sorted(signs.letters, key=lambda what: -signs.letters[what])
        what = named([f"{each}: {signs.letters[each]}" for each in most])
        yield Ailment(
            "dead-letters", "note", f"there are {total} dead letters ({what})",
            "they failed for good, and are kept for somebody to look at", "dagnats dlq list",
        )  # fmt: skip


def _of_export(said: LogEntry) -> Ailment:
    endpoint = str(said.attributes.get("endpoint", ""))
    return Ailment(
        "telemetry-export",
        "wrong",
        f"{said.attributes.get('process')}: {said.body}",
        "runs are not touched, and `dagnats logs` shows everything; but what reads the collector sees nothing",
        f"curl -i -X POST -H 'Content-Type: application/json' -d '{{}}' {endpoint}",
        endpoint,
    )
