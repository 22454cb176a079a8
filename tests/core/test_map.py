"""Map steps: a task for each item, so many at a time, the outputs in the items' order."""

from __future__ import annotations

from typing import Any

import pytest
from history import SECOND, History, graph, step, typed

from dagnats.model.event import MapCompleted, MapStarted
from dagnats.runtime.core.action import SendDeadLetter

ITEMS = ["m.map.0", "m.map.1", "m.map.2"]


def mapped(
    value: Any = (1, 2, 3), *more: dict[str, Any], workflow: dict[str, Any] | None = None, **config: Any
) -> History:
    """A run whose map has just got its items."""
    settings = config.pop("settings", {})
    made = graph(step("a"), typed("m", "map", "a", config=config, **settings), *more, **(workflow or {}))
    history = History(made)
    history.start()
    history.completed("a", value)
    return history


def test_every_item_is_a_task_of_its_own_and_the_outputs_keep_their_order() -> None:
    history = mapped()
    assert history.enqueued == ITEMS
    assert [bytes(task.input) for task in history.of_tasks[1:]] == [b"1", b"2", b"3"]
    assert [task.task for task in history.of_tasks[1:]] == ["m.task"] * 3
    for at in (2, 0, 1):
        history.completed(ITEMS[at], f"out {at}")
    assert history.result == ["out 0", "out 1", "out 2"]
    assert [event.payload.items for event in history.said(MapStarted)] == [3]
    assert [event.payload.items for event in history.said(MapCompleted)] == [3]
    assert [name for name in history.run.steps if name.startswith("m.")] == []


def test_an_empty_array_completes_a_map_at_once() -> None:
    history = mapped([])
    assert (history.run.status, history.result) == ("completed", [])


@pytest.mark.parametrize(
    ("value", "words"), [({"a": 1}, "a map needs an array"), (None, "'null'"), ([0] * 5, "at most 3 items got 5")]
)
def test_what_is_no_short_array_fails_the_map_visibly(value: Any, words: str) -> None:
    history = mapped(value, max_items=3)
    assert history.run.status == "failed"
    assert history.run.outcome.step_id == "m"
    assert words in history.run.outcome.error


def test_no_more_items_are_in_flight_than_max_parallel() -> None:
    history = mapped((1, 2, 3, 4), max_parallel=2)
    assert history.enqueued == ["m.map.0", "m.map.1"]
    history.completed("m.map.1")
    assert history.enqueued == ["m.map.2"]
    history.completed("m.map.0")
    assert history.enqueued == ["m.map.3"]


def test_each_item_has_retries_of_its_own() -> None:
    history = mapped(settings={"retry": {"max_attempts": 1, "initial_delay": "1s"}})
    history.failed("m.map.1", kind="retriable")
    assert history.tick()
    assert history.enqueued == ["m.map.1"]
    assert history.state("m.map.1").attempt == 2
    for item in ITEMS:
        history.completed(item, item)
    assert history.result == ITEMS


def test_each_item_has_the_steps_timeout_for_itself() -> None:
    history = mapped(settings={"timeout": 5 * SECOND})
    history.started("m.map.1")
    history.tick()
    assert history.run.status == "failed"
    assert "map instance 1 failed: no result within the step's timeout" in history.run.outcome.error


def test_one_failed_item_fails_the_map_and_stops_the_others() -> None:
    history = mapped((1, 2, 3), max_parallel=2)
    history.failed("m.map.0", "boom")
    assert history.given_up == [("m.map.1", 1)]
    assert history.run.outcome.error == "map instance 0 failed: boom"
    assert history.run.outcome.step_id == "m"
    (letter,) = history.of(SendDeadLetter)
    assert (letter.step_id, letter.task, bytes(letter.input), letter.failure.error) == (
        "m.map.0",
        "m.task",
        b"1",
        "boom",
    )


