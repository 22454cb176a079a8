"""What a handler is told about the attempt it works on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class _RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the attempt's ids to every record, as `extra` and as a prefix people can read."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        ids = self.extra or {}
        kwargs["extra"] = {**ids, **kwargs.get("extra", {})}
        return f"[run_id={ids['run_id']} step={ids['step_id']}] {msg}", kwargs


class Stop:
    """Whether an attempt has to stop. The worker sets it, once; contexts show it, in whatever thread they are."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked = False


@dataclass(frozen=True, slots=True)
class _Context:
    run_id: str
    step_id: str
    workflow: str
    task: str
    attempt: int
    worker_id: str
    stop: Stop = field(default_factory=Stop, repr=False, compare=False)
    iteration: int = 0
    previous: Any = None

    @property
    def is_cancelled(self) -> bool:
        return self.stop.asked

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        # Made when it is asked for: most attempts say nothing, and it costs as much as the rest of a context.
        ids = {"run_id": self.run_id, "step_id": self.step_id, "attempt": self.attempt}
        return _RunLogger(logging.getLogger(f"dagnats.task.{self.task}"), ids)


class TaskContext(_Context):
    """The context of an async handler: take it as the last positional parameter, annotated with this class.

    Attributes:
        run_id: The run this attempt belongs to.
        step_id: The step.
        workflow: The workflow's name.
        task: The task type.
        attempt: 1 for the first try; grows with every retry.
        worker_id: The worker that runs it.
        stop: The worker's; a test may set `stop.asked` to see its handler stop.
        iteration: Which turn of an agent loop it is, from 0. It does not grow with a retry.
        previous: What the turn before gave to `Continue`, as JSON reads; None in the first one.
        is_cancelled: Whether nobody wants the result any more: the run was cancelled, the step's time is over, the
            worker ends. The handler hears of it by `asyncio.CancelledError`, and has a while to clean up.
        logger: Bound with these ids.
    """

    __slots__ = ()


class SyncTaskContext(_Context):
    """The same for a sync handler, which runs in a thread.

    Nothing can interrupt a thread: a handler that takes long looks at `is_cancelled` now and then, and returns.
    """

    __slots__ = ()
