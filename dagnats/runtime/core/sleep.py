"""Sleep steps: a time that the engine waits for by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from dagnats.model.config import LONGEST_SLEEP, SleepConfig
from dagnats.model.duration import duration_nanos
from dagnats.model.event import Due, Failure, SleepCompleted, SleepStarted
from dagnats.model.instant import parse_rfc3339
from dagnats.model.json import NULL
from dagnats.runtime.core.attempt import number
from dagnats.runtime.core.path import Missing, decoded, shown, value_at

if TYPE_CHECKING:
    from dagnats.model.run import StepState
    from dagnats.runtime.core.node import Node
    from dagnats.runtime.core.turn import Turn

_MILLISECOND = 1_000_000
_LONGEST_NS = duration_nanos(LONGEST_SLEEP)


class _Unclear(Exception):
    """A time that the run's input does not give."""


def begin(turn: Turn, node: Node, step_id: str, state: StepState) -> None:
    """Sleep, from the run's clock on."""
    run = turn.run
    turn.move(step_id, state, "running")
    number(turn, state)
    state.started_ns = run.clock_ns
    try:
        due_ns = _due_ns(turn, cast("SleepConfig", node.config))
    except _Unclear as error:
        turn.fail(step_id, Failure(error=str(error), failure_type="non_retriable"))
        return
    due = Due(due_ns=max(due_ns, run.clock_ns))
    turn.append(
        SleepStarted(run_id=run.run_id, step_id=step_id, attempt_number=state.attempt, timestamp=turn.now, payload=due)
    )
    if due_ns > run.clock_ns:
        _until(turn, step_id, state, due_ns)
    else:
        over(turn, step_id, state)


def _until(turn: Turn, step_id: str, state: StepState, due_ns: int) -> None:
    state.due_ns = due_ns
    turn.add_deadline(due_ns, step_id, state.attempt)


def recorded(turn: Turn, state: StepState, event: SleepStarted) -> None:
    """What a sleep's own report says is what counts: another machine may know other rules of a time zone."""
    due_ns = event.payload.due_ns
    if state.due_ns and due_ns != state.due_ns:
        _until(turn, event.step_id, state, max(due_ns, turn.run.clock_ns + 1))


def over(turn: Turn, step_id: str, state: StepState) -> None:
    """The time is reached."""
    turn.append(
        SleepCompleted(run_id=turn.run.run_id, step_id=step_id, attempt_number=state.attempt, timestamp=turn.now)
    )
    turn.finish(step_id, NULL)


def _due_ns(turn: Turn, config: SleepConfig) -> int:
    now_ns = turn.run.clock_ns
    if config.duration is not None:
        return now_ns + duration_nanos(config.duration)
    if config.cron is not None:
        return next_match(config.cron, config.timezone, now_ns)
    return _instant(turn, config.until_input_path or "", now_ns)


def next_match(cron: str, timezone: str, after_ns: int) -> int:
    """The first minute after `after_ns` that a cron expression matches in a time zone. Raises _Unclear for none."""
    from croniter import croniter

    after = datetime.fromtimestamp(after_ns // 1_000_000_000, UTC).astimezone(ZoneInfo(timezone))
    try:
        found = croniter(cron, after).get_next(datetime)
    except ValueError as error:
        raise _Unclear(f"the cron expression {cron!r} matches no coming minute: {error}") from None
    due_ns = int(found.timestamp()) * 1_000_000_000
    if due_ns > after_ns + _LONGEST_NS:
        raise _Unclear(f"the cron expression {cron!r} matches no minute of the next 365 days")
    return due_ns


def _instant(turn: Turn, path: str, now_ns: int) -> int:
    """What the run's input says: an instant as RFC 3339, or milliseconds from now."""
    where = f"sleep until_input_path {path!r}"
    try:
        value = value_at(decoded(turn.run.input), path)
    except Missing as missing:
        raise _Unclear(f"{where}: {missing} in the run's input") from None
    due_ns = _read_instant(where, value, now_ns)
    if due_ns > now_ns + _LONGEST_NS:
        raise _Unclear(f"{where}: {shown(value)} is more than 365 days away")
    return due_ns


def _read_instant(where: str, value: Any, now_ns: int) -> int:
    if isinstance(value, str):
        try:
            return parse_rfc3339(value)
        except (ValueError, OverflowError):
            example = "such as '2026-01-31T09:00:00Z'"
            raise _Unclear(f"{where}: {shown(value)} is no RFC 3339 instant, {example}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise _Unclear(
            f"{where}: {shown(value)} is neither an RFC 3339 instant nor a number of milliseconds, 0 or more"
        )
    return now_ns + int(value) * _MILLISECOND
