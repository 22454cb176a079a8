"""What the gates hold, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.core.gate import fold
from dagnats.runtime.core.gate.fold import Gates, Tally
from tests.core.gate.world import BEGIN, SECOND, World, graph, step

if TYPE_CHECKING:
    import pytest

RATE = {"key": "who", "limit": 1, "period": "10s"}


def test_nothing_is_told_of_gates_that_hold_nothing() -> None:
    assert Gates().tally() == Tally([], [], [], [])


def test_slots_lines_and_singletons_are_told_by_what_they_are_for() -> None:
    steps = step("a", max_task_concurrency=1)
    singleton = {"mode": "cancel", "key": "who"}
    world = World(w=graph(steps, concurrency={"max_runs": 2, "key": "of"}, singleton=singleton))
    for at in range(3):
        world.start(f"r{at}", value={"of": "x", "who": f"w{at}"})
    world.start("r3", value={"of": "y", "who": "w3"})
    tally = world.gates.tally()
    assert tally.tasks == [("a.task", 1, 2)]
    assert tally.runs == [(("w", "x"), 2, 1), (("w", "y"), 1, 0)]
    assert tally.singletons == [(f"w/w{at}", f"r{at}") for at in range(4)]


def test_a_rate_is_told_with_the_instant_at_which_it_is_full_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(w=graph(step("a", keyed_rate_limit=RATE)))
    world.wait(5)
    world.start("r0", value={"who": "ann"})
    world.wait(1)
    world.start("r1", value={"who": "bob"})
    assert world.gates.tally().buckets == [
        ("a.task/ann", BEGIN + 15 * SECOND),
        ("a.task/bob", BEGIN + 16 * SECOND),
    ]
    monkeypatch.setattr(fold, "MOST_BUCKETS", 1)
    assert [name for name, _ in world.gates.tally().buckets] == ["a.task/ann"], "there may be one for each customer"
