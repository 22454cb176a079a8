"""How runs begin: at once, at their time, when the gates let them, with what another run has done, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from history import BEGIN, SECOND, History, graph, step, typed

from dagnats.model.event import Parent, Start, WorkflowCompleted, WorkflowStarted
from dagnats.model.json import encode
from dagnats.runtime.core.action import AskAdmission, EnqueueTask
from dagnats.runtime.core.graph import UnusableGraph

HELD: dict[str, Any] = {
    "concurrency": {"max_runs": 2, "key": "who"},
    "singleton": {"mode": "skip", "key": "order.id"},
    "priority": {"key": "plan", "rules": {"gold": -60}, "default_offset": 5},
}


def test_a_run_that_is_to_begin_later_begins_at_its_time_and_not_before() -> None:
    history = History(graph(step("a"), timeout=5 * SECOND))
    history.start(run_at_ns=BEGIN + 60 * SECOND)
    assert (history.run.status, history.enqueued, history.timers) == ("scheduled", [], [60 * SECOND])
    history.tick()
    assert (history.run.status, history.enqueued) == ("running", ["a"])
    assert history.run.deadline_ns == BEGIN + 65 * SECOND


def test_a_pending_runs_timeout_counts_from_its_beginning() -> None:
    history = History(graph(step("a"), timeout="1m", concurrency={"max_runs": 1}))
    history.start()
    history.wait(3600)
    history.admitted()
    assert (history.run.status, history.enqueued, history.timers) == ("running", ["a"], [3660 * SECOND])
    history.tick()
    assert (history.run.status, history.time_ns) == ("failed", BEGIN + 3660 * SECOND)


def test_a_scheduled_run_can_be_cancelled() -> None:
    history = History(graph(step("a")))
    history.start(run_at_ns=BEGIN + 3600 * SECOND)
    history.cancel()
    assert history.run.status == "cancelled"
    assert len(history.dropped_timers) == 1


def test_a_run_that_has_to_be_admitted_asks_the_gates() -> None:
    history = History(graph(step("a"), timeout=5 * SECOND, **HELD))
    above = Parent(run_id="top", step_id="s", attempt=1, root="top", ancestors=("top",))
    history.start({"who": "ann", "order": {"id": 7}, "plan": "gold"}, parent=above)
    (ask,) = history.of(AskAdmission)
    assert (ask.workflow, ask.max_runs, ask.key, ask.singleton, ask.singleton_key) == ("w", 2, "ann", "skip", "7")
    assert (ask.offset_ns, ask.ancestors) == (-60 * SECOND, ("top",))
    assert (history.run.status, history.run.deadline_ns) == ("pending", 0)
    history.admitted()
    assert (history.run.status, history.run.deadline_ns, history.enqueued) == ("running", BEGIN + 5 * SECOND, ["a"])
    assert history.admitted() == []


def test_an_input_without_the_keys_counts_with_all_others_like_it() -> None:
    history = History(graph(step("a"), **HELD))
    history.start([])
    (ask,) = history.of(AskAdmission)
    assert (ask.key, ask.singleton_key, ask.offset_ns) == ("", "", 5 * SECOND)


def test_a_start_may_be_held_although_its_workflow_says_nothing() -> None:
    history = History(graph(step("a")))
    history.start(held=True, run_at_ns=BEGIN + SECOND)
    history.tick()
    (ask,) = history.of(AskAdmission)
    assert (ask.max_runs, ask.key, ask.singleton, ask.singleton_key, ask.offset_ns) == (0, "", "", "", 0)
    history.cancel()
    assert history.run.status == "cancelled"


def test_a_gate_that_answers_after_the_end_was_decided_begins_nothing() -> None:
    history = History(graph(step("a")), loops_back=False)
    history.start(held=True)
    history.poisoned("unreadable")
    assert history.admitted() == []
    history.feed_own()
    assert history.run.status == "failed"


def test_a_run_that_has_not_begun_cannot_have_completed() -> None:
    history = History(graph(step("a")))
    history.start(held=True)
    assert history.feed(WorkflowCompleted(run_id="r")) == []
    assert history.run.status == "pending"


def test_a_refused_run_fails_visibly_and_stays_refused() -> None:
    history = History(graph(step("a")))
    history.start(refusal="the input is not valid: $.n is missing")
    assert (history.run.status, history.run.outcome.error) == ("failed", "the input is not valid: $.n is missing")
    assert history.reopened() == []
    assert history.run.status == "failed"


def test_why_a_run_was_refused_says_more_than_that_its_definition_is_missing() -> None:
    history = History(UnusableGraph("w", "0" * 64, "is not stored"))
    history.start(refusal="no workflow 'w'")
    assert (history.run.status, history.run.outcome.error) == ("failed", "no workflow 'w'")


@pytest.mark.parametrize("order", [["a", "b"], ["b", "a"]])
def test_a_fork_does_not_do_again_what_another_run_has_done(order: list[str]) -> None:
    outputs = {name: encode(name) for name in [*order, "undo", "nobody"]}
    history = History(graph(step("a", compensate="undo"), step("b", "a"), step("c", "a", "b"), step("undo")))
    history.start(outputs=outputs, forked_from="q", run_at_ns=BEGIN + SECOND)
    history.tick()
    assert (history.enqueued, msgspec.json.decode(history.task.input)) == (["c"], {"a": "a", "b": "b"})
    history.failed("c")
    assert history.run.status == "failed", "what another run did is not this one's to undo"


def test_a_fork_with_nothing_left_to_do_completes() -> None:
    history = History(graph(step("a")))
    history.start(outputs={"a": encode(7)})
    assert (history.run.status, history.result) == ("completed", 7)


def test_steps_skipped_before_the_beginning_are_skipped_when_it_begins() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start(run_at_ns=BEGIN + SECOND)
    history.skipped_by_hand("a")
    assert history.enqueued == []
    history.tick()
    assert history.enqueued == ["b"]
    done = History(graph(step("a")))
    done.start(run_at_ns=BEGIN + SECOND)
    done.skipped_by_hand("a")
    done.tick()
    assert done.run.status == "completed"


def test_a_second_start_changes_nothing() -> None:
    history = History(graph(step("a")))
    history.start(1)
    assert history.feed(WorkflowStarted(run_id="r", payload=Start(workflow="w", def_hash=""))) == []
    assert len(history.of(EnqueueTask)) == 1


def test_a_starts_own_priority_counts_before_the_definitions() -> None:
    for said, seconds in ((None, -60), (600, 600), (0, 0)):
        history = History(graph(step("a"), **HELD))
        history.start({"plan": "gold"}, priority=said)
        (asked,) = history.of(AskAdmission)
        assert asked.offset_ns == seconds * SECOND


def test_labels_come_from_the_workflow_and_from_the_start() -> None:
    history = History(graph(step("a"), labels={"team": "a", "env": "dev"}))
    history.start(labels={"env": "prod"})
    assert history.run.labels == {"team": "a", "env": "prod"}


def test_a_history_that_becomes_too_long_ends_its_run_even_when_it_is_opened_again() -> None:
    history = History(graph(step("a")))
    history.start(max_events=3)
    history.signalled("x", 1)
    assert history.run.status == "running"
    history.signalled("x", 2)
    assert history.run.outcome.error == "the run's history has reached its limit of 3 events"
    history.reopened()
    assert history.run.status == "running"
    while not history.run.ended:
        history.signalled("x", 3)
    assert len(history.log) < 12


def test_undoing_may_take_a_history_further() -> None:
    history = History(graph(step("a", compensate="u"), step("b"), step("u")))
    history.start(max_events=3)
    history.completed("a")
    history.signalled("x", 1)
    assert history.enqueued == ["u"]
    history.completed("u")
    assert history.run.status == "compensated"


def test_an_answer_that_makes_a_history_too_long_counts() -> None:
    wait = {"event": "e", "timeout": "1h", "match": {"left": "n", "op": "eq", "right": {"value": 1}}}
    waits = typed("w", "wait_for_event", "a", config=wait)
    history = History(graph(step("a", compensate="u"), waits, step("b", "w"), step("u")))
    history.start(max_events=4)
    history.completed("a")
    history.matched("w")
    assert (history.status("w"), history.status("b"), history.enqueued) == ("completed", "pending", ["u"])
    history.completed("u")
    assert history.run.status == "compensated"


def test_a_run_whose_history_becomes_too_long_by_its_last_answer_completes() -> None:
    history = History(graph(step("a"), typed("m", "map", "a", config={})))
    history.start(max_events=4)
    history.completed("a", [1])
    history.completed("m.map.0", "done")
    assert (history.run.status, history.result) == ("completed", ["done"])


def test_a_map_whose_last_item_makes_a_history_too_long_is_done_when_the_run_is_opened_again() -> None:
    history = History(graph(step("a"), typed("m", "map", "a", config={}), step("b", "m")))
    history.start(max_events=4)
    history.completed("a", [1])
    history.completed("m.map.0", "done")
    assert (history.run.status, history.status("m")) == ("failed", "completed")
    history.reopened()
    assert [(task.step_id, bytes(task.input)) for task in history.of_tasks[-1:]] == [("b", b'["done"]')]


def test_a_planner_whose_last_step_makes_a_history_too_long_is_done_when_the_run_is_opened_again() -> None:
    history = History(graph(typed("p", "planner", config={"max_steps": 1}), step("b", "p")))
    history.start(max_events=4)
    history.completed("p", {"steps": [{"id": "x", "task": "t"}]})
    history.completed("p.x", "done")
    assert (history.run.status, history.status("p")) == ("failed", "completed")
    history.reopened()
    assert [(task.step_id, bytes(task.input)) for task in history.of_tasks[-1:]] == [("b", b'{"x":"done"}')]
