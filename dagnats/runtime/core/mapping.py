"""Map steps: one task for each item of an array, so many at a time, the outputs in the items' order.

An item has state of its own, under `{map}.map.{n}`, until the map is done: its attempts, retries and deadlines are
those of any step. Nothing here looks at all items for each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dagnats.model.config import MapConfig
from dagnats.model.event import NOTHING, Failure, Items, MapCompleted, MapStarted
from dagnats.model.json import NULL, TooDeep, encode, shallow
from dagnats.model.run import StepState
from dagnats.runtime.core.attempt import number
from dagnats.runtime.core.inputs import input_of

if TYPE_CHECKING:
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

_array = msgspec.json.Decoder(list[msgspec.Raw])


def item_id(step_id: str, at: int) -> str:
    """The id under which an item runs."""
    return f"{step_id}.map.{at}"


def begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Hand out as many items as may run at a time."""
    run = turn.run
    config = cast("MapConfig", node.config)
    turn.move(step_id, state, "running")
    number(turn, state)
    state.started_ns = run.clock_ns
    try:
        _lay_out(turn, node, step_id, state, config)
    except ValueError as error:
        turn.fail(step_id, Failure(error=str(error), failure_type="non_retriable", detail="map"))
        return
    _count(turn, step_id, state)
    turn.append(
        MapStarted(
            run_id=run.run_id,
            step_id=step_id,
            attempt_number=state.attempt,
            timestamp=turn.now,
            payload=Items(items=state.items),
        )
    )
    if not state.left:
        _finish(turn, step_id, state)
    for _ in range(min(config.max_parallel or state.left, state.left)):
        _next(turn, step_id, state)


def _lay_out(turn: Turn, node: Node, step_id: str, state: StepState, config: MapConfig) -> None:
    """Give every item its place, unless the run was opened again and they have theirs."""
    if state.items:
        return
    items = _items(input_of(turn.graph, turn.run, node, state), config)
    state.items = len(items)
    for at, item in enumerate(items):
        turn.run.steps[item_id(step_id, at)] = StepState(part_of=step_id, input=item)


def _items(received: msgspec.Raw, config: MapConfig) -> list[msgspec.Raw]:
    """The items of an array, as bytes. Raises ValueError when it is none, or too long."""
    data = bytes(received) or b"null"
    try:
        items = _array.decode(shallow(data))
    except (msgspec.DecodeError, UnicodeDecodeError, TooDeep):
        start = data[:60].decode(errors="replace")
        raise ValueError(f"a map needs an array, and the step before it returned {start!r}") from None
    if len(items) > config.max_items:
        raise ValueError(f"a map of at most {config.max_items} items got {len(items)}; `max_items` can be raised")
    return items


def _count(turn: Turn, step_id: str, state: StepState) -> None:
    """Begin, or begin again with what is not done: a run that was opened again keeps the items that are."""
    steps = turn.run.steps
    state.left = sum(steps[item_id(step_id, at)].status == "pending" for at in range(state.items))
    state.next_item = state.failed_items = 0


def _next(turn: Turn, step_id: str, state: StepState) -> None:
    """Hand out the next item, if there is one."""
    while state.next_item < state.items:
        item = item_id(step_id, state.next_item)
        state.next_item += 1
        if turn.run.steps[item].status == "pending":
            turn.ready.append(item)
            return


def collects(node: Node) -> bool:
    """Whether failed items leave their errors in the output, instead of failing the map."""
    return isinstance(node.config, MapConfig) and node.config.on_item_failure == "collect"


def item_done(turn: Turn, step_id: str, item: StepState) -> None:
    """An item has its result."""
    state = turn.run.steps[step_id]
    if item.status != "failed":  # one that failed is tried again when the run is opened again
        item.input = NOTHING
    state.failed_items += item.status == "failed"
    state.left -= 1
    if state.left:
        _next(turn, step_id, state)
    else:
        _finish(turn, step_id, state)


def _finish(turn: Turn, step_id: str, state: StepState) -> None:
    """All items are done: their outputs become one array, and they are forgotten."""
    steps = turn.run.steps
    done = [steps[item_id(step_id, at)] for at in range(state.items)]
    forget(turn, step_id, state)
    turn.append(
        MapCompleted(
            run_id=turn.run.run_id,
            step_id=step_id,
            attempt_number=state.attempt,
            timestamp=turn.now,
            payload=Items(items=state.items, failed=state.failed_items),
        )
    )
    turn.finish(step_id, msgspec.Raw(b"[" + b",".join(bytes(_result(item)) for item in done) + b"]"))


def forget(turn: Turn, step_id: str, state: StepState) -> None:
    """Let go of the items' own state."""
    for at in range(state.items):
        turn.run.steps.pop(item_id(step_id, at), None)
    turn.run.line = [step_id for step_id in turn.run.line if step_id in turn.run.steps]
    turn.forget_passed_over()


def _result(item: StepState) -> msgspec.Raw:
    if item.status == "failed":
        return encode({"error": item.error, "failure_type": item.failure_type})
    return item.output or NULL


def item_failure(step_id: str, item: str, failure: Failure) -> Failure:
    """What a failed item makes of its map."""
    at = item.removeprefix(f"{step_id}.map.")
    return Failure(error=f"map instance {at} failed: {failure.error}", failure_type="non_retriable", detail="map")
