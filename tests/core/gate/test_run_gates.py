"""How many runs of a workflow go on, who begins next, and singletons."""

from __future__ import annotations

from typing import Any

import pytest

from dagnats.model.event import Parent, WorkflowAdmitted, WorkflowCancelled, WorkflowReopened
from tests.core.gate.world import SECOND, World, graph, step, stored

PRIORITY = {"key": "plan", "rules": {"gold": 60, "free": -60}, "default_offset": 0}


def one(**settings: Any) -> World:
    return World(w=graph(step("a"), **settings), other=graph(step("a")))


def limited(max_runs: int = 1, key: str | None = None, **settings: Any) -> World:
    return one(concurrency={"max_runs": max_runs, **({"key": key} if key else {})}, **settings)


def single(mode: str, **settings: Any) -> World:
    return one(singleton={"mode": mode}, **settings)


def start(world: World, *run_ids: str, **settings: Any) -> None:
    for run_id in run_ids:
        world.start(run_id, **settings)


def child_of(*above: str) -> Parent:
    return Parent(run_id=above[0], step_id="a", attempt=1, root=above[-1], depth=len(above), ancestors=above)


# -- max_runs --------------------------------------------------------------------------------------------------


def test_as_many_runs_go_on_as_the_limit_says() -> None:
    world = limited(2)
    start(world, "r0", "r1", "r2", "r3")
    assert world.statuses() == {"r0": "running", "r1": "running", "r2": "pending", "r3": "pending"}
    world.complete("r1")
    assert world.status("r2") == "running"
    assert world.status("r3") == "pending"


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_place_is_free_in_every_way_a_run_can_end(end: str) -> None:
    world = limited()
    start(world, "r0", "r1")
    getattr(world, end)("r0")
    assert world.status("r1") == "running"
    world.complete("r1")
    assert not world.gates.page()


GATES = [{"concurrency": {"max_runs": 1}}, {"singleton": {"mode": "skip"}}]


def free_again(world: World) -> bool:
    """Whether a new run begins at once."""
    world.start("next")
    return world.status("next") == "running"


@pytest.mark.parametrize("gate", GATES, ids=["max_runs", "singleton"])
@pytest.mark.parametrize("end", ["complete", "fail"])
def test_an_undone_run_gives_back_what_it_had_whether_undoing_succeeds_or_not(gate: dict[str, Any], end: str) -> None:
    undo = {"id": "undo", "task": "undo.task"}
    world = World(w=graph(step("a", compensate="undo"), step("b", "a"), undo, **gate))
    world.start("r0")
    world.complete("r0")
    world.fail("r0", "b")
    assert world.status("r0") == "running"
    getattr(world, end)("r0", "undo")
    assert world.status("r0") == {"complete": "compensated", "fail": "compensate_failed"}[end]
    assert free_again(world)


@pytest.mark.parametrize("gate", GATES, ids=["max_runs", "singleton"])
def test_a_run_whose_loop_or_map_fails_gives_back_what_it_had(gate: dict[str, Any]) -> None:
    loop = {"id": "l", "task": "l.task", "type": "agent_loop", "config": {"max_iterations": 3}}
    items = {"id": "m", "task": "m.task", "type": "map", "depends_on": ["a"]}
    for broken, world in {
        "l": World(w=graph(loop, **gate)),
        "m.map.0": World(w=graph(step("a"), items, **gate)),
    }.items():
        world.start("r0")
        if broken != "l":
            world.complete("r0", "a", [1, 2])
        world.fail("r0", broken)
        assert world.status("r0") == "failed"
        assert free_again(world)


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_singletons_place_is_free_again_however_its_run_ended(end: str) -> None:
    world = single("skip")
    world.start("r0")
    getattr(world, end)("r0")
    assert free_again(world)


def test_each_value_of_the_key_has_a_limit_of_its_own() -> None:
    world = limited(1, "user")
    for run_id, user in {"a0": "ann", "a1": "ann", "b0": "b.*> \u00fc", "l0": "x" * 99, "l1": "x" * 99}.items():
        world.start(run_id, value={"user": user})
    assert [run_id for run_id, status in world.statuses().items() if status == "pending"] == ["a1", "l1"]
    world.complete("a0")
    assert world.status("a1") == "running"


def test_a_pending_run_that_is_cancelled_leaves_the_line() -> None:
    world = limited()
    start(world, "r0", "r1", "r2")
    world.cancel("r1")
    world.complete("r0")
    assert world.statuses() == {"r0": "completed", "r1": "cancelled", "r2": "running"}


