"""What a diagnosis says of a run, from facts made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from dagnats.client.cause import findings
from dagnats.client.diagnosis import EngineState, Facts, Finding, StepFacts
from dagnats.client.letter import DeadLetter
from dagnats.client.queue import QueueView
from dagnats.client.view import RunView, StepView
from dagnats.model.ops import TaskLimited, WorkflowLimited
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.core.gate.view import GateView, RunGateView, RunPlace, TaskGateView, TaskPlace
from dagnats.runtime.ports import QueueState

NOW = 1_000_000 * 1_000_000_000


def ago(seconds: float) -> int:
    return NOW - int(seconds * 1_000_000_000)


def step(id: str = "work", **fields: Any) -> StepView:
    given: dict[str, Any] = {
        "id": id, "task": "order.work", "status": "queued", "attempts": 1, "needs": (), "auxiliary": False,
        "serves": "", "output": None, "error": "", "worker_id": "", "queued_ns": ago(60), "started_ns": 0,
        "ended_ns": 0, "retry_at_ns": 0,
    }  # fmt: skip
    return StepView(**{**given, **fields})


def view(*steps: StepView, **fields: Any) -> RunView:
    given: dict[str, Any] = {
        "run_id": "run-1", "workflow": "order", "def_hash": "a" * 64, "status": "running", "steps": steps,
        "leaves": (), "input": None, "output": None, "error": "", "failed_step": "", "compensating": False,
        "created_ns": ago(90), "ended_ns": 0, "seq": 1,
    }  # fmt: skip
    return RunView(**{**given, **fields})


def facts(run: RunView, **fields: Any) -> Facts:
    return replace(Facts(view=run, now_ns=NOW, newest_hash="a" * 64), **fields)


def queue(name: str = "order.work", *, paused: bool = False, **state: Any) -> dict[str, QueueView]:
    given: dict[str, Any] = {"waiting": 0, "in_flight": 0, "redelivered": 0, "ack_wait_s": 10.0, "pulls": 0}
    limits = TaskLimited(task="order.work", paused=paused, by="ann" if paused else "")
    gate = TaskGateView("order.work", None, 0, (), ())
    shown = QueueView(QueueState(name, **{**given, "oldest_ns": 0, **state}), limits, gate, (), "order.work")
    return {name: shown}


def worker(*task_types: str, id: str = "w1", groups: tuple[str, ...] = ()) -> WorkerEntry:
    return WorkerEntry(worker_id=id, task_types=task_types, groups=groups)


def task_gate(said: TaskLimited | None = None, *, concurrency: int = 0, out: int = 0) -> GateView:
    waiting = TaskPlace("run-1", "work", 1, 3, ago(30), 0, "")
    holders = tuple(TaskPlace(f"other-{at}", "work", 1, 0, 0, 0, "") for at in range(out))
    return GateView((TaskGateView("order.work", said, concurrency, holders, (waiting,)),), ())


def full_gate() -> GateView:
    waiting = TaskPlace("run-1", "work", 1, 3, ago(30), 0, "", "order.work")
    return GateView((TaskGateView("order.work", None, 0, (), (waiting,), frozenset({"order.work"})),), ())


def run_gate(why: Literal["pause", "max_runs", "singleton"], said: WorkflowLimited | None = None) -> GateView:
    place = RunPlace("run-1", 2, ago(30), why)
    return GateView((), (RunGateView("order", "", said, 1, (RunPlace("other-1", 0, 0, ""),), (place,)),))


LETTER = DeadLetter(
    7, "dead.order.work.run-1.work", "run-1", "work", "order.work", "boom", 1, "TASK_QUEUES", 0, {}, b""
)
SERVED = (worker("order.work"),)

SITUATIONS: dict[str, tuple[Facts, str, str, str, str]] = {
    "no-engine": (
        facts(view(), engine=EngineState(leads=False, silent_s=30)), "wrong", "30 s", "nobody decides", "dagnats serve",
    ),
    "engine-behind": (facts(view(), engine=EngineState(behind=20_000)), "waits", "20,000 events", "among them", ""),
    "run-paused": (
        facts(view(paused=True)), "wrong", "run run-1 is paused", "nothing more", "dagnats run resume run-1",
    ),
    "scheduled": (facts(view(status="scheduled", run_at_ns=ago(-90))), "waits", "in 90 s", "its time", ""),
    "not-admitted": (facts(view(status="pending")), "waits", "90 s ago", "has not come to its start", ""),
    "workflow-paused": (
        facts(
            view(status="pending"),
            gates=run_gate("pause", WorkflowLimited(workflow="order", paused=True, by="ann")),
        ),
        "wrong", "paused by ann; this run is number 2", "none of its runs", "dagnats workflow resume order",
    ),
    "max-runs": (
        facts(view(status="pending"), gates=run_gate("max_runs")),
        "waits", "1 of at most 1 runs of order go on (other-1); this one is number 2", "one of them has ended",
        "--max-runs 2",
    ),
    "singleton": (
        facts(view(status="pending"), gates=run_gate("singleton")),
        "waits", "another run of order goes on: other-1", "only one", "dagnats run diagnose other-1",
    ),
    "ended": (
        facts(view(status="failed", ended_ns=NOW, error="no money", failed_step="charge")),
        "wrong", "step charge failed: no money", "not go on by itself", "--mode replay",
    ),
    "older-definition": (
        facts(view(), newest_hash="b" * 64), "note", "registered is bbbbbbbbbbbb", "new runs only", "run retry",
    ),
    "dead-letters": (
        facts(view(), letters=(LETTER,)),
        "note", "1 of its tasks are dead letters: 7", "kept", "dlq list --run run-1",
    ),
    "same-error": (
        facts(
            view(step(error="boom")), errors={"work": 3}, steps={"work": StepFacts(max_attempts=5)}, workers=SERVED
        ),
        "note", "last 3 attempts of 5 failed with the same error: boom", "may not help", "--type step.failed",
    ),
    "retry": (facts(view(step(retry_at_ns=ago(-20), error="boom"))), "waits", "due in 20 s", "tried again", "run fail"),
    "in-line": (facts(view(step(status="pending", held=True))), "waits", "as many steps", "one of them", ""),
    "child": (
        facts(view(step(type="sub_workflow", child_run_id="c1")), children={"work": "running"}),
        "waits", "run c1 runs for it, and is running", "ends when that run does", "dagnats run diagnose c1",
    ),
    "timer-overdue": (
        facts(view(step(type="sleep", due_ns=ago(20)))), "wrong", "over 20 s ago", "wake-up is lost", "queue repair",
    ),
    "sleep": (facts(view(step(type="sleep", due_ns=ago(-20)))), "waits", "it sleeps until", "goes on", "run skip"),
    "approval": (
        facts(view(step(type="approval"))), "wrong", "somebody's approval, without a limit", "person",
        "dagnats run approve run-1 work",
    ),
    "wait-for-event": (
        facts(view(step(type="wait_for_event", awaits="payment.done"))), "wrong", "'payment.done'", "publishes",
        "dagnats event publish payment.done",
    ),
    "queue-paused": (
        facts(view(step()), queues=queue(paused=True), workers=SERVED), "wrong", "paused by ann", "handed out",
        "dagnats queue resume order.work",
    ),
    "no-worker": (
        facts(view(step()), workers=(worker("order.wrok"),)), "wrong", "workers serve 'order.wrok'", "until one comes",
        "dagnats worker",
    ),
    "group-unmatched": (
        facts(view(step()), workers=SERVED, steps={"work": StepFacts(group="gpu")}),
        "wrong", "1 workers serve 'order.work', none of them in group 'gpu'", "of that group",
        "dagnats worker --group gpu",
    ),
    "busy-workers": (
        facts(view(step()), workers=SERVED, queues=queue(waiting=40, in_flight=8, pulls=1)),
        "waits", "queued for 60 s: 40 tasks wait, 8 are in the hands of 1 workers", "busy", "queue show order.work",
    ),
    "queued": (
        facts(view(step(queued_ns=ago(0.5))), workers=SERVED, queues=queue(waiting=1)),
        "waits", "500 ms ago", "will take it", "",
    ),
    "concurrency": (
        facts(view(step()), gates=task_gate(concurrency=2, out=2)),
        "waits", "2 of at most 2 tasks of type order.work are in flight (other-0/work, other-1/work); it is number 3",
        "one of them", "--concurrency 3",
    ),
    "rate": (
        facts(view(step()), gates=task_gate(TaskLimited(task="order.work", rate=1, period_ns=5))),
        "waits", "number 3 in line for 30 s", "the rate lets", "queue show order.work",
    ),
    "queue-full": (
        facts(view(step()), gates=full_gate()),
        "waits", "queue order.work has as many tasks as it takes; it has been number 3 in line for 30 s",
        "when workers have taken", "dagnats worker",
    ),
    "worker-gone": (
        facts(view(step(status="running", worker_id="w9", started_ns=ago(5))), workers=SERVED),
        "waits", "worker w9 began it 5 s ago, and is in the list of workers no more", "another worker", "queue show",
    ),
    "timeout-overdue": (
        facts(
            view(step(status="running", worker_id="w1", started_ns=ago(50))), workers=SERVED,
            steps={"work": StepFacts(timeout_ns=30_000_000_000)},
        ),
        "wrong", "began it 50 s ago; it may take 30 s", "has not ended it", "queue repair",
    ),
    "running": (
        facts(view(step(status="running", worker_id="w1", started_ns=ago(300))), workers=SERVED),
        "waits", "has been at it for 5 min; nothing limits", "has not returned", "dagnats run fail run-1 work",
    ),
}  # fmt: skip


def named(found: list[Finding], kind: str) -> Finding:
    assert kind in {each.kind for each in found}, found
    return next(each for each in found if each.kind == kind)


@pytest.mark.parametrize("kind", SITUATIONS)
def test_a_situation_is_told_with_its_numbers_its_meaning_and_its_cure(kind: str) -> None:
    given, grade, seen, why, cure = SITUATIONS[kind]
    found = named(findings(given), kind)
    assert found.grade == grade
    assert seen in found.seen
    assert why in found.why
    assert cure in found.cure
    assert bool(cure) is bool(found.cure)


def test_a_full_queue_that_nobody_serves_is_said_to_be_that_too() -> None:
    kinds = [each.kind for each in findings(facts(view(step()), gates=full_gate()))]
    assert kinds == ["no-worker", "queue-full"]
    assert [each.kind for each in findings(facts(view(step()), gates=full_gate(), workers=SERVED))] == ["queue-full"]


def test_one_worker_is_not_told_as_several() -> None:
    (alone,) = findings(facts(view(step()), workers=(worker("quite.another"),)))
    assert alone.seen == "1 worker is there, and none serves 'order.work'"


def test_a_step_that_its_paused_run_holds_is_not_said_to_wait_for_others() -> None:
    found = named(findings(facts(view(step(status="pending", held=True), paused=True))), "in-line")
    assert (found.seen, found.why) == ("it is ready, and its run is paused", "it goes on when the run is resumed")


def test_a_step_that_rests_without_an_error_tells_of_none() -> None:
    found = named(findings(facts(view(step(retry_at_ns=ago(-20))))), "retry")
    assert (found.seen, found.why) == ("its next attempt is due in 20 s", "it begins then")


def test_what_somebody_has_to_do_comes_first() -> None:
    given = facts(view(step(type="sleep", due_ns=ago(-20)), paused=True), newest_hash="b" * 64)
    assert [each.grade for each in findings(given)] == ["wrong", "waits", "note"]


def test_of_a_run_that_completed_there_is_nothing_to_say() -> None:
    assert findings(facts(view(step(status="completed"), status="completed", ended_ns=NOW))) == []


def test_a_paused_queue_says_so_also_where_a_gate_holds_the_step() -> None:
    given = facts(view(step()), gates=task_gate(TaskLimited(task="order.work", paused=True, by="ann")))
    found = named(findings(given), "queue-paused")
    assert "paused by ann; it is number 3 in line" in found.seen
    assert found.fix == "resume_queue"


def test_a_queue_that_somebody_pulls_from_has_a_worker_whatever_the_directory_says() -> None:
    kinds = {each.kind for each in findings(facts(view(step()), queues=queue(waiting=1, pulls=1)))}
    assert kinds == {"busy-workers"}