def test_items_that_were_not_handed_out_stay_where_they_are_when_their_map_has_failed() -> None:
    history = mapped((1, 2, 3), step("h"), max_parallel=2, settings={"on_failure": "h"})
    history.paused()
    history.completed("m.map.0")
    assert history.run.line == ["m.map.2"]
    history.failed("m.map.1")
    history.resumed()
    assert history.enqueued == ["h"]
    assert history.status("m.map.2") == "pending"
    history.completed("h")
    assert history.run.status == "completed"
    assert (history.status("m"), history.dead_letters) == ("recovered", [])
    assert [name for name in history.run.steps if name.startswith("m.")] == []


def test_when_the_failure_step_fails_too_the_item_is_kept() -> None:
    history = mapped((1,), step("h"), settings={"on_failure": "h"})
    history.failed("m.map.0")
    history.failed("h")
    assert history.dead_letters == ["h", "m.map.0"]


def test_a_collecting_map_puts_errors_in_their_places() -> None:
    history = mapped(on_item_failure="collect")
    history.failed("m.map.1", "boom")
    history.completed("m.map.0", 0)
    history.completed("m.map.2", 2)
    assert history.result == [0, {"error": "boom", "failure_type": "non_retriable"}, 2]
    assert history.said(MapCompleted)[0].payload.failed == 1
    assert history.dead_letters == []


def test_the_deadlines_of_items_go_with_them() -> None:
    history = mapped((1, 2), step("after", "m"), settings={"timeout": 5 * SECOND})
    history.started("m.map.0")
    history.started("m.map.1")
    history.completed("m.map.0")
    history.completed("m.map.1")
    assert history.run.deadlines == []


def test_late_results_of_items_change_nothing() -> None:
    history = mapped((1,), step("after", "m"))
    history.completed("m.map.0")
    assert history.completed("m.map.0", attempt=1) == []
    assert history.failed("m.map.0", attempt=1) == []
    assert history.status("m") == "completed"


def test_an_item_that_was_skipped_by_hand_gives_null_and_makes_room_for_the_next() -> None:
    history = mapped((1, 2), max_parallel=1)
    history.skipped_by_hand("m.map.1")
    assert history.status("m.map.1") == "pending"
    history.skipped_by_hand("m.map.0")
    assert history.enqueued == ["m.map.1"]
    history.completed("m.map.1", 7)
    assert history.result == [None, 7]


def test_a_map_that_fails_by_hand_stops_its_items_and_keeps_none_of_them() -> None:
    history = mapped(on_item_failure="collect")
    history.failed("m.map.0")
    history.failed_by_hand("m")
    assert history.given_up == [("m.map.1", 1), ("m.map.2", 1)]
    assert (history.run.status, history.dead_letters) == ("failed", [])


def test_workers_cannot_answer_for_a_whole_map() -> None:
    history = mapped()
    assert history.completed("m", "all") == []
    assert history.failed("m") == []
    assert history.status("m") == "running"


def test_cancelling_a_run_stops_its_items() -> None:
    history = mapped((1, 2))
    history.cancel()
    assert history.given_up == [("m.map.0", 1), ("m.map.1", 1)]


def test_a_map_opened_again_keeps_the_items_that_are_done() -> None:
    history = mapped(settings={"retry": {"max_attempts": 0}})
    history.completed("m.map.0", "kept")
    history.failed("m.map.1")
    history.reopened()
    assert history.enqueued == ["m.map.1", "m.map.2"]
    assert bytes(history.state("m.map.1").input) == b"2"
    history.completed("m.map.1", 1)
    history.completed("m.map.2", 2)
    assert history.result == ["kept", 1, 2]


def test_what_a_collecting_map_had_collected_is_tried_again_when_its_run_is_opened_again() -> None:
    history = mapped((1, 2), on_item_failure="collect")
    history.failed("m.map.0")
    history.cancel()
    history.reopened()
    assert [(task.step_id, bytes(task.input)) for task in history.of_tasks[-2:]] == [
        ("m.map.0", b"1"),
        ("m.map.1", b"2"),
    ]


def test_the_dead_letter_of_an_item_goes_when_the_item_succeeds_after_all() -> None:
    history = mapped((1,))
    history.failed("m.map.0")
    history.reopened()
    history.completed("m.map.0")
    assert history.dropped_letters == ["m.map.0"]