def test_runs_begin_in_the_order_of_their_starts() -> None:
    world = limited()
    start(world, "z", "y", "x")
    world.complete("z")
    assert world.status("y") == "running"


def test_a_higher_offset_counts_as_an_earlier_start() -> None:
    world = limited(priority=PRIORITY)
    world.start("first")
    world.start("free", value={"plan": "free"})
    world.start("usual")
    world.wait(59)
    world.start("gold", value={"plan": "gold"})
    assert [place.run_id for place in world.view.runs[0].waiting] == ["gold", "usual", "free"]
    for run_id in ("first", "gold", "usual"):
        world.complete(run_id)
    assert world.status("free") == "running"


def test_a_run_that_is_cancelled_before_its_admission_is_read_holds_nothing() -> None:
    world = limited()
    start(world, "r0", "r1")
    world.feed_result("r0")
    world.feed_own()
    assert [event.run_id for event in world.unfed if isinstance(event, WorkflowAdmitted)] == ["r1"]
    world.cancel("r1")
    world.settle()
    assert not world.gates.page()


def test_a_run_lets_its_descendants_through_its_own_gate() -> None:
    world = limited()
    world.start("top")
    world.start("child", parent=child_of("top"))
    world.start("grandchild", parent=child_of("child", "top"))
    world.start("stranger", parent=child_of("somebody"))
    assert world.statuses() == {
        "top": "running",
        "child": "running",
        "grandchild": "running",
        "stranger": "pending",
    }
    world.complete("child")
    assert world.status("stranger") == "pending", "it had no place of its own"
    world.complete("top")
    assert world.status("stranger") == "running"


def test_versions_of_a_workflow_with_different_limits_count_together() -> None:
    world = limited(1)
    world.graphs["v"] = graph(step("a"), concurrency={"max_runs": 2})
    world.start("r0")
    world.start("r1")
    world.graphs["w"], kept = world.graphs["v"], world.graphs["w"]
    world.start("r2")
    world.graphs["w"] = kept
    assert world.statuses() == {"r0": "running", "r1": "pending", "r2": "running"}
    world.complete("r0")
    assert world.status("r1") == "pending"
    world.complete("r2")
    assert world.status("r1") == "running"


# -- operators -------------------------------------------------------------------------------------------------


def test_a_held_run_with_nothing_in_its_way_begins_at_once() -> None:
    world = one()
    world.start("r", held=True)
    assert world.status("r") == "running"


def test_an_operators_limit_holds_for_workflows_that_have_none() -> None:
    world = one()
    world.limit_runs(max_runs=1)
    start(world, "r0", "r1", "r2", held=True)
    assert world.statuses() == {"r0": "running", "r1": "pending", "r2": "pending"}
    world.limit_runs(max_runs=2)
    assert world.status("r1") == "running"
    world.limit_runs()
    assert world.status("r2") == "running"
    assert not world.gates.page().workflow_limits


def test_an_operators_limit_counts_before_the_definitions() -> None:
    world = limited(1)
    world.limit_runs(max_runs=3)
    start(world, "r0", "r1", "r2", "r3")
    assert list(world.statuses().values()) == ["running"] * 3 + ["pending"]


def test_no_run_of_a_paused_workflow_begins() -> None:
    world = limited(1, "user")
    world.limit_runs(paused=True)
    world.start("r0", value={"user": "ann"})
    world.start("r1", value={"user": "bob"})
    world.start("other", "other")
    assert world.statuses() == {"r0": "pending", "r1": "pending", "other": "running"}
    assert {place.why for gate in world.view.runs for place in gate.waiting} == {"pause"}
    world.limit_runs()
    assert world.status("r0") == world.status("r1") == "running"


def test_a_run_that_somebody_admits_by_hand_begins_and_counts() -> None:
    world = limited()
    start(world, "r0", "r1", "r2")
    world.feed(WorkflowAdmitted(run_id="r1"))
    world.settle()
    assert world.status("r1") == "running"
    world.complete("r0")
    assert world.status("r2") == "pending"
    world.feed(WorkflowAdmitted(run_id="r1"))
    world.complete("r1")
    assert world.status("r2") == "running"


# -- singletons ------------------------------------------------------------------------------------------------


def test_skip_cancels_the_new_run_visibly() -> None:
    world = single("skip")
    start(world, "r0", "r1")
    assert world.statuses() == {"r0": "running", "r1": "cancelled"}
    assert world.runs["r1"].outcome.error == "singleton skip: run already active: r0"
    world.complete("r0")
    world.start("r2")
    assert world.status("r2") == "running"
    world.complete("r2")
    assert not world.gates.page()


