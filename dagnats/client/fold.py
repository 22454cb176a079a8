"""A history folded from its first event: the run, and what it wants to have outside its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.run import Run, encode_run
from dagnats.runtime.core.action import AddWaiter, AskAdmission, DropWaiter, EnqueueTask
from dagnats.runtime.core.advance import advance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.client.stock import Attempt
    from dagnats.model.event import Record
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.core.graph import Graph


class Fold:
    """A history that is folded.

    Args:
        records: Its events, from the first one.
        upto: The event at which its snapshot was made.

    Attributes:
        run: After all its events.
        then: Its snapshot, as it was at event `upto`; empty when there is no such event.
        waiters: What it waits for.
        tasks: What it has handed out, or asked the gates for, newest action of each attempt.
        asks: Whether it has a place at its workflow's gate, or wants one.
    """

    def __init__(self, graph: Graph, records: Iterable[Record], upto: int = 0) -> None:
        self.then = b""
        self.waiters: dict[Attempt, AddWaiter] = {}
        self.tasks: dict[Attempt, EnqueueTask] = {}
        self.asks = False
        run: Run | None = None
        for record in records:
            run, actions, _ = advance(graph, run, record)
            for action in actions:
                self._note(action)
            if run is not None and run.ended:
                self.asks = False
            if run is not None and record.seq == upto:
                self.then = encode_run(run)
        assert run is not None, "a history that begins with a start gives a run"
        self.run = run

    def _note(self, action: AnyAction) -> None:
        match action:
            case AddWaiter():
                self.waiters[action.step_id, action.attempt] = action
            case DropWaiter():
                self.waiters.pop((action.step_id, action.attempt), None)
            case EnqueueTask():
                self.tasks[action.step_id, action.attempt] = action
            case AskAdmission():
                self.asks = True
            case _:
                pass
