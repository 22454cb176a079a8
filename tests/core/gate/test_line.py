"""Lines, and pages of entries."""

from __future__ import annotations

from dagnats.model.ops import TaskLimited
from dagnats.runtime.core.gate.book import Page, RunTicket
from dagnats.runtime.core.gate.line import Line


def line(**orders: int) -> Line[str]:
    made: Line[str] = Line()
    for key, order in orders.items():
        made.put(key, (order,))
    return made


def test_the_lowest_order_is_first_and_anybody_may_leave() -> None:
    queue = line(b=2, a=1, c=3)
    queue.drop("a")
    queue.put("c", (0,))
    queue.put("c", (0,))
    queue.drop("nobody")
    assert queue.first() == ((0,), "c")
    assert len(queue) == 2
    assert "a" not in queue


def test_nobody_is_first_in_an_empty_line() -> None:
    queue = line(a=1)
    queue.drop("a")
    assert queue.first() is None


def test_those_who_left_take_no_room() -> None:
    queue = line()
    for at in range(10_000):
        queue.put("restless", (at,))
        queue.put(f"k{at}", (at,))
        queue.drop(f"k{at}")
    assert queue.first() == ((9_999,), "restless")
    assert len(queue._heap) < 100  # pyright: ignore[reportPrivateUsage]  # memory shows nowhere else


def ticket(run_id: str) -> RunTicket:
    return RunTicket(run_id=run_id, workflow="w", seq=1, since_ns=1, start_ns=1)


def test_a_whole_page_forgets_what_is_gone_and_a_page_of_changes_remembers_it() -> None:
    later = Page(runs={"a": None, "b": ticket("b")}, task_limits={"t": TaskLimited(task="t")}, clock_ns=5, wake_seq=7)
    whole, changes = Page(runs={"a": ticket("a")}), Page(runs={"a": ticket("a")})
    whole.turn(later, whole=True)
    changes.turn(later, whole=False)
    assert set(whole.runs) == {"b"}
    assert changes.runs["a"] is None
    assert len(changes) == 3
    assert (whole.clock_ns, whole.wake_seq) == (5, 7)


def test_a_copy_changes_by_itself() -> None:
    page = Page(runs={"a": ticket("a")}, clock_ns=5)
    copied = page.copy()
    copied.turn(Page(runs={"b": ticket("b")}), whole=True)
    assert set(page.runs) == {"a"}
    assert page.times() == Page(clock_ns=5)
