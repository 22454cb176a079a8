"""Counts for itself what the gates let through: from the log, and from what came into the task queues and when."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from dagnats.model.event import StepQueued
from dagnats.model.instant import parse_rfc3339
from dagnats.model.ops import TaskLimited, WorkflowLimited
from dagnats.model.run import IN_FLIGHT
from dagnats.model.task import decode_task
from dagnats.runtime.core.action import AskAdmission, EnqueueTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.event import Record
    from dagnats.model.ops import FactRecord
    from dagnats.model.run import Run
    from dagnats.runtime.core.action import Decision
    from dagnats.runtime.memory.server import MemoryServer
    from dagnats.runtime.memory.stream import Message

_MOST_AT_ONCE = 2  # of `few`, see the workload
_PACES = {"paced": 4, "keyed": 2}  # in a second
_SECOND = 1_000_000_000

Attempt = tuple[str, str, int]


class Handed(NamedTuple):
    """A task that came into its queue.

    Attributes:
        after: The newest event of the log then.
        task: Its type.
        attempt: Whose it is.
    """

    after: int
    task: str
    attempt: Attempt


class _Asked(NamedTuple):
    """A run that has asked to begin."""

    seq: int
    action: AskAdmission


class Watchman:
    """Looks whether a limit is exceeded, at every place of the log.

    Attributes:
        wrong: What was.
    """

    def __init__(self, server: MemoryServer) -> None:
        self.wrong: list[str] = []
        self._history = server.history
        self._handed: list[Handed] = []
        self._looked = 0  # at so many of them
        self._runs: dict[str, Run] = {}
        self._out: dict[Attempt, None] = {}
        self._granted: dict[Attempt, int] = {}
        self._keys: dict[Attempt, str] = {}
        self._asked: dict[str, _Asked] = {}
        self._active: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._locked: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._said: dict[str, list[tuple[int, WorkflowLimited]]] = defaultdict(list)
        self._most = _MOST_AT_ONCE
        self._paces = dict(_PACES)
        server.tasks.listen(self._on_task)
        server.own_tasks.listen(self._on_task)

    def _on_task(self, message: Message) -> None:
        task_type = message.subject.split(".")[1]
        if task_type != "few" and task_type not in _PACES:
            return
        task = decode_task(message.data)
        attempt = (task.run_id, task.step_id, task.attempt)
        self._handed.append(Handed(self._history.last_seq, task_type, attempt))

    # -- the log, event by event -------------------------------------------------------------------------------

    def told(self, record: FactRecord) -> None:
        """An operator has said something."""
        match record.fact:
            case TaskLimited(task="few") as said:
                self._most = max(self._most, said.concurrency)
            case TaskLimited(task=task, rate=rate) if rate and task in self._paces:
                self._paces[task] = max(self._paces[task], rate)
            case WorkflowLimited() as said:
                self._said[said.workflow].append((record.seq, said))
            case _:
                pass

    def decided(self, record: Record, decision: Decision) -> None:
        """A run has moved."""
        self._look(record.seq - 1)
        run = decision.run
        if run is None:
            return
        self._runs[run.run_id] = run
        for action in decision.actions:
            match action:
                case EnqueueTask(admitted=False, task=task) if task in self._paces:
                    attempt = (run.run_id, action.step_id, action.attempt)
                    self._granted[attempt], self._keys[attempt] = record.time_ns, action.key
                case AskAdmission():
                    self._asked[run.run_id] = _Asked(record.seq, action)
                case _:
                    pass
        event = record.event
        if isinstance(event, StepQueued):
            self._granted[run.run_id, event.step_id, event.attempt_number] = parse_rfc3339(event.timestamp)
        asked = self._asked.get(run.run_id)
        if asked is not None and run.status not in ("scheduled", "pending"):
            self._moved(run, asked)

    # -- runs --------------------------------------------------------------------------------------------------

    def _moved(self, run: Run, asked: _Asked) -> None:
        """A run that had to ask has begun, or ended."""
        action = asked.action
        active = self._active[action.workflow, action.key]
        lock = self._locked[action.workflow, action.singleton_key] if action.singleton else set[str]()
        if run.ended:
            active.discard(run.run_id)
            lock.discard(run.run_id)
            del self._asked[run.run_id]
            return
        if run.run_id not in active and not any(above in active for above in action.ancestors):
            active.add(run.run_id)
            most = self._most_runs(asked)
            if most and len(active) > most:
                self.wrong.append(f"at event {run.seq} runs {sorted(active)} go on; max_runs is {most}")
            if not self._could_begin(asked):
                self.wrong.append(f"at event {run.seq} run {run.run_id} begins, its workflow was paused all the time")
        if action.singleton:
            lock.add(run.run_id)
            if len(lock) > 1:
                self.wrong.append(f"at event {run.seq} runs {sorted(lock)} go on, of which there is to be one")

    def _since(self, asked: _Asked) -> Iterator[WorkflowLimited]:
        """What held at some time since a run asked."""
        before = WorkflowLimited(workflow=asked.action.workflow)
        for seq, said in self._said[asked.action.workflow]:
            if seq < asked.seq:
                before = said
            else:
                yield said
        yield before

    def _most_runs(self, asked: _Asked) -> int:
        """The largest limit since then; 0 when there was none at some time."""
        limits = [said.max_runs or asked.action.max_runs for said in self._since(asked)]
        return 0 if 0 in limits else max(limits)

    def _could_begin(self, asked: _Asked) -> bool:
        return any(not said.paused for said in self._since(asked))

    # -- tasks -------------------------------------------------------------------------------------------------

    def _look(self, upto: int) -> None:
        """What came into the queues before the next event of the log."""
        while self._looked < len(self._handed) and self._handed[self._looked].after <= upto:
            handed = self._handed[self._looked]
            self._looked += 1
            if handed.task == "few":
                self._out[handed.attempt] = None
                self._out = {attempt: None for attempt in self._out if self._flies(attempt)}
                if len(self._out) > self._most:
                    self.wrong.append(f"after event {handed.after} {list(self._out)} are out; {self._most} may be")

    def _flies(self, attempt: Attempt) -> bool:
        run = self._runs.get(attempt[0])
        state = run.steps.get(attempt[1]) if run is not None else None
        if state is None or state.retry_at_ns or state.held:
            return False
        return state.status in IN_FLIGHT and state.attempt == attempt[2]

    def paces(self) -> list[str]:
        """Tasks that were let through sooner than their rate allows, by the log's time."""
        times: dict[tuple[str, str], dict[Attempt, int]] = defaultdict(dict)
        for handed in self._handed:
            granted = self._granted.get(handed.attempt)
            if handed.task in self._paces and granted is not None:
                times[handed.task, self._keys.get(handed.attempt, "")][handed.attempt] = granted
        wrong: list[str] = []
        for (task, key), attempts in times.items():
            wrong += _too_many(f"{task} {key}", self._paces[task], sorted(attempts.values()))
        return wrong


def _too_many(what: str, limit: int, times: list[int]) -> Iterator[str]:
    """A bucket that holds `limit` tokens, and gets as many in a second."""
    token_ns = _SECOND // limit
    full_ns = 0
    for time_ns in times:
        if full_ns - time_ns > _SECOND - token_ns + limit:  # rounded
            yield f"{what}: {len(times)} were let through, the one at {time_ns} too soon; {limit} may be in a second"
            return
        full_ns = max(full_ns, time_ns) + token_ns
