"""Queues that take no more tasks than there is room for, as it was measured."""

from __future__ import annotations

from typing import Any

from dagnats.model.event import StepCompleted, StepQueued
from dagnats.model.json import encode
from dagnats.model.ops import QueueMeasured
from tests.core.gate.world import SECOND, World, graph, step, stored


def one(**settings: Any) -> World:
    return World(w=graph(step("a", **settings)))


def measure(world: World, room: int, queue: str = "a.task") -> None:
    world.say(QueueMeasured(queue=queue, room=room))
    world.settle()


def start(world: World, *run_ids: str) -> None:
    for run_id in run_ids:
        world.start(run_id)


def test_as_many_tasks_as_there_is_room_for_go_and_the_others_wait_in_line() -> None:
    world = one()
    measure(world, 2)
    start(world, "r0", "r1", "r2", "r3")
    assert world.queued == ["r0.a", "r1.a"]
    assert world.waiting() == ["r2.a", "r3.a"]
    assert world.view.task("a.task").full == {"a.task"}
    world.complete("r0")
    assert world.queued == ["r1.a"], "a result makes no room: only who measures sees how long the queue is"


def test_those_in_line_go_on_by_priority_when_there_is_room_again() -> None:
    world = World(w=graph(step("a")), first=graph(step("a", priority=5)))
    measure(world, 0)
    start(world, "r0", "r1")
    world.start("f", "first")
    measure(world, 2)
    assert world.queued == ["f.a", "r0.a"]
    assert world.waiting() == ["r1.a"]
    measure(world, -1)
    assert world.queued == ["f.a", "r0.a", "r1.a"]
    assert not world.gates.page(), "nothing is left of a queue that is short"


def test_what_was_queued_before_is_not_counted_and_not_held() -> None:
    world = one()
    start(world, "r0")
    measure(world, 1)
    start(world, "r1", "r2")
    assert world.queued == ["r0.a", "r1.a"]


def test_a_group_of_workers_has_a_queue_of_its_own() -> None:
    world = World(w=graph(step("a", worker_group="gpu")), plain=graph(step("a")))
    measure(world, 0, "a.task.gpu")
    start(world, "r0")
    world.start("p0", "plain")
    assert world.queued == ["p0.a"]
    assert world.gates.lines == {"a.task.gpu"}
    measure(world, 0)
    world.start("p1", "plain")
    measure(world, 1, "a.task.gpu")
    assert world.queued == ["p0.a", "r0.a"]
    assert world.waiting() == ["p1.a"]


def test_room_measured_for_a_type_whose_name_begins_alike_lets_nobody_go() -> None:
    world = one()
    measure(world, 0)
    start(world, "r0")
    measure(world, 5, "a.tasks")
    assert world.queued == []


def test_a_task_needs_its_slot_and_room() -> None:
    world = one(max_task_concurrency=1)
    measure(world, 1)
    start(world, "r0", "r1", "r2")
    world.complete("r0")
    assert world.queued == [], "there is a slot, and no room"
    measure(world, 5)
    assert world.queued == ["r1.a"], "there is room, and one slot"


def test_a_rate_asks_for_no_wake_up_while_there_is_no_room() -> None:
    world = one(rate_limit={"limit": 1, "period": "10s"})
    start(world, "r0")
    measure(world, 0)
    start(world, "r1")
    assert world.gates.wake_ns == 0
    measure(world, 3)
    assert world.queued == ["r0.a"]
    assert world.tick() == 10 * SECOND
    assert world.queued == ["r0.a", "r1.a"]


def test_a_task_let_go_by_hand_goes_though_there_is_no_room() -> None:
    world = one()
    measure(world, 0)
    start(world, "r0", "r1")
    world.feed(StepQueued(run_id="r1", step_id="a", attempt_number=1))
    assert world.queued == ["r1.a"]
    assert world.gates.rooms == {"a.task": 0}
    assert world.waiting() == ["r0.a"]


def test_who_is_cancelled_in_line_takes_no_room() -> None:
    world = one()
    measure(world, 0)
    start(world, "r0", "r1")
    world.cancel("r0")
    measure(world, 1)
    assert world.queued == ["r1.a"]


def test_a_task_for_one_worker_alone_goes_into_no_queue_that_could_be_full() -> None:
    world = World(w=graph(step("a"), step("b", "a"), sticky="hard", timeout="1h"))
    start(world, "r0")
    measure(world, 0, "b.task")
    world.feed(
        StepCompleted(run_id="r0", step_id="a", attempt_number=1, worker_id="w1", payload=encode(1)),
    )
    world.settle()
    assert world.queued == ["r0.b"]
    assert world.sent[-1].worker_id == "w1"


def test_who_takes_over_and_who_folds_anew_have_the_same_line() -> None:
    world = one()
    measure(world, 2)
    start(world, "r0", "r1", "r2", "r3")
    assert stored(world.again().gates.page()) == stored(world.gates.page())
    world.reopen()
    measure(world, 1)
    start(world, "r4")
    assert world.queued == ["r0.a", "r1.a", "r2.a"]
    assert world.waiting() == ["r3.a", "r4.a"]


def test_a_queue_that_nobody_has_measured_costs_no_ticket() -> None:
    world = one()
    measure(world, 0, "another.task")
    start(world, "r0")
    assert world.queued == ["r0.a"]
    assert list(world.gates.page().tasks) == []
