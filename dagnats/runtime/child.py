"""Starts children: finds out which definition they follow, and whether they can begin at all.

What is found out is recorded in the child's first event, so it is found out once. A child exists when its history
begins; whoever tries again finds it there.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Raw
from msgspec.structs import replace

from dagnats.errors import ConflictError, DagnatsError, DefinitionError, NotFoundError, RefusedError
from dagnats.model.check import load_definition
from dagnats.model.event import ChildFailed, ChildOutcome, WorkflowStarted, encode_event
from dagnats.model.identifier import is_workflow_name, near
from dagnats.model.payload import payload_problems
from dagnats.runtime.blob import BlobLost, moved, resolved
from dagnats.runtime.burial import bury
from dagnats.runtime.doubt import expect_uncut, told_early
from dagnats.runtime.letter import NEVER_BEGAN
from dagnats.runtime.limit import hold_of
from dagnats.runtime.patience import persist
from dagnats.runtime.ports import LogCut
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    import asyncio

    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.core.action import StartChild
    from dagnats.runtime.pointer import Carriers
    from dagnats.runtime.ports import Ports
    from dagnats.runtime.together import Errands

log = logging.getLogger("dagnats.engine")

_loaded = lru_cache(maxsize=128)(load_definition)


async def newest_definition(ports: Ports, name: str) -> WorkflowDef:
    """The newest of a name. Raises DagnatsError when there is none, or none that can be used."""
    definitions = ports.definitions
    stored = await persist(lambda: definitions.newest(name)) if is_workflow_name(name) else None
    if stored is None:
        names = await persist(definitions.names)
        raise NotFoundError("workflow", name, near=near(name, names), hint="" if names else "none is registered")
    try:
        return _loaded(stored.data)
    except DefinitionError as error:
        raise DagnatsError(f"the definition of workflow {name!r} is not valid: {error.problems[0]}") from None


async def misfit(ports: Ports, definition: WorkflowDef, given: bytes) -> str:
    """Why an input is none for a workflow; "" when it is. Raises BlobLost, RefusedError."""
    if definition.input_schema is None:
        return ""
    problems = list(
        payload_problems(definition.input_schema, await persist(lambda: resolved(ports, given, what="the input")))
    )
    if not problems:
        return ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"the input does not fit workflow {definition.name!r}: {problems[0]}{more}"


async def pin(ports: Ports, definition: WorkflowDef) -> None:
    """Have the version stored that a run will look for."""
    await persist(lambda: ports.definitions.add_version(definition.name, definition.identity, definition.stored))


class Children:
    """Starts them side by side.

    Attributes:
        renewed_at: The last event of the log when ids were given their present epoch.
    """

    def __init__(self, ports: Ports, errands: Errands, carriers: Carriers) -> None:
        self.renewed_at = 0
        self._carriers = carriers
        self._ports = ports
        self._errands = errands
        self._starting: dict[str, asyncio.Task[None]] = {}

    def start(self, action: StartChild, id: str) -> asyncio.Task[None]:
        """Start a child; done when it is in the log, or its parent has been told why it is not."""
        child_id = action.start.run_id
        task = self._starting[child_id] = self._errands.begin(self._start(action, id))
        task.add_done_callback(lambda _: self._starting.pop(child_id, None))
        return task

    async def begun(self, run_id: str) -> None:
        """Wait for a start that is under way: what else a child is told comes behind it."""
        starting = self._starting.get(run_id)
        if starting is not None:
            await starting

    async def _start(self, action: StartChild, id: str) -> None:
        try:
            action = await self._whole(action)
        except (RefusedError, BlobLost) as error:
            await self._never_began(action, str(error), id)
            return
        try:
            definition = await newest_definition(self._ports, action.start.payload.workflow)
        except DagnatsError as error:
            await self._never_began(action, f"{error}; {error.hint}" if error.hint else str(error), id)
            return
        try:
            refusal = await misfit(self._ports, definition, bytes(action.start.payload.input))
            if refusal and not action.detached:
                await self._never_began(action, refusal, id)
                return
            await pin(self._ports, definition)
            is_new = await self._append(await self._first(definition, action, refusal), id)
            if not (is_new or action.detached):
                early = await told_early(self._ports.log, action)
                if early is not None:
                    await self._ports.log.append(action.run_id, encode_event(early), id=f"{id}.told")
        except (RefusedError, BlobLost) as error:
            await self._never_began(action, str(error), id)

    async def _whole(self, action: StartChild) -> StartChild:
        """With an input that points at nothing: the child has no use for places in its parent's history. Raises
        BlobLost, RefusedError, LogCut."""
        run_id, start = action.run_id, action.start
        given = bytes(start.payload.input)
        try:
            whole = await persist(lambda: self._carriers.whole(run_id, given, what="the input"))
        except BlobLost:
            await expect_uncut(self._ports.log, action)
            raise
        if whole is given:
            return action
        return replace(action, start=replace(start, payload=replace(start.payload, input=Raw(whole))))

    async def _first(self, definition: WorkflowDef, action: StartChild, refusal: str) -> WorkflowStarted:
        """The child's first event; what its input stands for is its own. Raises BlobLost, RefusedError."""
        start, given = action.start, bytes(action.start.payload.input)
        input = await persist(lambda: moved(self._ports, start.run_id, given))
        hold = await persist(lambda: hold_of(self._ports.log, definition.name))
        payload = replace(start.payload, def_hash=definition.identity, refusal=refusal, input=Raw(input))
        return replace(start, payload=hold.recorded(payload))

    async def _append(self, start: WorkflowStarted, id: str) -> bool:
        """Make `start` the beginning of a history; False when it has one. Raises RefusedError, LogCut."""
        data, last, append = encode_event(start), 0, self._ports.log.append_after
        while True:
            try:
                receipt = await persist(lambda last=last: append(start.run_id, data, id=id, last=last))
            except ConflictError:
                entries = await persist(lambda: self._ports.log.read(start.run_id))
                if any(isinstance(record.event, WorkflowStarted) for record in decoded(entries)):
                    return False
                last = entries[-1].seq if entries else 0
                if last > self.renewed_at:  # what this child will say under the same ids would be taken for said
                    raise LogCut(f"run {start.run_id} has results without its start, up to event {last}") from None
            else:
                return not receipt.duplicate

    async def _never_began(self, action: StartChild, why: str, id: str) -> None:
        """Say that there is no child, where somebody looks: in the parent's history, or among the dead letters."""
        child = action.start
        if action.detached:
            log.error("run %s: its child %s cannot begin: %s", action.run_id, child.run_id, why)
            headers = {
                "Dagnats-Dlq-Run-Id": action.run_id,
                "Dagnats-Dlq-Step-Id": action.step_id,
                "Dagnats-Dlq-Error": why,
                "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY",
            }
            letters = self._ports.dead_letters
            await bury(letters, f"{NEVER_BEGAN}.{child.run_id}", encode_event(child), headers, id=f"{id}.refused")
            return
        event = ChildFailed(
            run_id=action.run_id,
            step_id=action.step_id,
            attempt_number=action.attempt,
            timestamp=child.timestamp,
            payload=ChildOutcome(child_run_id=child.run_id, error=why),
        )
        await self._ports.log.append(action.run_id, encode_event(event), id=f"{id}.refused")
