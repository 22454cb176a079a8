"""What deciding costs: the same for the last event of a long run as for its first."""

from __future__ import annotations

import time
from typing import Any

import pytest
from history import History, graph, step, typed

from dagnats.model.run import encode_run
from dagnats.runtime.core.action import EnqueueTask

SIZE = 10_000


def timed(history: History, steps: list[str]) -> tuple[float, float, float]:
    """CPU seconds for answering all of `steps`, and of that for a tenth near the start and for the last tenth."""
    tenth = len(steps) // 10
    marks = [time.process_time()]
    for at, step_id in enumerate(steps, 1):
        history.completed(step_id)
        if at % tenth == 0:
            marks.append(time.process_time())
    early = min(marks[at + 1] - marks[at] for at in range(1, 4))
    late = min(marks[at + 1] - marks[at] for at in range(len(marks) - 4, len(marks) - 1))
    return marks[-1] - marks[0], early, late


SHAPES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "chain": ([step("s0"), *(step(f"s{at}", f"s{at - 1}") for at in range(1, SIZE))], {}),
    "wide": ([step(f"s{at}") for at in range(SIZE)], {}),
    "line": ([step(f"s{at}") for at in range(SIZE)], {"concurrency": {"max_steps": 1}}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_of_ten_thousand_steps_costs_as_much_at_its_end_as_at_its_start(shape: str) -> None:
    steps, settings = SHAPES[shape]
    history = History(graph(*steps, **settings))
    history.start()
    total, early, late = timed(history, [name["id"] for name in steps])
    assert history.run.status == "completed"
    assert total < 4
    assert late < 1.5 * early + 0.02


@pytest.mark.parametrize("window", [0, 10])
def test_a_map_of_ten_thousand_items_costs_as_much_at_its_end_as_at_its_start(window: int) -> None:
    config = {"max_items": SIZE, "max_parallel": window}
    history = History(graph(step("a"), typed("m", "map", "a", config=config, timeout="1h")))
    history.start()
    history.completed("a", list(range(SIZE)))
    before = len(encode_run(history.run))
    total, early, late = timed(history, [f"m.map.{at}" for at in range(SIZE)])
    assert history.run.status == "completed"
    assert len(history.of(EnqueueTask)) == SIZE + 1
    assert len(encode_run(history.run)) < before
    assert total < 4
    assert late < 1.5 * early + 0.02


def test_giving_up_many_maps_with_many_items_is_one_pass() -> None:
    maps = [typed(f"m{at}", "map", "a", config={}) for at in range(500)]
    history = History(graph(step("a"), *maps))
    history.start()
    history.completed("a", list(range(20)))
    begin = time.process_time()
    history.cancel()
    assert time.process_time() - begin < 1
    assert len(history.given_up) == 10_000
