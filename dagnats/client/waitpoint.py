"""Waitpoints: what runs wait for that somebody outside has to bring, an approval or an event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, NamedTuple

from dagnats.client.inquirer import Which
from dagnats.errors import ConflictError, DecodeError, NotFoundError
from dagnats.model.identifier import near
from dagnats.model.waiter import decode_waiter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagnats.client.client import AsyncClient
    from dagnats.client.surface import AnyClient
    from dagnats.client.view import RunView, StepView
    from dagnats.model.scalar import StepType
    from dagnats.runtime.ports import Ports

_AT_ONCE = 32

Kind = Literal["approval", "event"]
_KINDS: Mapping[StepType, Kind] = {"approval": "approval", "wait_for_event": "event"}

_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class Waitpoint(NamedTuple):
    """A step that waits for somebody outside.

    Attributes:
        run_id: Whose step it is.
        workflow: That run's.
        step_id: The step.
        kind: What it waits for.
        since_ns: Since when.
        until_ns: How long at most; 0 for without end.
        event: The event's type; "" for an approval.
        match: What the event's body has to be, in words; "" when any does.
    """

    run_id: str
    workflow: str
    step_id: str
    kind: Kind
    since_ns: int
    until_ns: int
    event: str = ""
    match: str = ""

    @property
    def resumed_by(self) -> str:
        """What lets the run go on, without `waitpoint complete`."""
        if self.kind == "approval":
            return f"dagnats run approve {self.run_id} {self.step_id}"
        return f"dagnats event publish {self.event} '{{…}}'{f', with {self.match}' if self.match else ''}"


async def waitpoints(
    client: AsyncClient, *, workflow: str = "", limit: int = 1_000, among: Sequence[str] = ()
) -> list[Waitpoint]:
    """The waitpoints of the newest `limit` runs that go on, the oldest waitpoint first.

    Args:
        workflow: Only of this workflow.
        limit: How many runs are looked at.
        among: Only of workflows that one of these patterns fits.
    """
    runs = await client.runs_of(Which(workflow=workflow, status="running", among=among), limit=limit)
    matches = await _matches(client.connection.ports)
    found: list[Waitpoint] = []
    for at in range(0, len(runs), _AT_ONCE):
        some = (client.handle(run.run_id).view() for run in runs[at : at + _AT_ONCE])
        for view in await asyncio.gather(*some, return_exceptions=True):
            if not isinstance(view, BaseException):  # parked, or gone by now
                found += _of(view, matches)
    return sorted(found, key=lambda each: each.since_ns)


async def waitpoint(client: AsyncClient, run_id: str, step_id: str) -> Waitpoint:
    """One waitpoint; without a step, the one that its run waits at.

    Raises:
        NotFoundError: The run waits at no such step.
        ConflictError: It waits at several, and none is named.
    """
    return chosen(await client.handle(run_id).view(), step_id, await _matches(client.connection.ports))


def chosen(view: RunView, step_id: str, matches: Mapping[tuple[str, str], str]) -> Waitpoint:
    """The waitpoint of a run that is meant; see `waitpoint`.

    Args:
        view: The run.
        step_id: Its step; "" for the one that there is.
        matches: By run and step, what an event has to have.
    """
    run_id = view.run_id
    found = {each.step_id: each for each in _of(view, matches)}
    if step_id in found:
        return found[step_id]
    if step_id or not found:
        hint = f"run {run_id} is {view.status}, and waits at {', '.join(found) or 'nothing'}"
        raise NotFoundError("waitpoint", step_id or run_id, near=near(step_id, found), hint=hint)
    if len(found) > 1:
        raise ConflictError(f"run {run_id} waits at {len(found)} steps: {', '.join(found)}", hint="name one")
    return next(iter(found.values()))


async def complete(client: AnyClient, at: Waitpoint, body: object = None, *, by: str = "", reason: str = "") -> None:
    """Let a run go on by hand: answers its approval with yes, or gives it the event. Raises ConflictError."""
    handle = client.handle(at.run_id)
    if at.kind == "approval":
        await handle.approve(at.step_id, body, by=by, reason=reason)
    else:
        await handle.complete_wait(at.step_id, body)


def _of(view: RunView, matches: Mapping[tuple[str, str], str]) -> Iterator[Waitpoint]:
    for step in view.steps:
        if step.type in _KINDS and _waits(step):
            yield Waitpoint(
                run_id=view.run_id,
                workflow=view.workflow,
                step_id=step.id,
                kind=_KINDS[step.type],
                since_ns=step.started_ns or step.queued_ns or view.created_ns,
                until_ns=step.due_ns,
                event=step.awaits,
                match=matches.get((view.run_id, step.id), ""),
            )


def _waits(step: StepView) -> bool:
    return step.status == "running" and not step.retry_at_ns and not step.held


async def _matches(ports: Ports) -> dict[tuple[str, str], str]:
    """By run and step, what an event has to have."""
    found: dict[tuple[str, str], str] = {}
    for data in await ports.waiters.all():
        try:
            waiter = decode_waiter(data)
        except DecodeError:
            continue
        if waiter.left:
            right = bytes(waiter.right).decode(errors="replace")
            found[waiter.run_id, waiter.step_id] = f"{waiter.left} {_SIGNS.get(waiter.op, waiter.op)} {right}".rstrip()
    return found
