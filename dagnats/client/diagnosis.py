"""What is known of a run that may be held, and what can be found of it. `client.diagnose` finds the facts, the rules in
`client.cause` and `client.step_cause` look at them.

The troubleshooting guides say what a person would check, one thing after the other. Each rule is one such check.
A finding says what was seen, with its numbers, why that holds the run, and the command that cures it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.client.wording import span
from dagnats.runtime.core.gate.view import GateView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.client.letter import DeadLetter
    from dagnats.client.queue import QueueView
    from dagnats.client.view import RunView
    from dagnats.model.worker import WorkerEntry


Kind = Literal[
    "no-engine", "engine-behind", "undecided",
    "run-paused", "scheduled", "not-admitted", "workflow-paused", "singleton", "max-runs", "ended",
    "older-definition", "dead-letters", "snapshot-behind",
    "same-error", "too-slow", "silent", "retry", "in-line", "child", "timer-overdue", "sleep", "approval",
    "wait-for-event", "queue-paused", "queue-full", "concurrency", "rate", "no-worker", "group-unmatched",
    "worker-stale", "task-missing", "handed-out", "busy-workers", "queued", "worker-gone", "timeout-overdue", "running",
]  # fmt: skip
"""What can be found of a run."""

Grade = Literal["wrong", "waits", "note"]
"""`wrong`: somebody has to do something. `waits`: it goes on by itself. `note`: worth knowing."""


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        kind: A stable name; programs compare this, never the text.
        grade: Whether somebody has to do something.
        seen: What was seen, with its numbers.
        why: What that means for the run.
        cure: The command that helps; "" where waiting is all there is to do.
        step_id: The step that it is about, or "".
        fix: What `--fix` would do: `resume_run`, `resume_workflow` or `resume_queue`; "" for nothing.
    """

    kind: Kind
    grade: Grade
    seen: str
    why: str
    cure: str = ""
    step_id: str = ""
    fix: Literal["", "resume_run", "resume_workflow", "resume_queue"] = ""


class EngineState(NamedTuple):
    """Whether somebody decides.

    Attributes:
        leads: Whether an engine holds the lease, and renews it.
        behind: How many events it has not decided yet.
        silent_s: How long ago the lease was renewed; 0 when no engine has ever led.
        seq: The event that it has come to; 0 when it has decided none.
    """

    leads: bool = True
    behind: int = 0
    silent_s: float = 0.0
    seq: int = 0

    @property
    def silence(self) -> str:
        """Since when nobody leads, for people."""
        return (
            f"no engine has renewed its lease for {span(self.silent_s)}" if self.silent_s else "no engine has ever led"
        )


class StepFacts(NamedTuple):
    """What a step's definition says, as far as it matters here.

    Attributes:
        group: The worker group that it asks for, or "".
        timeout_ns: How long an attempt may take; 0 for as long as it takes.
        max_attempts: How often it is tried; 0 where nothing says so.
        heartbeat_ns: How long an attempt may be silent; 0 for as long as it takes.
        asks: Of an approval: the subject on which people are asked.
    """

    group: str = ""
    timeout_ns: int = 0
    max_attempts: int = 0
    heartbeat_ns: int = 0
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the rules look at.

    Attributes:
        view: The run.
        now_ns: The server's time, or the best guess at it.
        engine: Whether somebody decides.
        gates: Who has slots, and who waits.
        queues: Queues by name.
        workers: The workers that there are.
        steps: By step, what its definition says.
        letters: The run's dead letters.
        errors: By step, how often its attempts failed with the same words as the last one.
        children: By step, the status of the run that it waits for; "" when there is none.
        newest_hash: The definition that is registered now; "" when the workflow is not.
        last: The sequence and the time of the run's newest event, read after everything else; zeros when unknown.
        snapshot_seq: The event that the run's snapshot was made at; 0 without one, or when it cannot be read.
        told_ns: By step, when its running attempt said last how far it is.
    """

    view: RunView
    now_ns: int
    engine: EngineState = field(default_factory=lambda: EngineState())
    gates: GateView = field(default_factory=lambda: GateView((), ()))
    queues: Mapping[str, QueueView] = field(default_factory=dict["str", "QueueView"])
    workers: tuple[WorkerEntry, ...] = ()
    steps: Mapping[str, StepFacts] = field(default_factory=dict[str, StepFacts])
    letters: tuple[DeadLetter, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    children: Mapping[str, str] = field(default_factory=dict[str, str])
    newest_hash: str = ""
    last: tuple[int, int] = (0, 0)
    snapshot_seq: int = 0
    told_ns: Mapping[str, int] = field(default_factory=dict[str, int])
