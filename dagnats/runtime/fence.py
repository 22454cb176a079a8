"""Whether an attempt is still the one that counts, for those who must not wait until the engine says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.event import StepStarted
from dagnats.runtime.core.attempt import is_current
from dagnats.runtime.standing import standing

if TYPE_CHECKING:
    from dagnats.model.run import Run
    from dagnats.runtime.ports import Ports


class HasAttempt(Protocol):
    """A task or a waiter, seen from here."""

    @property
    def run_id(self) -> str: ...

    @property
    def step_id(self) -> str: ...

    @property
    def attempt(self) -> int: ...


async def why_over(ports: Ports, task: HasAttempt) -> str:
    """Why nobody waits for an attempt any more; "" when somebody does, or when nobody can say.

    Raises:
        UnavailableError: NATS did not answer.
    """
    try:
        _, run = await standing(ports, task.run_id)
    except UnavailableError:
        raise
    except DagnatsError:  # no history, or none that we can read: then it is not for us to say that it is over
        return ""
    return over(run, task)


async def is_wanted(ports: Ports, task: HasAttempt) -> bool:
    """Whether the log has that somebody waits for an attempt, whatever was said of it since.

    Raises:
        UnavailableError: NATS did not answer.
    """
    try:
        _, run = await standing(ports, task.run_id)
    except UnavailableError:
        raise
    except DagnatsError:
        return False
    return not over(run, task)


def over(run: Run, task: HasAttempt) -> str:
    """Why nobody waits for an attempt of a run any more; "" when somebody does."""
    if run.ended:
        return f"run {run.run_id} has ended: it is {run.status}"
    state = run.steps.get(task.step_id)
    asked = StepStarted(run_id=task.run_id, step_id=task.step_id, attempt_number=task.attempt)
    if state is None:
        return f"step {task.step_id!r} of run {run.run_id} was never handed out"
    if is_current(state, asked) and not state.left:
        return ""
    more = " and its next one waits" if state.retry_at_ns else ""
    if state.left:
        more = f" and {state.left} steps that it has planned are not done"
    return (
        f"attempt {task.attempt} of step {task.step_id!r} is over: the step is {state.status},"
        f" at attempt {state.attempt}{more}"
    )
