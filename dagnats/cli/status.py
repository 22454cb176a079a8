"""`status`: is the server there, and what does it do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import configuration, open_client, place, run
from dagnats.cli.failure import problem_lines
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, paint, room, say, table
from dagnats.errors import Problem, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.client.client import ServerStatus
    from dagnats.client.health import Health, Letters
    from dagnats.runtime.loaded import Loaded
    from dagnats.runtime.ports import Holding

_QUEUE_HEADER = ("TASK", "PENDING", "IN-FLIGHT", "REDELIVERED", "ACK WAIT")


def status(
    detail: bool = typer.Option(False, "--detail", help="Also queues, dead letters, and how far the engine is."),
) -> None:
    """Show whether NATS and JetStream answer, and how many runs are active."""
    try:
        found, health = run(_ask(detail=detail))
    except UnavailableError:
        configuration()  # what is wrong with it may be why nobody is found
        raise
    loaded = found.configuration
    if current().json:
        document = {
            "nats": "connected",
            "jetstream": "available",
            "stream_count": found.streams,
            "active_runs": found.active_runs,
            **({"namespace": found.namespace} if found.namespace else {}),
        }
        document |= {"store": _store_document(found.holding)} if found.holding is not None else {}
        document |= _document(health) if health is not None else {}
        emit(document | {"configuration": _loaded_document(loaded) if loaded is not None else None})
        return
    say(f"NATS: {paint('connected', 'green')}")
    say(f"JetStream: {paint('available', 'green')} ({counted(found.streams, 'stream')})")
    if found.namespace:
        say(f"Namespace: {found.namespace}")
    say(f"Active runs: {found.active_runs}")
    for line in _store_lines(found.holding, always=health is not None) if found.holding is not None else ():
        say(line)
    for line in _loaded_lines(loaded) if loaded is not None else ():
        say(line)
    for line in _lines(health) if health is not None else ():
        say(line)


async def _ask(*, detail: bool) -> tuple[ServerStatus, Health | None]:
    # A server goes on with what it has read before: while a newer file cannot be, somebody asks just for this.
    async with open_client(where=place(leniently=True)) as client:
        return await client.status(), await client.health() if detail else None


def _store_lines(holding: Holding, *, always: bool) -> Iterator[str]:
    """How full the store is: for who looks closely, and for everybody once it matters."""
    from dagnats.runtime.room import FULL, NEAR_FULL, limit_of, used

    if not holding.limit:
        yield from [f"Store: {holding.used:,} bytes, and no limit that NATS tells"] if always else []
        return
    line = f"Store: {used(holding)}; {limit_of(holding)} is the limit"
    if holding.share >= NEAR_FULL:
        yield paint(line, "red")
        what = "No run begins, and no signal and no event is taken" if holding.share >= FULL else ""
        yield f"  {what or f'From {FULL:.0%} on, no run begins'}: `dagnats clean --older-than=7d` makes room"
    elif always:
        yield line


def _store_document(holding: Holding) -> dict[str, Any]:
    import msgspec

    from dagnats.client.installation import store_document

    return msgspec.to_builtins(store_document(holding))


def _loaded_lines(loaded: Loaded) -> Iterator[str]:
    """What a server has loaded, where there is a file, or was one asked for in vain."""
    if not loaded.file and not loaded.refused_at:
        return
    yield f"Configuration: {loaded.file}, read {_shown_time(loaded.loaded_at)}"
    if loaded.refused_at:
        refused = paint(f"refused {_shown_time(loaded.refused_at)}", "red")
        yield f"  A newer one was {refused}, so that this one is still in force:"
        for fault in loaded.problems:
            lines = problem_lines(Problem(fault.path, fault.rule, fault.message, fault.hint, fault.source), paint)
            yield from (f"  {line}" for line in lines)
    if loaded.restart:
        yield f"  From the next start of the server: {', '.join(loaded.restart)}"


def _shown_time(rfc3339: str) -> str:
    return f"{rfc3339[:19].replace('T', ' ')} UTC"


def _loaded_document(loaded: Loaded) -> dict[str, Any]:
    import msgspec

    document: dict[str, Any] = {"refused_at": None, "problems": [], "restart": [], **msgspec.to_builtins(loaded)}
    return document | {"file": loaded.file or None}


def _lines(health: Health) -> Iterator[str]:
    inside = room()
    width = inside - 2 if inside is not None else None
    if health.queues:
        rows = [
            (queue.name, str(queue.waiting), str(queue.in_flight), str(queue.redelivered), _ack_wait(queue.ack_wait_s))
            for queue in health.queues
        ]
        yield from ("", "Task Queues:", *(f"  {line}" for line in table(_QUEUE_HEADER, rows, width)))
    yield from ("", *_letter_lines(health.letters, width), "", "Engine:")
    engine = health.engine
    if not engine.leads:
        yield f"  {paint('None leads', 'red')}: no run goes on. `dagnats serve` starts one"
    yield f"  History lag: {counted(engine.behind, 'message')} ({health.lag_s:.1f}s)"
    yield f"  Scheduled timers: {health.timers}"


def _letter_lines(letters: Letters, width: int | None) -> list[str]:
    from dagnats.model.instant import table_time

    lines = [f"Dead Letters: {letters.total} total"]
    if letters.total:
        rows = [(task, str(count)) for task, count in letters.by_task.items()]
        lines += [f"  Oldest: {table_time(letters.oldest_ns)}", f"  Newest: {table_time(letters.newest_ns)}"]
        lines += [f"  {line}" for line in table(("TASK", "COUNT"), rows, width)]
    return lines


def _ack_wait(seconds: float) -> str:
    """As the command reference writes it; none where no worker was ever there."""
    return f"{seconds * 1000:.0f}ms" if seconds else "-"


def _document(health: Health) -> dict[str, Any]:
    import msgspec

    from dagnats.client.installation import health_document

    return msgspec.to_builtins(health_document(health))
