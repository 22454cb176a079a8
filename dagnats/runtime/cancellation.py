"""Which attempts were cancelled: the news may come before the task it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.model.task import Task

# The tasks of a cancelled run are taken out of the queue as well: this bridges the seconds until then.
MOST = 10_000


class Cancelled:
    """The newest cancelled attempts of all runs."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._attempts: dict[tuple[str, str, int], None] = {}  # in order of arrival

    def add(self, run_id: str, step_id: str, attempt: int) -> None:
        self._attempts[run_id, step_id, attempt] = None
        if len(self._attempts) > self._most:
            del self._attempts[next(iter(self._attempts))]

    def has(self, task: Task) -> bool:
        """Whether nobody waits for this attempt any more."""
        return bool(self._attempts) and (task.run_id, task.step_id, task.attempt) in self._attempts
