"""What runs may owe to others when a log has lost its tail, noted while it is folded again from its beginning.

What a run owes itself shows in its state. What it owes others, nothing shows once it has ended: its report to the run
above it, a dead letter, a child that goes on by itself. Most of this was done long ago, and some of it has been removed
since, on purpose: only what may have been in the tail is owed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from dagnats.errors import DecodeError
from dagnats.model.event import ChildSpawned, TerminalEvent, WorkflowStarted
from dagnats.model.removal import RETENTION, decode_removal
from dagnats.runtime.core.action import DropDeadLetters, SendDeadLetter, StartChild
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.model.event import Record
    from dagnats.runtime.core.action import AnyAction, Decision
    from dagnats.runtime.ports import Log

TAIL_NS = 3600 * 1_000_000_000
"""What is older than that when the log ends was on the disk: servers write theirs within minutes."""


class Debts:
    """Who owes what.

    Args:
        since_ns: From when on something may have been lost.

    Attributes:
        parents: The runs above those that have ended, by these.
    """

    def __init__(self, since_ns: int) -> None:
        self.parents: dict[str, str] = {}
        self._since_ns = since_ns
        self._children: dict[str, str] = {}  # detached ones that have not begun, and who was to start them
        self._letters: dict[str, dict[str, int]] = defaultdict(dict)  # by run and step: when it was sent at the latest

    def note(self, record: Record, decision: Decision) -> None:
        """One event, and what it led to."""
        event, time_ns = record.event, record.time_ns
        run_id = event.run_id
        if isinstance(event, WorkflowStarted):
            self._children.pop(run_id, None)
        elif isinstance(event, TerminalEvent):
            self._ended(run_id, time_ns)
        for action in decision.actions:
            match action:
                case StartChild(detached=True):
                    self._children[action.start.run_id] = run_id
                case SendDeadLetter():
                    self._letters[run_id][action.step_id] = time_ns
                case DropDeadLetters():
                    self._letters[run_id].pop(action.step_id, None)
                case _:
                    pass
        if isinstance(event, ChildSpawned) and time_ns < self._since_ns:
            # Written at the same time as the child's first event, which retention has removed with the child.
            self._children.pop(event.payload.child_run_id, None)

    def _ended(self, run_id: str, time_ns: int) -> None:
        """The run's end is written when its letters are stored."""
        if time_ns < self._since_ns:
            self._letters.pop(run_id, None)
        elif run_id in self._letters:
            self._letters[run_id] = dict.fromkeys(self._letters[run_id], time_ns)

    async def forgive_removed(self, history: Log) -> None:
        """Children that retention has removed are not owed."""
        if not self._children:
            return
        for entry in await persist(lambda: history.read(RETENTION)):
            try:
                removal = decode_removal(entry.data)
            except DecodeError:
                continue
            for run_id, _ in removal.runs:
                self._children.pop(run_id, None)

    @property
    def debtors(self) -> set[str]:
        """The runs that may owe a dead letter, or a child."""
        late = {run_id for run_id, steps in self._letters.items() if max(steps.values(), default=0) >= self._since_ns}
        return late | set(self._children.values())

    def is_owed(self, action: AnyAction) -> bool:
        """Whether an action may not have been done. False only for dead letters and children."""
        match action:
            case SendDeadLetter():
                return self._letters.get(action.run_id, {}).get(action.step_id, 0) >= self._since_ns
            case StartChild(detached=True):
                return action.start.run_id in self._children
            case _:
                return True