def test_a_run_that_waits_has_its_singleton_already() -> None:
    world = single("skip")
    world.limit_runs(paused=True)
    start(world, "r0", "r1")
    assert world.statuses() == {"r0": "pending", "r1": "cancelled"}


def test_cancel_ends_the_active_run_and_begins_after_its_end() -> None:
    world = single("cancel")
    world.start("r0")
    world.start("r1")
    assert world.statuses() == {"r0": "cancelled", "r1": "running"}
    assert world.runs["r0"].outcome.error == "singleton cancel: run r1 takes its place"
    assert not world.view.run("r1")


def test_the_new_run_waits_until_the_active_one_is_undone() -> None:
    undo = {"id": "undo", "task": "undo.task"}
    world = World(
        w=graph(
            step("a", compensate="undo"),
            step("b", "a"),
            undo,
            singleton={"mode": "cancel"},
            compensate_on=["failure", "cancel"],
        )
    )
    world.start("r0")
    world.complete("r0")
    world.start("r1")
    assert world.status("r1") == "pending"
    found = world.view.run("r1")
    assert found is not None
    assert found[1].why == "singleton"
    world.start("r2")
    assert world.status("r1") == "cancelled", "the newest follows"
    world.complete("r0", "b")
    world.complete("r0", "undo")
    assert world.statuses() == {"r0": "compensated", "r1": "cancelled", "r2": "running"}
    world.complete("r2")
    world.complete("r2", "b")
    assert not world.gates.page()


def undoing() -> World:
    """A run that is being undone, and one that is to follow."""
    world = World(
        w=graph(
            step("a", compensate="undo"),
            step("b", "a"),
            {"id": "undo", "task": "undo.task"},
            singleton={"mode": "cancel"},
            compensate_on=["cancel"],
        )
    )
    world.start("r0")
    world.complete("r0")
    world.start("r1")
    return world


def finish(world: World, run_id: str) -> None:
    world.complete(run_id, "b")
    world.complete(run_id, "undo")


def test_a_run_that_was_to_follow_can_be_cancelled() -> None:
    world = undoing()
    world.cancel("r1")
    assert world.view.runs[0].waiting == ()
    finish(world, "r0")
    assert not world.gates.page()


def test_an_admission_that_answers_an_earlier_question_of_the_run_lets_nobody_begin() -> None:
    world = limited()
    start(world, "r0", "r1")
    world.feed_result("r0")
    world.feed_own()
    late = [event for event in world.unfed if isinstance(event, WorkflowAdmitted)]
    world.cancel("r1")
    world.start("r2")
    world.feed(WorkflowReopened(run_id="r1"))
    world.feed(*late)
    assert world.statuses()["r1"] == "pending"


def test_a_run_that_was_to_follow_can_be_admitted_by_hand() -> None:
    world = undoing()
    world.feed(WorkflowAdmitted(run_id="r1"))
    world.settle()
    assert world.status("r1") == "running"
    world.reopen()
    finish(world, "r0")
    world.start("r2")
    assert world.status("r2") == "running"
    assert stored(world.gates.page()) == stored(world.again().gates.page())


def test_a_refused_run_can_be_admitted_by_hand() -> None:
    world = single("skip")
    world.start("r0")
    world.feed_start("r1")
    world.feed(WorkflowAdmitted(run_id="r1"))
    assert world.status("r1") == "running"
    world.settle()
    assert world.status("r1") == "cancelled"
    world.complete("r0")
    assert not world.gates.page()


def test_each_value_of_a_singletons_key_has_one_run() -> None:
    world = one(singleton={"mode": "skip", "key": "user"})
    for run_id, user in {"a0": "ann", "a1": "ann", "b0": "bob"}.items():
        world.start(run_id, value={"user": user})
    assert world.statuses() == {"a0": "running", "a1": "cancelled", "b0": "running"}


@pytest.mark.parametrize("mode", ["skip", "cancel"])
def test_a_singleton_of_a_run_above_refuses_the_child_visibly(mode: str) -> None:
    world = single(mode)
    world.start("top")
    world.start("child", parent=child_of("top"))
    assert world.statuses() == {"top": "running", "child": "cancelled"}
    assert world.runs["child"].outcome.error == "singleton held by a run above: run already active: top"


