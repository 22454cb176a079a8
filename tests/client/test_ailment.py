"""What `doctor` says of the whole, from facts made by hand, and of a server in memory."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.client.ailment import Ailment, Signs, ailments, unreachable
from dagnats.client.diagnosis import EngineState
from dagnats.client.queue import QueueView
from dagnats.errors import UnavailableError
from dagnats.model.ops import TaskLimited, WorkflowLimited
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.core.gate.view import GateView, RunGateView, RunPlace, TaskGateView, TaskPlace
from dagnats.runtime.ports import Defect, Holding, QueueState


def queue(name: str = "order.work", *, task: str = "order.work", paused: bool = False, **state: Any) -> QueueView:
    given: dict[str, Any] = {"waiting": 0, "in_flight": 0, "redelivered": 0, "ack_wait_s": 10.0, "pulls": 0}
    limits = TaskLimited(task=task, paused=paused, by="ann" if paused else "")
    gate = TaskGateView(task, None, 0, (), ())
    return QueueView(QueueState(name, **{**given, "oldest_ns": 0, **state}), limits, gate, (), task)


def slots(*, most: int, out: int, waiting: int) -> GateView:
    places = [TaskPlace(f"r{at}", "work", 1, max(at - out + 1, 0), 0, 0, "") for at in range(out + waiting)]
    gate = TaskGateView("order.work", None, most, tuple(places[:out]), tuple(places[out:]))
    return GateView((gate,), ())


def full(*, waiting: int) -> GateView:
    places = [TaskPlace(f"r{at}", "work", 1, at + 1, 0, 0, "", "order.work") for at in range(waiting)]
    return GateView((TaskGateView("order.work", None, 0, (), tuple(places), frozenset({"order.work"})),), ())


def runs(*, most: int, out: int, waiting: int) -> GateView:
    places = [
        RunPlace(f"r{at}", max(at - out + 1, 0), 0, "" if at < out else "max_runs") for at in range(out + waiting)
    ]
    return GateView((), (RunGateView("order", "", None, most, tuple(places[:out]), tuple(places[out:])),))


def one(signs: Signs) -> Ailment:
    (found,) = ailments(signs)
    return found


def test_of_a_healthy_whole_there_is_nothing_to_say() -> None:
    working = WorkerEntry(worker_id="w1", task_types=("order.work",))

    assert ailments(Signs(queues=(queue(waiting=3),), workers=(working,), holding=Holding(5, 0))) == []


@pytest.mark.parametrize(
    ("signs", "kind", "grade", "seen", "cure"),
    [
        (
            Signs(defects=(Defect("WORKFLOW_HISTORY", "missing"),)),
            "stream-missing",
            "wrong",
            "stream WORKFLOW_HISTORY is not there",
            "dagnats doctor --fix",
        ),
        (
            Signs(defects=(Defect("EVENTS", "differs", "storage is 'memory', not 'file'"),)),
            "stream-misconfigured",
            "wrong",
            "storage is 'memory', not 'file'",
            "nats stream edit EVENTS",
        ),
        (
            Signs(engine=EngineState(leads=False, behind=7, silent_s=90)),
            "no-engine",
            "wrong",
            "7 events",
            "dagnats serve",
        ),
        (
            Signs(engine=EngineState(leads=False, behind=7)),
            "no-engine",
            "wrong",
            "no engine has ever led, and 7 events",
            "dagnats serve",
        ),
        (Signs(engine=EngineState(behind=5_000)), "engine-behind", "waits", "5,000 events behind", ""),
        (Signs(engine=EngineState(silent_s=60)), "clock-skew", "note", "60 s ago", ""),
        (Signs(overdue=(3, 90.0)), "timer-overdue", "wrong", "3 wake-ups", "dagnats queue repair --fix"),
        (Signs(holding=Holding(84, 100)), "store-near-limit", "wrong", "(84%)", "dagnats clean --older-than=7d"),
        (
            Signs(holding=Holding(85, 100, "server")),
            "store-full",
            "wrong",
            "(85%); `max_store_bytes` is",
            "dagnats clean --older-than=7d",
        ),
        (Signs(asked_sync="always"), "sync-weaker", "wrong", "sync: always", "dagnats serve --sync always"),
        (Signs(queues=(queue(waiting=2),)), "no-worker", "wrong", "2 tasks wait in queue order.work", "dagnats worker"),
        (
            Signs(queues=(queue(paused=True, waiting=2),)),
            "queue-paused",
            "wrong",
            "paused by ann, and 2 tasks wait",
            "dagnats queue resume order.work",
        ),
        (
            Signs(queues=(queue(paused=True),)),
            "queue-paused",
            "note",
            "0 tasks wait",
            "dagnats queue resume order.work",
        ),
        (
            Signs(queues=(queue(waiting=7, in_flight=2, pulls=1),), gates=full(waiting=3)),
            "queue-full",
            "waits",
            "queue order.work takes no more than its 9 tasks; 3 wait in line",
            "dagnats worker",
        ),
        (
            Signs(queues=(queue(),), gates=slots(most=2, out=2, waiting=1)),
            "concurrency",
            "waits",
            "2 of at most 2 tasks of type order.work are in flight (r0/work, r1/work), and 1 wait",
            "dagnats queue limit order.work --concurrency 3",
        ),
        (
            Signs(gates=runs(most=1, out=1, waiting=4)),
            "max-runs",
            "waits",
            "1 of at most 1 runs of order go on (r0), and 4 wait",
            "dagnats workflow limit order --max-runs 2",
        ),
        (
            Signs(
                paused=(WorkflowLimited(workflow="order", paused=True, by="ann"),), gates=runs(most=1, out=1, waiting=4)
            ),
            "workflow-paused",
            "wrong",
            "workflow order is paused by ann, and 4 runs wait",
            "dagnats workflow resume order",
        ),
        (
            Signs(letters={"order.work": 3}),
            "dead-letters",
            "note",
            "3 dead letters (order.work: 3)",
            "dagnats dlq list",
        ),
    ],
)
def test_an_ailment_says_what_was_seen_and_what_cures_it(
    signs: Signs, kind: str, grade: str, seen: str, cure: str
) -> None:
    found = one(signs)

    assert (found.kind, found.grade, found.cure) == (kind, grade, cure)
    assert seen in found.seen


def test_a_worker_with_a_name_that_is_nearly_right_is_told() -> None:
    worker = WorkerEntry(worker_id="w1", task_types=("order.wrok",))

    assert "workers serve 'order.wrok'" in one(Signs(queues=(queue(waiting=1),), workers=(worker,))).seen


def test_a_worker_of_another_group_does_not_serve() -> None:
    grouped = queue("order.work.gpu", waiting=1)
    plain = WorkerEntry(worker_id="w1", task_types=("order.work",))
    right = WorkerEntry(worker_id="w2", task_types=("order.work",), groups=("gpu",))

    assert one(Signs(queues=(grouped,), workers=(plain,))).kind == "no-worker"
    assert ailments(Signs(queues=(grouped,), workers=(plain, right))) == []


NOW_NS = 1_767_225_600_000_000_000  # 2026-01-01, midnight UTC


@pytest.mark.parametrize(
    ("last_seen", "told"),
    [
        ("2026-01-01T00:01:00Z", "worker w1 on east was seen 60 s from now"),
        ("2025-12-31T23:58:00Z", "worker w1 on east was seen 120 s ago; an entry is listed for 60 s"),
    ],
)
def test_a_worker_whose_clock_is_another_one_is_told(last_seen: str, told: str) -> None:
    worker = WorkerEntry(worker_id="w1", hostname="east", last_seen=last_seen)
    found = one(Signs(workers=(worker,), now_ns=NOW_NS, renewed=True))
    assert (found.kind, found.grade, found.subject) == ("clock-skew", "note", "w1")
    assert told in found.seen
    assert ailments(Signs(workers=(worker,), now_ns=NOW_NS)) == []  # where nobody renews, an entry may be old


@pytest.mark.parametrize("last_seen", ["2026-01-01T00:00:02Z", "2025-12-31T23:59:10Z", "", "at noon"])
def test_a_worker_seen_within_a_minute_is_well(last_seen: str) -> None:
    worker = WorkerEntry(worker_id="w1", last_seen=last_seen)
    assert ailments(Signs(workers=(worker,), now_ns=NOW_NS, renewed=True)) == []


def test_tasks_that_nobody_takes_are_told_when_they_lie_there_for_a_while() -> None:
    listed = (WorkerEntry(worker_id="w1", task_types=("order.work",)),)
    lying = Signs(queues=(queue(waiting=1, oldest_ns=NOW_NS - 6_000_000_000),), workers=listed, now_ns=NOW_NS)
    assert one(lying).kind == "worker-stale"
    new = Signs(queues=(queue(waiting=1, oldest_ns=NOW_NS - 1_000_000_000),), workers=listed, now_ns=NOW_NS)
    assert ailments(new) == []


def test_what_somebody_has_to_do_comes_first() -> None:
    signs = Signs(letters={"a": 1}, engine=EngineState(behind=5_000), queues=(queue(waiting=1),))

    assert [each.grade for each in ailments(signs)] == ["wrong", "waits", "note"]
    assert unreachable(UnavailableError("no answer")).grade == "wrong"


def test_who_is_not_let_in_is_not_told_to_start_another_server() -> None:
    closed = unreachable(UnavailableError("Authorization Violation", hint="the server asks for another token"))

    assert (closed.why, closed.cure) == ("the server asks for another token", "")
