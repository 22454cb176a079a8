"""Large payloads in a run's state: where they lie, which stay, and what is decided all the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from history import History, graph, step, typed

from dagnats.model import pointer
from dagnats.model.event import (
    ChildCompleted,
    Responded,
    StepCompleted,
    StepContinued,
    WaitMatched,
    WorkflowCompleted,
    WorkflowStarted,
    encode_event,
)
from dagnats.model.pointer import STATE_BYTES, content, has_pointer, pointers, put_in
from dagnats.model.run import encode_run
from dagnats.runtime.core.action import AppendEvent, EndRun, SendDeadLetter, StartChild

LARGE = "x" * STATE_BYTES
SMALL = "x" * (STATE_BYTES - 2)


def whole(history: History, data: Any) -> Any:
    """Some JSON out of the state, with what the log has in the place of pointers, decoded."""
    return msgspec.json.decode(history.put_in(bytes(data)))


def carriers(history: History, data: Any) -> list[type]:
    """The kinds of events that some JSON points at."""
    return [type(history.log[each.seq - 1].event) for each in pointers(bytes(data))]


def is_light(history: History) -> bool:
    return len(encode_run(history.run)) < STATE_BYTES


def test_a_large_output_stays_in_its_event_and_the_next_step_gets_it() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.completed("a", LARGE)
    assert carriers(history, history.state("a").output) == [StepCompleted]
    assert whole(history, history.task.input) == LARGE
    assert is_light(history)


def test_an_output_up_to_the_limit_is_in_the_state() -> None:
    history = History(graph(step("a"), step("b", "a")))
    history.start()
    history.completed("a", SMALL)
    assert history.output("a") == SMALL


def test_an_input_of_several_large_outputs_has_a_pointer_to_each() -> None:
    history = History(graph(step("a"), step("b"), step("c", "a", "b")))
    history.start()
    history.completed("a", LARGE)
    history.completed("b", [LARGE])
    assert len(history.task.input) < 200
    assert whole(history, history.task.input) == {"a": LARGE, "b": [LARGE]}


def test_the_runs_input_and_its_output_stay_in_its_first_and_its_last_event() -> None:
    history = History(graph(step("a")))
    history.start({"text": LARGE})
    assert carriers(history, history.run.input) == [WorkflowStarted]
    assert whole(history, history.task.input) == {"text": LARGE}
    history.completed("a", LARGE)
    (end,) = history.of(EndRun)
    assert carriers(history, end.event.payload.output) == [StepCompleted]
    assert carriers(history, history.run.outcome.output) == [WorkflowCompleted]
    assert is_light(history)


def test_outputs_that_another_run_has_made_stay_in_the_start() -> None:
    outputs = {"a": msgspec.Raw(b"[%d]" % 10**STATE_BYTES), "b": msgspec.Raw(b"7")}
    history = History(graph(step("a"), step("b"), step("c", "a", "b")))
    history.start(outputs=outputs)
    assert carriers(history, history.state("a").output) == [WorkflowStarted]
    assert history.output("b") == 7
    assert is_light(history)
    (found,) = pointers(bytes(history.task.input))
    assert content(encode_event(history.log[0].event), found) == bytes(outputs["a"])


def test_what_a_turn_of_a_loop_gives_the_next_one_stays_in_its_event() -> None:
    history = History(graph(typed("a", "agent_loop", config={"max_iterations": 3})))
    history.start()
    history.continued("a", LARGE)
    assert carriers(history, history.state("a").input) == [StepContinued]
    assert whole(history, history.task.input) == LARGE


def test_what_a_turn_gives_is_there_whole_for_the_key_of_its_rate_limit() -> None:
    limit = {"key": "k", "limit": 1, "period": "1s"}
    history = History(graph(typed("a", "agent_loop", config={"max_iterations": 3}, keyed_rate_limit=limit)))
    history.start({"k": "one"})
    history.continued("a", {"k": "two", "text": LARGE})
    assert history.task.key == "two"


def test_a_childs_output_and_an_awaited_event_stay_in_the_events_that_brought_them() -> None:
    wait = {"event": "e", "timeout": "3s", "match": {"left": "n", "op": "eq", "right": {"value": 1}}}
    steps = [typed("a", "sub_workflow", config={"workflow": "c"}), typed("b", "wait_for_event", config=wait)]
    history = History(graph(*steps, step("c", "a", "b")))
    history.start()
    history.child_completed("a", LARGE)
    history.matched("b", [LARGE])
    assert carriers(history, history.task.input) == [ChildCompleted, WaitMatched]
    assert whole(history, history.task.input) == {"a": LARGE, "b": [LARGE]}


def test_what_is_brought_before_its_wait_begins_stays_in_its_event() -> None:
    wait = {"event": "e", "timeout": "3s", "match": {"left": "n", "op": "eq", "right": {"value": 1}}}
    history = History(graph(step("a"), typed("b", "wait_for_event", "a", config=wait), step("c", "b")))
    history.start()
    history.feed(
        WaitMatched(run_id="r", step_id="b", attempt_number=1, payload=msgspec.Raw(msgspec.json.encode(LARGE)))
    )
    assert carriers(history, history.run.early["b"]) == [WaitMatched]
    history.completed("a")
    assert whole(history, history.task.input) == LARGE


def test_a_large_signal_stays_in_its_event_and_is_shown_whole() -> None:
    history = History(graph(step("a")))
    history.start()
    history.signalled("go", LARGE)
    (kept,) = history.kept
    assert msgspec.json.decode(bytes(kept.data)) == LARGE
    assert whole(history, history.run.signals[0].data) == LARGE
    assert is_light(history)


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ({"text": LARGE, "n": 1}, {"approved": True, "text": LARGE, "n": 1}),
        (LARGE, {"approved": True, "answer": LARGE}),
    ],
)
def test_a_large_answer_stays_in_its_event(answer: Any, output: Any) -> None:
    history = History(graph(typed("a", "approval", config={"subject": "ask", "timeout": "3s"}), step("b", "a")))
    history.start()
    history.granted("a", answer)
    assert is_light(history)
    assert whole(history, history.task.input) == output


@pytest.mark.parametrize("name", ["", "a.b", 'a"b', "ä"])
def test_a_large_member_whose_name_is_no_name_is_in_the_state(name: str) -> None:
    history = History(graph(typed("a", "approval", config={"subject": "ask", "timeout": "3s"}), step("b", "a")))
    history.start()
    history.granted("a", {name: LARGE})
    assert msgspec.json.decode(history.task.input) == {"approved": True, name: LARGE}


def test_a_map_has_pointers_to_its_items_large_results() -> None:
    history = History(graph(step("a"), typed("m", "map", "a"), step("b", "m")))
    history.start()
    history.completed("a", [1, 2, 3])
    for at, result in enumerate([LARGE, "small", [LARGE]]):
        history.completed(f"m.map.{at}", result)
    assert is_light(history)
    assert whole(history, history.task.input) == [LARGE, "small", [LARGE]]


def test_dead_letters_children_and_responses_get_what_the_state_points_at() -> None:
    steps = [step("a"), typed("c", "sub_workflow", "a", config={"workflow": "c"}), typed("r", "respond", "a")]
    history = History(graph(*steps, step("d", "a")))
    history.start()
    history.completed("a", LARGE)
    history.failed("d")
    (letter,) = history.of(SendDeadLetter)
    (child,) = history.of(StartChild)
    (said,) = [each.event for each in history.of(AppendEvent) if isinstance(each.event, Responded)]
    for payload in (letter.input, child.start.payload.input, said.payload.body):
        assert carriers(history, payload) == [StepCompleted]


# -- what decisions look into --------------------------------------------------------------------------------------


def test_what_a_condition_or_a_map_looks_into_is_in_the_state() -> None:
    skip = {"step_id": "a", "field": "n", "op": "==", "value": 1}
    history = History(graph(step("a"), step("b", "a", skip_if=skip), step("l"), typed("m", "map", "l")))
    history.start()
    history.completed("a", {"n": 1, "text": LARGE})
    assert history.status("b") == "skipped"
    history.completed("l", [LARGE])
    assert history.enqueued == ["m.map.0"]
    assert not has_pointer(encode_run(history.run))


@pytest.mark.parametrize("key", ["input.k", "input.a.k"])
def test_a_failure_step_finds_its_key_in_what_it_is_told_of(key: str) -> None:
    limit = {"key": key, "limit": 1, "period": "1s"}
    needs = ["a"] if key == "input.k" else ["a", "z"]
    steps = [step("a"), step("z"), step("b", *needs, on_failure="x"), step("x", keyed_rate_limit=limit)]
    history = History(graph(*steps))
    history.start()
    history.completed("z")
    history.completed("a", {"k": "one", "text": LARGE})
    history.failed("b")
    assert history.task.key == "one"


def test_a_compensation_finds_its_key_in_the_output_and_a_first_steps_failure_step_in_the_runs_input() -> None:
    limit = {"key": "original_output.k", "limit": 1, "period": "1s"}
    history = History(
        graph(
            step("a", compensate="x", on_failure="y"),
            step("b", "a"),
            step("x", keyed_rate_limit=limit),
            step("y", keyed_rate_limit={**limit, "key": "input.k"}),
            compensate_on=["failure"],
        )
    )
    history.start({"k": "zero", "text": LARGE})
    assert not has_pointer(bytes(history.run.input))
    history.completed("a", {"k": "one", "text": LARGE})
    history.failed("b")
    assert history.task.key == "one"


def test_a_compensation_of_a_map_finds_its_key_in_an_items_result() -> None:
    limit = {"key": "original_output.0.k", "limit": 1, "period": "1s"}
    steps = [step("a"), typed("m", "map", "a", compensate="x"), step("b", "m"), step("x", keyed_rate_limit=limit)]
    history = History(graph(*steps, compensate_on=["failure"]))
    history.start()
    history.completed("a", [1])
    history.completed("m.map.0", {"k": "one", "text": LARGE})
    history.failed("b")
    assert history.task.key == "one"


def test_what_is_looked_into_behind_responses_that_hand_it_on_is_in_the_state() -> None:
    first, second = typed("r", "respond", "a"), typed("q", "respond", "r")
    history = History(graph(step("a"), first, second, typed("m", "map", "q"), step("b", "a")))
    history.start([LARGE])
    history.completed("a", [LARGE, 2])
    assert history.enqueued == ["b", "m.map.0", "m.map.1"]
    assert not has_pointer(bytes(history.state("q").output))
    assert has_pointer(bytes(history.run.input))


def test_a_graph_that_compares_keeps_everything() -> None:
    made = graph(step("a"))
    made.whole = True
    assert made.keeps("a")
    assert not graph(step("a")).keeps("a")


# -- pointers ------------------------------------------------------------------------------------------------------


def test_a_pointer_is_found_wherever_it_stands_and_put_in_once_for_each_place() -> None:
    data = pointer.Pointer(7, "outputs.a", 3).data
    joined = b'{"a":[%b,%b],"b":"{\\"$dagnats.blob\\":{\\"seq\\":1"}' % (data, data)
    assert pointers(joined) == [pointer.Pointer(7, "outputs.a", 3)]
    filled = put_in(joined, {pointer.Pointer(7, "outputs.a", 3): b"[1]"})
    assert filled == b'{"a":[[1],[1]],"b":"{\\"$dagnats.blob\\":{\\"seq\\":1"}'
    assert pointer.whole_size(joined) == len(filled)
    assert put_in(joined, {}) == joined
    assert pointers(b'{"a":1}') == []


@pytest.mark.parametrize(
    ("event", "at"),
    [
        (b'{"payload":{"output":"12"}}', "input"),
        (b'{"payload":{"output":"123"}}', "output"),
        (b'{"payload":["12"]}', "output"),
        (b'{"payload":7}', ""),
        (b"{}", ""),
        (b"\xff", ""),
        (b'{"payload":' + b"[" * 100_000, "output"),
    ],
)
def test_another_event_than_the_one_pointed_at_gives_nothing(event: bytes, at: str) -> None:
    assert content(event, pointer.Pointer(1, at, 4)) is None


def test_what_points_on_is_nothing_of_ours() -> None:
    inner = pointer.Pointer(1, "", 5000).data
    assert content(b'{"payload":%b}' % inner, pointer.Pointer(1, "", len(inner))) is None
