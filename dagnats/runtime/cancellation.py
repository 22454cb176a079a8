"""Which attempts were cancelled: the news may come before the task it is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dagnats.errors import DecodeError
from dagnats.model.cancellation import decode_cancellation

if TYPE_CHECKING:
    from dagnats.model.task import Task

log = logging.getLogger("dagnats.worker")

# The tasks of a cancelled run are taken out of the queue as well: this bridges the seconds until then.
MOST = 10_000


class Cancelled:
    """The newest cancelled attempts of all runs."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._attempts: dict[tuple[str, str, int], None] = {}  # in order of arrival

    def hear(self, run_id: str, data: bytes) -> None:
        """The engine has given up attempts of a run. What cannot be read is ignored, and logged."""
        try:
            cancellation = decode_cancellation(data)
            if cancellation.run_id != run_id:
                raise DecodeError(f"run {cancellation.run_id!r} in a cancellation for run {run_id!r}")
        except DecodeError as error:
            log.warning("a cancellation is ignored: %s", error)
            return
        for step_id, number in cancellation.steps:
            self.add(run_id, step_id, number)

    def add(self, run_id: str, step_id: str, attempt: int) -> None:
        self._attempts[run_id, step_id, attempt] = None
        if len(self._attempts) > self._most:
            del self._attempts[next(iter(self._attempts))]

    def withdraw(self, task: Task) -> None:
        """Somebody waits for this attempt after all."""
        self._attempts.pop((task.run_id, task.step_id, task.attempt), None)

    def has(self, task: Task) -> bool:
        """Whether nobody waits for this attempt any more."""
        return bool(self._attempts) and (task.run_id, task.step_id, task.attempt) in self._attempts
