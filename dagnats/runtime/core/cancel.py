"""Events from outside that cancel a run (`cancel_on`): watched for from its beginning to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.duration import duration_nanos
from dagnats.model.event import NOTHING
from dagnats.model.json import encode
from dagnats.runtime.core.action import AddWaiter, DropWaiter
from dagnats.runtime.core.path import Missing, raw_at

if TYPE_CHECKING:
    import msgspec

    from dagnats.model.condition import CancelOn
    from dagnats.runtime.core.turn import Turn

PREFIX = "__cancel_"
"""How a waiter's step id begins when its event cancels the run: no step can be named so."""


def watch(turn: Turn) -> None:
    """Watch for the events that cancel the run, from now on."""
    for at, cancel in enumerate(turn.graph.cancel_on):
        right = _right(turn, cancel)
        if right is None:  # what it is to be compared with is not in the input: no event can match
            continue
        timeout_ns = duration_nanos(cancel.timeout)
        turn.act(
            AddWaiter(
                id=turn.next_id(),
                run_id=turn.run.run_id,
                step_id=f"{PREFIX}{at}",
                attempt=0,
                event=cancel.event,
                left=cancel.match.left if cancel.match is not None else "",
                op=cancel.match.op if cancel.match is not None else "",
                right=right,
                since_ns=turn.run.clock_ns,
                until_ns=turn.run.clock_ns + timeout_ns if timeout_ns else 0,
            )
        )


def unwatch(turn: Turn) -> None:
    """The run is over."""
    for at, cancel in enumerate(turn.graph.cancel_on):
        run_id = turn.run.run_id
        turn.act(DropWaiter(id=turn.next_id(), run_id=run_id, step_id=f"{PREFIX}{at}", attempt=0, event=cancel.event))


def _right(turn: Turn, cancel: CancelOn) -> msgspec.Raw | None:
    if cancel.match is None:
        return NOTHING
    if not isinstance(cancel.match.right, str):
        return encode(cancel.match.right.value)
    try:
        return raw_at(turn.run.input, cancel.match.right.removeprefix("input."))
    except Missing:
        return None
