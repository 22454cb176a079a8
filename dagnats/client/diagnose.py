"""The facts about a run that `client.cause` looks at, from wherever they are."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.client.cause import findings
from dagnats.client.diagnosis import EngineState, Facts, Finding, StepFacts
from dagnats.errors import DagnatsError
from dagnats.model.check import load_definition
from dagnats.model.config import ApprovalConfig
from dagnats.model.duration import duration_nanos
from dagnats.model.instant import written_ns
from dagnats.model.pulse import decode_pulse
from dagnats.runtime.lease import EXPIRES_S
from dagnats.runtime.limit import gate_view
from dagnats.runtime.position import decode_position
from dagnats.runtime.recall import recall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.client.client import AsyncClient
    from dagnats.client.run import RunHandle
    from dagnats.client.surface import AnyClient
    from dagnats.client.view import EventView, RunView
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.step import StepDef
    from dagnats.runtime.ports import Ports

_SECOND = 1_000_000_000
_LOOK_S = 0.25


async def diagnose(client: AsyncClient, handle: RunHandle) -> tuple[RunView, list[Finding]]:
    """A run, and what holds it. Raises NotFoundError."""
    view = await handle.view()
    return view, findings(await facts_of(client, handle, view))


async def mended(client: AnyClient, view: RunView, found: Finding, *, by: str = "") -> bool:
    """Do what cures a finding, where a command alone does; False where it takes a person."""
    match found.fix:
        case "resume_run":
            await client.handle(view.run_id).resume("run diagnose --fix", by=by)
        case "resume_workflow":
            await client.resume_workflow(view.workflow, by=by)
        case "resume_queue":
            await client.resume_queue(next(step.task for step in view.steps if step.id == found.step_id), by=by)
        case "":
            return False
    return True


async def facts_of(client: AsyncClient, handle: RunHandle, view: RunView) -> Facts:
    """All that there is to know. What cannot be had is left out: a diagnosis must not fail for what is broken."""
    ports = client.connection.ports
    engine, gates, queues, workers, letters = await asyncio.gather(
        engine_state(ports),
        gate_view(ports),
        client.queues(),
        client.workers(),
        client.dead_letters(view.run_id),
    )
    definition, errors, children, newest, told = await asyncio.gather(
        definition_of(ports, view),
        _errors(handle, view),
        _children(client, view),
        _newest_hash(client, view.workflow),
        _told(ports, view),
    )
    recalled = await recall(ports, view.run_id)  # after everything else: has it gone on meanwhile?
    return Facts(
        view=view,
        now_ns=ports.clock.now_ns(),
        engine=engine,
        gates=gates,
        queues={queue.name: queue for queue in queues},
        workers=tuple(workers),
        steps=step_facts(definition),
        letters=tuple(letters),
        errors=errors,
        children=children,
        newest_hash=newest,
        last=(recalled.last, recalled.later[-1].time_ns if recalled.later else 0),
        snapshot_seq=recalled.run.seq if recalled.run is not None else 0,
        told_ns=told,
    )


async def engine_state(ports: Ports) -> EngineState:
    """Whether an engine leads, and how far it is. Takes as long as a lease lasts when none does."""
    stored, position = await asyncio.gather(ports.lease.read(), ports.position.read())
    at = decode_position(position.data) if position is not None else None
    seq = at.seq if at is not None else 0
    behind = max(await ports.log.last() - seq, 0)
    if stored is None:
        return EngineState(leads=False, behind=behind, seq=seq)
    silent_s = max(ports.clock.now_ns() - stored.time_ns, 0) / _SECOND
    if not stored.data:
        return EngineState(leads=False, behind=behind, silent_s=silent_s, seq=seq)
    leads = silent_s < EXPIRES_S or await _renewed(ports, stored.revision)  # clocks of two machines may differ
    return EngineState(leads=leads, behind=behind, silent_s=silent_s, seq=seq)


async def _renewed(ports: Ports, revision: int) -> bool:
    """Whether the lease is rewritten while we watch."""
    loop = asyncio.get_running_loop()
    end = loop.time() + EXPIRES_S
    while loop.time() < end:
        await ports.lease.changed(_LOOK_S)
        now = await ports.lease.read()
        if now is not None and now.revision != revision:
            return True
    return False


async def definition_of(ports: Ports, view: RunView) -> WorkflowDef | None:
    """The definition that a run is pinned to; None when it is gone, or cannot be read."""
    data = await ports.definitions.version(view.workflow, view.def_hash)
    with suppress(DagnatsError):
        return load_definition(data) if data is not None else None
    return None


def step_facts(definition: WorkflowDef | None) -> dict[str, StepFacts]:
    """By step, what its definition says."""
    return {step.id: _facts(step) for step in definition.steps} if definition is not None else {}


def _facts(step: StepDef) -> StepFacts:
    return StepFacts(
        group=step.worker_group or "",
        timeout_ns=duration_nanos(step.timeout),
        max_attempts=step.retry.max_attempts if step.retry is not None else 0,
        heartbeat_ns=duration_nanos(step.heartbeat_timeout),
        asks=step.config.subject if isinstance(step.config, ApprovalConfig) else "",
    )


async def _told(ports: Ports, view: RunView) -> dict[str, int]:
    """By step, when its running attempt said last how far it is, by its worker's clock."""
    running = {step.id: step.attempts for step in view.steps if step.status == "running"}
    if not running:
        return {}
    pulses = {step_id: decode_pulse(data) for step_id, data in (await ports.pulses.of(view.run_id)).items()}
    return {
        step_id: said_ns
        for step_id, pulse in pulses.items()
        if pulse is not None and pulse.attempt == running.get(step_id) and (said_ns := written_ns(pulse.at))
    }


async def _errors(handle: RunHandle, view: RunView) -> dict[str, int]:
    """By step, how many of its newest attempts failed with the same words."""
    tried = {step.id for step in view.steps if step.attempts > 1 and step.in_flight}
    if not tried:
        return {}
    return {step_id: _alike(await handle.history(), step_id) for step_id in tried}


def _alike(history: Iterable[EventView], step_id: str) -> int:
    said = [_words(event.payload) for event in history if event.type == "step.failed" and event.step_id == step_id]
    count = 0
    for words in reversed(said):
        if words != said[-1]:
            break
        count += 1
    return count


def _words(payload: object) -> object:
    return payload.get("error") if isinstance(payload, dict) else payload  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # any JSON


async def _children(client: AsyncClient, view: RunView) -> dict[str, str]:
    found: dict[str, str] = {}
    for step in view.steps:
        if step.child_run_id and step.in_flight:
            try:
                found[step.id] = (await client.handle(step.child_run_id).view()).status
            except DagnatsError:
                found[step.id] = ""
    return found


async def _newest_hash(client: AsyncClient, workflow: str) -> str:
    try:
        return (await client.workflow(workflow)).identity
    except DagnatsError:
        return ""
