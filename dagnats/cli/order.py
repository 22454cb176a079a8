"""`run cancel`, `pause`, `resume`, `skip`, `fail`, `signal`, `approve`, `reject`: what people tell one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli import completion
from dagnats.cli.connection import open_client, run
from dagnats.cli.option import current
from dagnats.cli.output import emit, paint, say
from dagnats.cli.payload import json_bytes
from dagnats.cli.target import BY, LAST, REASON, RUN_ID, expect, find, shifted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.client import AnyRun

app = typer.Typer()

_STEP = typer.Argument("", metavar="STEP", help="The step.", show_default=False, autocompletion=completion.step_ids)
_TOKEN = typer.Option("", "--token", metavar="TOKEN", help="Proof that the answer was asked for.")
_ANSWER = typer.Option("", "--answer", metavar="JSON", help="What is answered besides: an object.")


@app.command()
def cancel(run_id: str = RUN_ID, last: bool = LAST, reason: str = REASON, by: str = BY) -> None:
    """End a run now."""
    told = run(_tell(run_id, last, lambda handle: handle.cancel(reason, by=by)))
    _say({"run_id": told, "cancelled": True}, f"{paint('Cancelled:', 'yellow')} {told}")


@app.command()
def pause(run_id: str = RUN_ID, last: bool = LAST, reason: str = REASON, by: str = BY) -> None:
    """Hand out nothing more of a run. What is in flight goes on, and so do all time limits."""
    told = run(_tell(run_id, last, lambda handle: handle.pause(reason, by=by)))
    _say({"run_id": told, "paused": True}, f"{paint('Paused:', 'yellow')} {told}")


@app.command()
def resume(run_id: str = RUN_ID, last: bool = LAST, reason: str = REASON, by: str = BY) -> None:
    """Let a paused run go on."""
    told = run(_tell(run_id, last, lambda handle: handle.resume(reason, by=by)))
    _say({"run_id": told, "paused": False}, f"{paint('Resumed:', 'green')} {told}")


@app.command()
def skip(run_id: str = RUN_ID, step: str = _STEP, last: bool = LAST, reason: str = REASON, by: str = BY) -> None:
    """Leave a step out: what depends on it goes on without its output."""
    run_id, step = shifted(last, run_id, step)
    expect(step, "STEP")
    told = run(_tell(run_id, last, lambda handle: handle.skip(step, reason, by=by)))
    _say({"run_id": told, "step_id": step, "skipped": True}, f"{paint('Skipped:', 'yellow')} {step}")


@app.command()
def fail(run_id: str = RUN_ID, step: str = _STEP, last: bool = LAST, reason: str = REASON, by: str = BY) -> None:
    """Fail a step for good: its failure step, the undoing, or the run's failure follows."""
    run_id, step = shifted(last, run_id, step)
    expect(step, "STEP")
    told = run(_tell(run_id, last, lambda handle: handle.fail_step(step, reason, by=by)))
    _say({"run_id": told, "step_id": step, "failed": True}, f"{paint('Failed:', 'yellow')} {step}")


@app.command()
def signal(
    run_id: str = RUN_ID,
    name: str = typer.Argument("", metavar="NAME", help="The signal's name.", show_default=False),
    payload: str = typer.Argument("", metavar="PAYLOAD", help="Its value, as JSON.", show_default=False),
    last: bool = LAST,
) -> None:
    """Send a signal to a run."""
    run_id, name, payload = shifted(last, run_id, name, payload)
    expect(name, "NAME")
    data = json_bytes(expect(payload, "PAYLOAD"), what="the payload")
    told = run(_tell(run_id, last, lambda handle: handle.signal_json(name, data)))
    _say({"run_id": told, "signal": name, "sent": True}, f"{paint('Signal sent:', 'green')} {name}")


@app.command()
def approve(
    run_id: str = RUN_ID,
    step: str = _STEP,
    last: bool = LAST,
    answer: str = _ANSWER,
    token: str = _TOKEN,
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Answer an approval with yes. Without a step: the one that waits."""
    run_id, step = shifted(last, run_id, step)
    answered = run(
        _answer(
            run_id,
            last,
            lambda handle: handle.approve(step, _value(answer), token=token or None, by=by, reason=reason),
        )
    )
    _say({**answered, "approved": True}, f"{paint('Approved:', 'green')} {answered['step_id']}")


@app.command()
def reject(
    run_id: str = RUN_ID,
    step: str = _STEP,
    last: bool = LAST,
    answer: str = _ANSWER,
    token: str = _TOKEN,
    reason: str = REASON,
    by: str = BY,
) -> None:
    """Answer an approval with no, which fails its step. Without a step: the one that waits."""
    run_id, step = shifted(last, run_id, step)
    answered = run(
        _answer(
            run_id,
            last,
            lambda handle: handle.reject(step, _value(answer), token=token or None, by=by, reason=reason),
        )
    )
    _say({**answered, "approved": False}, f"{paint('Rejected:', 'yellow')} {answered['step_id']}")


async def _tell(run_id: str, last: bool, order: Callable[[AnyRun], Awaitable[object]]) -> str:
    """Give the order and the run's whole id."""
    async with open_client() as client:
        handle = await find(client, run_id, last)
        await order(handle)
        return handle.run_id


async def _answer(run_id: str, last: bool, order: Callable[[AnyRun], Awaitable[str]]) -> dict[str, Any]:
    async with open_client() as client:
        handle = await find(client, run_id, last)
        return {"run_id": handle.run_id, "step_id": await order(handle)}


def _value(answer: str) -> Any:
    import msgspec

    return msgspec.json.decode(json_bytes(answer, what="the answer"))


def _say(document: dict[str, Any], line: str) -> None:
    if current().json:
        emit(document)
    else:
        say(line)