def test_a_singleton_comes_before_the_number_of_runs() -> None:
    world = limited(1, singleton={"mode": "skip", "key": "user"})
    world.start("r0", value={"user": "ann"})
    world.start("r1", value={"user": "bob"})
    world.start("r2", value={"user": "bob"})
    assert world.statuses() == {"r0": "running", "r1": "pending", "r2": "cancelled"}


# -- runs that were passed over --------------------------------------------------------------------------------


def test_a_run_whose_start_the_gates_have_missed_is_adopted() -> None:
    world = limited()
    world.start("r0")
    world.passed_over(lambda: world.feed_start("r1"))
    assert world.view.run("r1") is None
    world.adopt("r1")
    assert world.view.run("r1") is not None
    world.complete("r0")
    assert world.status("r1") == "running"


def test_an_adopted_run_is_answered_to_its_own_question_whatever_came_into_the_log_since() -> None:
    world = limited()
    world.start("r0")
    world.passed_over(lambda: world.feed_start("r1"))
    world.start("r2", "other")
    world.adopt("r1")
    world.complete("r0")
    assert world.status("r1") == "running"
    assert world.queued == ["r2.a", "r1.a"]


@pytest.mark.parametrize("gate", GATES, ids=["max_runs", "singleton"])
@pytest.mark.parametrize("heard", [True, False], ids=["its start was heard", "nothing was heard"])
def test_a_run_that_was_opened_again_unheard_asks_once_with_its_newest_question(
    gate: dict[str, Any], *, heard: bool
) -> None:
    world = one(**gate)
    if heard:
        world.start("r0")
    else:
        world.passed_over(lambda: world.feed_start("r0"))
    world.passed_over(lambda: world.cancel("r0"))
    world.passed_over(lambda: world.feed(WorkflowReopened(run_id="r0")))
    world.adopt("r0")
    assert world.status("r0") == "running"
    world.complete("r0")
    assert not world.gates.page(), "it has given back what it had"


def test_a_run_whose_end_the_gates_have_missed_gives_back_what_it_had() -> None:
    world = limited()
    world.limit("a.task", concurrency=1)
    world.start("r0")
    world.start("r1")
    world.passed_over(lambda: world.cancel("r0"))
    world.adopt("r0")
    assert world.status("r1") == "running"
    assert world.queued == ["r1.a"]


def test_a_run_whose_admission_and_results_the_gates_have_missed_is_adopted() -> None:
    world = World(w=graph(step("a"), step("b", "a"), concurrency={"max_runs": 1}))
    world.limit("a.task", concurrency=1)
    world.limit("b.task", concurrency=1)
    world.feed_start("r0")
    world.passed_over(world.settle)
    world.adopt("r0")
    assert world.queued == ["r0.a"]
    assert [place.run_id for place in world.view.runs[0].out] == ["r0"]
    world.passed_over(lambda: world.complete("r0"))
    world.adopt("r0")
    assert world.queued == ["r0.b"]
    assert world.view.task("a.task").out == ()
    world.complete("r0", "b")
    assert not world.gates.page().runs
    assert not world.gates.page().tasks


# -- what is kept ----------------------------------------------------------------------------------------------


def test_the_answers_that_no_history_has_yet_are_known() -> None:
    world = limited(1, singleton={"mode": "cancel", "key": "user"})
    world.start("r0", value={"user": "ann"})
    world.start("wait", value={"user": "zoe"})
    world.feed_start("r1", value={"user": "ann"})
    world.feed_start("r2", value={"user": "ann"})
    told = {action.run_id: action.event for action in world.gates.outstanding()}
    assert set(told) == {"r0", "r1"}
    assert all(isinstance(event, WorkflowCancelled) for event in told.values())
    world.reopen()
    world.settle()
    world.complete("wait")
    assert world.statuses() == {"r0": "cancelled", "wait": "completed", "r1": "cancelled", "r2": "running"}
    assert not world.gates.outstanding()


def test_an_admission_on_its_way_is_known() -> None:
    world = limited()
    world.feed_start("r0")
    (action,) = world.gates.outstanding()
    assert action.event == WorkflowAdmitted(run_id="r0", timestamp="2026-09-21T14:13:20.000000000Z", asked=1)
    assert world.time_ns == 1_790_000_000 * SECOND


def test_what_is_outstanding_tells_which_event_has_asked() -> None:
    world = single("skip")
    world.start("r0")
    world.start("r1")
    world.feed(WorkflowReopened(run_id="r1"))
    (action,) = world.gates.outstanding()
    assert isinstance(action.event, WorkflowCancelled)
    assert action.id.startswith(f"_gates.{world.seq}.")
