"""`queue …`: the queues of task types."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli import completion
from dagnats.cli.connection import open_client, run
from dagnats.cli.consent import FORCE, expect_consent
from dagnats.cli.failure import NO
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, one_line, paint, room, say, table
from dagnats.cli.target import BY, REASON, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client import Difference, QueueView, Verified
    from dagnats.runtime.core.gate.view import TaskPlace

app = typer.Typer(help="Look at the queues of task types, hold them, limit them.")

HEADER = ("QUEUE", "WAITING", "IN FLIGHT", "IN LINE", "OLDEST", "WORKERS", "STATE")

_NAME = typer.Argument(
    metavar="QUEUE", help="The task type.", show_default=False, autocompletion=completion.queue_names
)
_WIDE = typer.Option(False, "--wide", help="Do not cut lines to the terminal.")
_SECOND = 1_000_000_000


@app.command("list")
def list_queues(wide: bool = _WIDE) -> None:
    """List every queue that has tasks, had workers, or is named by a registered workflow."""
    views = run(_all())
    if current().json:
        emit([_document(view) for view in views])
    elif not views:
        say("There are no queues: no workflow is registered.")
    else:
        now_ns = time.time_ns()
        for line in table(HEADER, [_row(view, now_ns) for view in views], None if wide else room()):
            say(line)


@app.command()
def show(name: str = _NAME) -> None:
    """Show one queue: what is in it, what limits it, which steps fill it."""
    view = run(_one(name))
    if current().json:
        emit(_document(view))
        return
    state, limits = view.state, view.limits
    told = (
        ("Queue", view.name),
        ("State", _state(view)),
        ("Reason", one_line(limits.reason) if limits.paused else ""),
        ("By", limits.by if not limits.is_idle else ""),
        ("Waiting", str(state.waiting)),
        (
            "In flight",
            f"{state.in_flight} ({state.redelivered} redelivered)" if state.redelivered else str(state.in_flight),
        ),
        ("Oldest", _age(state.oldest_ns, time.time_ns())),
        ("Workers", _workers(view)),
        ("Ack wait", f"{state.ack_wait_s:g}s" if state.ack_wait_s else ""),
        ("Concurrency", str(limits.concurrency) if limits.concurrency else "as the steps say"),
        ("Rate", _rate(view) or "as the steps say"),
        ("Held by", _places(view.gate.out)),
        ("In line", _places(view.gate.waiting)),
        ("Steps", ", ".join(view.steps) or "none of a registered workflow"),
    )
    for label, value in told:
        if value:
            say(f"{label}: {value}")


@app.command()
def pause(name: str = _NAME, reason: str = REASON, by: str = BY) -> None:
    """Hand out no task of a type until it is resumed. What workers have goes on."""

    async def do() -> None:
        async with open_client() as client:
            await client.pause_queue(name, reason, by=by)

    run(do())
    _say({"queue": name, "paused": True}, f"{paint('Paused:', 'yellow')} {name}")


@app.command()
def resume(name: str = _NAME, by: str = BY) -> None:
    """Let a paused queue go on."""

    async def do() -> None:
        async with open_client() as client:
            await client.resume_queue(name, by=by)

    run(do())
    _say({"queue": name, "paused": False}, f"{paint('Resumed:', 'green')} {name}")


@app.command()
def limit(
    name: str = _NAME,
    concurrency: int | None = typer.Option(
        None, "--concurrency", metavar="N", min=0, help="How many tasks may be in flight; 0 for what the steps say."
    ),
    rate: str = typer.Option(
        "", "--rate", metavar="N/PERIOD", help="How many may start in a time: 100/1m. 0 for what the steps say."
    ),
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Limit the tasks of a type over all workflows, whatever their steps say."""
    if concurrency is None and not rate:
        raise UsageError("which limit?", hint="give --concurrency N, --rate N/PERIOD, or both")
    count, period = _parsed(rate)

    async def do() -> QueueView:
        async with open_client() as client:
            await client.limit_queue(name, concurrency=concurrency, rate=count, period=period, by=by, reason=reason)
            return await client.queue(name)

    view = run(do())
    told = [f"at most {view.limits.concurrency} in flight"] if view.limits.concurrency else []
    told += [_rate(view)] if view.limits.rate else []
    _say(_document(view), f"{paint('Limited:', 'green')} {name}: {', '.join(told) or 'as the steps say'}")


