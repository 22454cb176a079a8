"""Wake-ups: at most one is needed at a time, so an earlier one replaces it, and a run that ended drops it."""

from __future__ import annotations

import pytest
from history import BEGIN, SECOND, History, graph, step

from dagnats.model.event import TimerFired
from dagnats.runtime.core.action import DropTimer, SetTimer

THREE = graph(step("a", timeout="30s"), step("b", timeout="10s"), step("c", timeout="60s"))


def _set(history: History) -> SetTimer:
    """The one wake-up that the last call asked for."""
    (timer,) = [action for action in history.last if isinstance(action, SetTimer)]
    return timer


def _dropped(history: History) -> list[int]:
    return [action.seq for action in history.of(DropTimer)]


def test_the_first_wake_up_replaces_nothing() -> None:
    history = History(THREE)
    history.start()
    history.started("a")
    assert (_set(history).seq, _set(history).replaces) == (2, 0)
    assert (history.run.wake_seq, history.run.wake_ns) == (2, BEGIN + 30 * SECOND)


def test_an_earlier_wake_up_replaces_the_outstanding_one() -> None:
    history = History(THREE)
    history.start()
    history.started("a")
    history.started("b")
    assert (_set(history).seq, _set(history).replaces) == (3, 2)
    assert (history.run.wake_seq, history.run.wake_ns) == (3, BEGIN + 10 * SECOND)


def test_a_wake_up_that_has_come_is_not_replaced() -> None:
    history = History(THREE)
    history.start()
    history.started("b")
    history.started("a")
    history.completed("b")
    history.tick()
    assert (_set(history).due_ns, _set(history).replaces) == (BEGIN + 30 * SECOND, 0)


def test_a_replaced_wake_up_that_comes_late_leaves_the_newer_one_outstanding() -> None:
    history = History(THREE)
    history.start()
    history.started("a")  # 30 s
    history.started("b")  # 10 s, instead
    history.completed("b")
    history.tick()  # at 10 s; 30 s again
    newest = history.run.wake_seq
    history.time_ns = BEGIN + 20 * SECOND
    history.started("c")  # 80 s
    assert history.feed(TimerFired(run_id="r", due_ns=BEGIN + 10 * SECOND)) == []
    assert (history.run.wake_seq, history.run.wake_ns) == (newest, BEGIN + 30 * SECOND)


def test_a_replaced_wake_up_that_comes_after_the_newer_one_was_due_stands_for_it() -> None:
    history = History(THREE)
    history.start()
    history.started("a")  # 30 s
    history.started("c")
    history.started("b")  # 10 s, instead
    history.completed("b")
    history.completed("a")
    history.time_ns = BEGIN + 30 * SECOND
    history.feed(TimerFired(run_id="r", due_ns=BEGIN + 30 * SECOND))
    assert (_set(history).due_ns, _set(history).replaces) == (BEGIN + 60 * SECOND, 0)


@pytest.mark.parametrize(("waited", "dropped"), [(0, [1]), (3_539, [1]), (3_540, []), (3_599, [])])
def test_a_run_that_ends_drops_its_wake_up_when_it_is_more_than_a_minute_away(waited: int, dropped: list[int]) -> None:
    history = History(graph(step("a"), timeout="1h"))
    history.start()
    history.wait(waited)
    history.completed("a")
    assert history.run.status == "completed"
    assert _dropped(history) == dropped
    assert (history.run.wake_ns, history.run.wake_seq) == (0, 0)


def test_the_wake_up_that_is_dropped_is_the_one_outstanding() -> None:
    history = History(graph(step("a", timeout="10m"), timeout="1h"), loops_back=False)
    history.start()
    history.started("a")
    history.completed("a")
    assert _dropped(history) == []  # the end is decided, not folded
    history.feed_own()
    assert _dropped(history) == [2]


def test_a_run_without_a_wake_up_has_none_to_drop() -> None:
    history = History(graph(step("a")))
    history.start()
    history.completed("a")
    assert _dropped(history) == []
