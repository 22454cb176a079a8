"""Respond steps: the answer to the request that started the run. The run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dagnats.model.event import Failure, Responded, Response
from dagnats.model.json import NULL
from dagnats.runtime.core.attempt import number
from dagnats.runtime.core.inputs import input_of
from dagnats.runtime.core.path import Missing, raw_at

if TYPE_CHECKING:
    from dagnats.model.config import RespondConfig
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn


def begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Give the response, and be done."""
    run = turn.run
    config = cast("RespondConfig", node.config)
    turn.move(step_id, state, "running")
    number(turn, state)
    state.started_ns = run.clock_ns
    body = input_of(turn.graph, run, node, state) or NULL
    try:
        body = raw_at(body, config.body_from) if config.body_from is not None else body
    except Missing as missing:
        why = f"respond body_from {config.body_from!r}: {missing} in the step's input"
        turn.fail(step_id, Failure(error=why, failure_type="non_retriable"))
        return
    response = Response(status=config.status, headers=dict(config.headers), content_type=config.content_type, body=body)
    turn.append(
        Responded(
            run_id=run.run_id, step_id=step_id, attempt_number=state.attempt, timestamp=turn.now, payload=response
        )
    )
    turn.finish(step_id, body)