@app.command()
def repair(
    fix: bool = typer.Option(False, "--fix", help="Put right what differs. Without it: only say what does."),
    force: bool = FORCE,
) -> None:
    """Compare everything with the log, and with --fix put right what differs. Exits with 1 when something is left."""
    from dagnats.cli.verify import checked, difference_document, difference_lines

    found = run(checked())
    mendable = [each for each in found.differences if each.mendable]
    left: list[Difference] = list(found.differences)
    if fix and mendable:
        expect_consent(f"Put {counted(len(mendable), 'difference')} right, from the log?", force=force)
        left = [*run(_repair(mendable)), *(each for each in found.differences if not each.mendable)]
    fixed = len(found.differences) - len(left)
    if current().json:
        emit({"runs": found.runs, "fixed": fixed, "left": [difference_document(each) for each in left]})
    else:
        for line in difference_lines(left):
            say(line)
        say(_summary(found, left, fixed, fix=fix))
    if left:
        raise typer.Exit(NO)


def _summary(found: Verified, left: list[Difference], fixed: int, *, fix: bool) -> str:
    done = f", {fixed} put right" if fixed else ""
    how = " (--fix puts right what can be)" if any(each.mendable for each in left) and not fix else ""
    return f"{counted(found.runs, 'run')} compared{done}, {counted(len(left), 'difference')} left{how}"


async def _repair(differences: list[Difference]) -> list[Difference]:
    async with open_client() as client:
        return await client.repair(differences)


async def _all() -> list[QueueView]:
    async with open_client() as client:
        return await client.queues()


async def _one(name: str) -> QueueView:
    async with open_client() as client:
        return await client.queue(name)


def _parsed(rate: str) -> tuple[int | None, str]:
    """`100/1m` as a number and a period."""
    if not rate:
        return None, "1s"
    count, _, period = rate.partition("/")
    if not (count.isascii() and count.isdigit()) or (int(count) and not period):
        raise UsageError(f"{rate!r} is no rate", hint="write 100/1m, or 0 for what the steps say")
    return int(count), period or "1s"


def _row(view: QueueView, now_ns: int) -> tuple[str, ...]:
    state = view.state
    oldest = _age(state.oldest_ns, now_ns) or "-"
    counts = (str(state.waiting), str(state.in_flight), str(len(view.gate.waiting)))
    return (view.name, *counts, oldest, _workers(view), _state(view))


def _state(view: QueueView) -> str:
    limits = view.limits
    told = ["paused"] if limits.paused else []
    told += ["full"] if view.name in view.gate.full else []
    told += [f"≤ {limits.concurrency} in flight"] if limits.concurrency else []
    told += [_rate(view)] if limits.rate else []
    return ", ".join(told) or "open"


_MOST_PLACES = 5


def _places(places: Sequence[TaskPlace]) -> str:
    """Attempts at the gate, as `<run> <step>`."""
    told = [f"{short(place.run_id)} {place.step_id}" for place in places[:_MOST_PLACES]]
    more = [f"{len(places) - _MOST_PLACES} more"] if len(places) > _MOST_PLACES else []
    return ", ".join([*told, *more])


def _workers(view: QueueView) -> str:
    if not view.state.ack_wait_s:
        return "never any"
    return "listening" if view.state.pulls else "none listening"


def _rate(view: QueueView) -> str:
    from datetime import timedelta

    from dagnats.model.duration import format_duration

    limits = view.limits
    period = format_duration(timedelta(microseconds=limits.period_ns // 1_000))
    return f"{limits.rate}/{period}" if limits.rate else ""


def _age(since_ns: int, now_ns: int) -> str:
    if not since_ns:
        return ""
    seconds = max(now_ns - since_ns, 0) // _SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _document(view: QueueView) -> dict[str, Any]:
    from dagnats.model.instant import rfc3339

    state, limits = view.state, view.limits
    return {
        "queue": view.name,
        "waiting": state.waiting,
        "in_flight": state.in_flight,
        "redelivered": state.redelivered,
        "oldest": rfc3339(state.oldest_ns) if state.oldest_ns else None,
        "ack_wait_s": state.ack_wait_s or None,
        "open_pulls": state.pulls,
        "paused": limits.paused,
        "full": view.name in view.gate.full,
        "concurrency": limits.concurrency or None,
        "rate": _rate(view) or None,
        "by": limits.by,
        "reason": limits.reason,
        "held_by": [_place_document(place) for place in view.gate.out],
        "in_line": [_place_document(place) for place in view.gate.waiting],
        "steps": list(view.steps),
    }


def _place_document(place: TaskPlace) -> dict[str, Any]:
    return {"run_id": place.run_id, "step_id": place.step_id, "attempt": place.attempt}


def _say(document: dict[str, Any], line: str) -> None:
    if current().json:
        emit(document)
    else:
        say(line)
