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


@dataclass(frozen=True, slots=True)
class _Context:
    run_id: str
    step_id: str
    workflow: str
    task: str
    attempt: int
    worker_id: str
    logger: logging.LoggerAdapter[logging.Logger] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {"run_id": self.run_id, "step_id": self.step_id, "attempt": self.attempt}
        object.__setattr__(self, "logger", _RunLogger(logging.getLogger(f"dagnats.task.{self.task}"), ids))


class TaskContext(_Context):
    """The context of an async handler: take it as the last positional parameter, annotated with this class.

    Attributes:
        run_id: The run this attempt belongs to.
        step_id: The step.
        workflow: The workflow's name.
        task: The task type.
        attempt: 1 for the first try; grows with every retry.
        worker_id: The worker that runs it.
        logger: Bound with these ids.
    """

    __slots__ = ()


class SyncTaskContext(_Context):
    """The same for a sync handler, which runs in a thread."""

    __slots__ = ()
