"""Poison: a run of whose streams something cannot be read fails, as it would for any other reason."""

from __future__ import annotations

from history import BEGIN, History, content, graph, step

from dagnats.model.event import Poison, Record, WorkflowPoisoned
from dagnats.runtime.core.advance import advance

UNDOABLE = graph(step("a", compensate="undo"), step("b", "a"), step("undo"))


def test_a_poisoned_run_fails_with_what_is_wrong_and_blames_no_step() -> None:
    history = History(graph(step("a"), step("b")))
    history.start()
    history.started("a")
    history.poisoned("event 7 cannot be read: not JSON")
    assert history.run.status == "failed"
    assert (history.run.outcome.step_id, history.run.outcome.error) == ("", "event 7 cannot be read: not JSON")
    assert history.given_up == [("a", 1), ("b", 1)]


def test_what_a_poisoned_run_has_completed_is_undone() -> None:
    history = History(UNDOABLE)
    history.start()
    history.completed("a")
    history.poisoned("unreadable")
    assert history.enqueued == ["undo"]
    assert history.status("b") == "cancelled"
    history.completed("undo")
    assert history.run.status == "compensated"
    assert history.run.outcome.error == "unreadable"


def test_poison_does_not_cut_an_undoing_off() -> None:
    history = History(UNDOABLE)
    history.start()
    history.completed("a")
    history.failed("b", "declined")
    assert history.poisoned("unreadable") == []
    history.completed("undo")
    assert (history.run.status, history.run.outcome.error) == ("compensated", "declined")


def test_poison_after_the_end_was_decided_changes_nothing() -> None:
    history = History(graph(step("a")), loops_back=False)
    history.start()
    history.completed("a", 7)
    before = content(history.run)
    assert history.poisoned("unreadable") == []
    history.run.seq -= 1
    assert content(history.run) == before
    history.feed_own()
    assert history.run.status == "completed"


def test_poison_in_a_history_without_a_start_changes_nothing() -> None:
    event = WorkflowPoisoned(run_id="r", payload=Poison(error="the start cannot be read"))
    assert advance(UNDOABLE, None, Record(1, BEGIN, event)) == (None, (), ())
