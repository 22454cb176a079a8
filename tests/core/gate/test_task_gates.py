"""How many tasks of a type are in flight, how many start in a time, who goes first."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.event import Record, StepQueued, WorkflowPaused, WorkflowResumed
from dagnats.model.ops import GateTicked
from dagnats.runtime.core.action import CancelTasks, Decision
from tests.core.gate.world import SECOND, World, graph, step, stored

RETRY = {"max_attempts": 3, "strategy": "fixed", "initial_delay": "1s"}


def one(**settings: Any) -> World:
    """A workflow of one step."""
    return World(w=graph(step("a", **settings)))


def start(world: World, count: int, **settings: Any) -> None:
    for at in range(count):
        world.start(f"r{at}", **settings)


# -- concurrency -----------------------------------------------------------------------------------------------


def test_as_many_tasks_as_the_limit_says_are_in_flight() -> None:
    world = one(max_task_concurrency=2)
    start(world, 4)
    assert world.queued == ["r0.a", "r1.a"]
    assert world.waiting() == ["r2.a", "r3.a"]
    world.complete("r1")
    assert world.queued == ["r0.a", "r2.a"]
    world.complete("r0")
    world.complete("r2")
    world.complete("r3")
    assert set(world.statuses().values()) == {"completed"}
    assert not world.gates.page()


def test_steps_without_a_limit_neither_wait_nor_count() -> None:
    world = World(w=graph(step("a", max_task_concurrency=1), {"id": "b", "task": "a.task"}))
    start(world, 2)
    assert world.queued == ["r0.a", "r0.b", "r1.b"]


def test_each_limit_of_a_type_holds_for_the_steps_that_have_it() -> None:
    low, high = step("a", max_task_concurrency=1), {"id": "b", "task": "a.task", "max_task_concurrency": 3}
    world = World(low=graph(low), high=graph(high))
    world.start("l0", "low")
    world.start("l1", "low")
    world.start("h0", "high")
    world.start("h1", "high")
    world.start("h2", "high")
    assert world.queued == ["l0.a", "h0.b", "h1.b"]
    world.complete("h0", "b")
    assert world.queued == ["l0.a", "h1.b", "h2.b"], "the one with the low limit does not stand in its way"


def test_items_of_a_map_hold_slots_too() -> None:
    items = {"id": "m", "task": "item", "type": "map", "depends_on": ["a"], "max_task_concurrency": 2}
    world = World(w=graph(step("a"), items))
    world.start("r")
    world.complete("r", "a", [1, 2, 3])
    assert world.queued == ["r.m.map.0", "r.m.map.1"]
    world.complete("r", "m.map.1")
    assert world.queued == ["r.m.map.0", "r.m.map.2"]
    world.complete("r", "m.map.0")
    world.complete("r", "m.map.2")
    assert world.status("r") == "completed"
    assert not world.gates.page()


def test_an_attempt_that_waits_to_be_repeated_holds_no_slot() -> None:
    world = one(max_task_concurrency=1, retry=RETRY)
    start(world, 2)
    world.fail("r0")
    assert world.queued == ["r1.a"]
    world.wake("r0")
    assert world.waiting() == ["r0.a"]
    world.complete("r1")
    assert world.queued == ["r0.a"]


def test_one_step_can_be_held_back_again_and_again() -> None:
    world = one(rate_limit={"limit": 1, "period": "10s"}, retry=RETRY)
    start(world, 1)
    for again in (1, 2, 3):
        world.fail("r0")
        world.wake("r0")
        assert (world.queued, world.waiting()) == ([], ["r0.a"])
        assert world.tick() == again * 10 * SECOND
        assert (world.queued, world.waiting()) == (["r0.a"], [])
    assert [task.attempt for task in world.sent] == [1, 2, 3, 4]


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_slot_is_free_in_every_way_a_run_can_end(end: str) -> None:
    world = one(max_task_concurrency=1)
    start(world, 2)
    getattr(world, end)("r0")
    assert world.queued == ["r1.a"]


def test_a_waiting_task_that_is_cancelled_leaves_the_line() -> None:
    world = one(max_task_concurrency=1)
    start(world, 3)
    world.cancel("r1")
    assert world.waiting() == ["r2.a"]
    world.complete("r0")
    assert world.queued == ["r2.a"]


def test_a_run_that_is_cancelled_before_its_answer_is_read_holds_nothing() -> None:
    world = one(max_task_concurrency=1)
    start(world, 2)
    world.feed_result("r0")
    (answer,) = [event for event in world.unfed if isinstance(event, StepQueued)]
    assert answer.run_id == "r1"
    world.cancel("r1")
    assert not world.queue
    assert not world.gates.page()


def test_what_is_given_up_by_the_event_that_hands_it_out_holds_nothing() -> None:
    """A map with a bad item fails, in one decision with the steps that became ready beside it."""
    world = World(w=graph(step("a"), {**step("b", "a", max_task_concurrency=1), "type": "map"}, step("c", "a")))
    world.limit("c.task", concurrency=1)
    world.start("r")
    world.complete("r", "a", "no array")
    assert world.status("r") == "failed"
    assert not world.queue
    assert not world.gates.page().tasks


def test_a_wait_too_long_for_the_step_frees_its_place() -> None:
    world = one(max_task_concurrency=1, queue_timeout="5s")
    start(world, 2)
    world.wake("r1")
    assert world.status("r1") == "failed"
    assert not world.waiting()


# -- order -----------------------------------------------------------------------------------------------------


def test_higher_priorities_go_first_then_the_order_of_arrival() -> None:
    low, high = step("a", max_task_concurrency=1), {"id": "a", "task": "a.task", "max_task_concurrency": 1}
    world = World(low=graph(low), high=graph({**high, "priority": 5}))
    world.start("first", "low")
    world.start("l1", "low")
    world.start("l2", "low")
    world.start("h1", "high")
    world.start("h2", "high")
    assert world.waiting() == ["h1.a", "h2.a", "l1.a", "l2.a"]
    for run_id in ("first", "h1", "h2", "l1"):
        world.complete(run_id)
    assert world.queued == ["l2.a"]


def test_a_step_does_not_take_a_freed_slot_before_those_that_waited() -> None:
    world = World(w=graph(step("a", max_task_concurrency=1), {**step("b", "a"), "task": "a.task"}))
    world.graphs["w"] = graph(
        step("a", max_task_concurrency=1), {**step("b", "a", max_task_concurrency=1), "task": "a.task"}
    )
    start(world, 2)
    world.complete("r0")
    assert world.queued == ["r1.a"]
    assert world.waiting() == ["r0.b"]


# -- rates -----------------------------------------------------------------------------------------------------


def test_a_rate_lets_as_many_start_at_once_and_paces_the_rest() -> None:
    world = one(rate_limit={"limit": 2, "period": "1s"})
    start(world, 5)
    assert world.queued == ["r0.a", "r1.a"]
    assert [world.tick() for _ in range(3)] == [SECOND // 2, SECOND, SECOND * 3 // 2]
    assert world.queued == ["r0.a", "r1.a", "r2.a", "r3.a", "r4.a"]
    assert not world.waiting()


def test_a_quicker_rate_of_an_operator_counts_at_once() -> None:
    world = one(rate_limit={"limit": 1, "period": "1h"})
    start(world, 4)
    assert (world.queued, len(world.waiting())) == (["r0.a"], 3)
    world.limit(rate=2, period_ns=SECOND)
    assert [world.tick() for _ in range(3)] == [SECOND // 2, SECOND, SECOND * 3 // 2]
    assert world.waiting() == []


@pytest.mark.parametrize("said", [{"rate": 1, "period_ns": 10 * SECOND}, {"rate": 1, "period_ns": 3600 * SECOND}])
def test_saying_a_rate_again_or_a_slower_one_lets_nobody_go_early(said: dict[str, Any]) -> None:
    world = one()
    world.limit(rate=1, period_ns=10 * SECOND)
    start(world, 2)
    world.wait(4)
    world.limit(**said)
    assert world.waiting() == ["r1.a"]
    assert world.tick() == 10 * SECOND


def test_a_rate_that_does_not_divide_its_period_is_kept_all_the_same() -> None:
    world = one(rate_limit={"limit": 3, "period": "1s"})
    start(world, 4)
    assert len(world.queued) == 3
    assert world.tick() == SECOND // 3 + 1


def test_any_later_event_lets_go_what_is_ready() -> None:
    world = World(w=graph(step("a", rate_limit={"limit": 1, "period": "1s"})), other=graph(step("b")))
    start(world, 2)
    world.wait(1)
    world.start("x", "other")
    assert world.queued == ["r0.a", "x.b", "r1.a"]


def test_a_bucket_that_is_full_again_is_forgotten() -> None:
    world = World(w=graph(step("a", rate_limit={"limit": 2, "period": "1s"})), other=graph(step("b")))
    world.start("r")
    assert world.gates.page().buckets
    world.wait(1)
    world.start("x", "other")
    assert not world.gates.page()


def test_a_key_that_has_no_room_does_not_hold_up_the_others() -> None:
    limit = {"key": "user", "limit": 2, "period": "1s", "units": 2}
    world = one(keyed_rate_limit=limit)
    for at, user in enumerate(["ann", "ann", "bob", "x.y *>\u00fc/", "x" * 300]):
        world.start(f"r{at}", value={"user": user})
    assert world.queued == ["r0.a", "r2.a", "r3.a", "r4.a"]
    assert world.waiting() == ["r1.a"]
    assert world.tick() == SECOND
    assert world.queued[-1] == "r1.a"


def test_a_task_that_waits_for_its_key_leaves_its_slot_to_others() -> None:
    limit = {"key": "user", "limit": 1, "period": "1s"}
    world = one(keyed_rate_limit=limit, max_task_concurrency=1)
    world.start("r0", value={"user": "ann"})
    world.start("r1", value={"user": "ann"})
    world.start("r2", value={"user": "bob"})
    world.complete("r0")
    assert world.queued == ["r2.a"]
    world.tick()
    assert world.waiting() == ["r1.a"], "its key has room, the type has none"
    world.complete("r2")
    assert world.queued == ["r1.a"]


def test_a_waiting_task_whose_key_has_no_room_can_be_cancelled() -> None:
    world = one(keyed_rate_limit={"key": "user", "limit": 1, "period": "1s"})
    start(world, 3, value={"user": "ann"})
    world.cancel("r1")
    world.cancel("r2")
    assert not world.waiting()
    world.tick()
    assert not world.gates.page()


def test_a_clock_that_is_put_back_does_not_stop_a_rate() -> None:
    world = one(rate_limit={"limit": 1, "period": "10s"})
    world.start("r0")
    world.wait(-3600)
    world.start("r1")
    assert world.waiting() == ["r1.a"]
    world.wait(10)
    world.say(GateTicked(due_ns=0))
    world.settle()
    assert world.queued == ["r0.a", "r1.a"]


def test_a_clock_that_is_put_back_brings_the_wake_up_nearer() -> None:
    world = one(rate_limit={"limit": 1, "period": "10s"})
    start(world, 2)
    before = world.gates.wake_ns
    world.wait(-3600)
    world.feed(WorkflowPaused(run_id="r1"))
    assert (world.gates.wake_ns, world.gates.wake_seq) == (before - 3600 * SECOND, world.seq)


def test_an_earlier_need_replaces_the_wake_up() -> None:
    slow, fast = {"limit": 1, "period": "60s"}, {"limit": 1, "period": "1s"}
    world = World(slow=graph(step("a", rate_limit=slow)), fast=graph(step("b", rate_limit=fast)))
    for at in range(2):
        world.start(f"s{at}", "slow")
    before = world.gates.wake_seq
    for at in range(2):
        world.start(f"f{at}", "fast")
    assert world.gates.wake_seq != before
    assert world.tick() == SECOND
    assert world.tick() == 60 * SECOND


# -- operators -------------------------------------------------------------------------------------------------


def test_an_operators_limit_holds_for_steps_that_have_none() -> None:
    world = one()
    world.limit(concurrency=1)
    start(world, 3)
    assert world.queued == ["r0.a"]
    world.limit(concurrency=2)
    assert world.queued == ["r0.a", "r1.a"]
    world.limit()
    assert world.queued == ["r0.a", "r1.a", "r2.a"]
    assert not world.gates.page().task_limits


def test_an_operators_limit_counts_before_the_definitions() -> None:
    world = one(max_task_concurrency=1)
    world.limit(concurrency=3)
    start(world, 4)
    assert len(world.queued) == 3
    world.limit(concurrency=1)
    world.complete("r0")
    world.complete("r1")
    assert world.queued == ["r2.a"]
    world.complete("r2")
    assert world.queued == ["r3.a"]


def test_an_operators_rate_counts_before_the_definitions() -> None:
    world = one(rate_limit={"limit": 1, "period": "60s"})
    world.limit(rate=1, period_ns=SECOND)
    start(world, 2)
    assert world.tick() == SECOND
    assert world.queued == ["r0.a", "r1.a"]


def test_nothing_of_a_paused_type_is_handed_out() -> None:
    world = World(w=graph(step("a"), step("b")))
    world.limit(paused=True)
    assert world.gates.paused == ["a.task"]
    start(world, 2)
    assert world.queued == ["r0.b", "r1.b"]
    world.limit()
    assert world.queued == ["r0.b", "r1.b", "r0.a", "r1.a"]
    assert not world.gates.paused


def test_a_paused_type_with_a_rate_wakes_nobody() -> None:
    world = one(keyed_rate_limit={"key": "user", "limit": 1, "period": "1s"})
    start(world, 2, value={"user": "ann"})
    world.limit(paused=True)
    world.tick()
    assert not world.gates.wake_ns
    world.limit()
    assert world.queued == ["r0.a", "r1.a"]


def test_a_task_that_somebody_lets_go_by_hand_goes_and_counts() -> None:
    world = one(max_task_concurrency=1)
    start(world, 2)
    world.feed(StepQueued(run_id="r1", step_id="a", attempt_number=1))
    assert world.queued == ["r0.a", "r1.a"]
    assert len(world.view.task("a.task").out) == 2
    world.feed(StepQueued(run_id="r1", step_id="a", attempt_number=1))
    assert len(world.sent) == 2, "once"


def test_a_task_of_a_paused_type_can_be_let_go_by_hand() -> None:
    world = one(rate_limit={"limit": 1, "period": "1s"})
    world.limit(paused=True)
    world.start("r0")
    world.feed(StepQueued(run_id="r0", step_id="a", attempt_number=1))
    assert world.queued == ["r0.a"]
    world.feed(StepQueued(run_id="none", step_id="a", attempt_number=1))


# -- what is kept ----------------------------------------------------------------------------------------------


def test_what_waits_and_what_counts_is_known() -> None:
    world = one(max_task_concurrency=1)
    start(world, 2)
    assert not world.gates.waits("r0", "a", 1)
    assert world.gates.waits("r1", "a", 1)
    assert not world.gates.waits("r2", "a", 1)


def test_gates_made_of_their_entries_go_on_as_the_others() -> None:
    world = one(rate_limit={"limit": 1, "period": "1s"}, max_task_concurrency=2)
    start(world, 4)
    world.feed_result("r0")
    world.tick_only()
    assert world.gates.outstanding(), "an answer is on its way"
    world.reopen()
    world.settle()
    world.tick()
    world.complete("r1")
    world.tick()
    assert world.queued == ["r2.a", "r3.a"]
    assert stored(world.again().gates.page()) == stored(world.gates.page())


def test_an_answer_on_its_way_that_needs_no_slot_survives_as_well() -> None:
    world = one(rate_limit={"limit": 1, "period": "1s"})
    start(world, 2)
    world.tick_only()
    world.reopen()
    world.settle()
    assert world.queued == ["r0.a", "r1.a"]
    assert not world.gates.page().tasks


def test_the_answers_that_no_history_has_yet_are_known() -> None:
    world = one(max_task_concurrency=1)
    start(world, 2)
    world.feed_result("r0")
    (answer,) = world.gates.outstanding()
    assert answer.run_id == "r1"
    assert isinstance(answer.event, StepQueued)
    world.settle()
    assert not world.gates.outstanding()


def test_a_task_that_the_gates_know_nothing_of_goes_when_its_history_says_so() -> None:
    """A log that lost its beginning may have the answer, and not what it answers."""
    world = one(rate_limit={"limit": 1, "period": "1s"})
    world.start("r")
    world.queue.clear()
    world.feed(StepQueued(run_id="r", step_id="a", attempt_number=1))
    assert world.queued == ["r.a"]


def test_late_news_of_a_run_that_is_gone_changes_nothing() -> None:
    world = one(max_task_concurrency=1)
    assert world.gates.fold(Record(1, world.time_ns, StepQueued(run_id="gone", step_id="a")), Decision(None, ())) == ()


def test_what_no_gate_concerns_passes_untouched() -> None:
    world = one()
    world.start("r")
    assert not world.gates.page()
    world.cancel("r")
    assert not any(isinstance(event, CancelTasks) for event in world.unfed)


def test_a_paused_run_gives_the_place_that_it_gets_to_the_next_one() -> None:
    world = one(max_task_concurrency=1)
    start(world, 3)
    world.feed(WorkflowPaused(run_id="r1"))
    world.complete("r0", "a")
    assert world.queued == ["r2.a"]
    world.complete("r2", "a")
    world.feed(WorkflowResumed(run_id="r1"))
    world.settle()
    assert world.queued == ["r1.a"]
