"""Runs that the Go system starts: each gets a start of ours behind its own, and goes on like any other.

What the old start leaves open is found out once, here, and recorded in ours; the fold passes the old one over. A run
begins by whichever start of ours is there: an old one that comes again, or is read again, begins nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import ConflictError, DagnatsError, DefinitionError, RefusedError
from dagnats.model.check import load_definition
from dagnats.model.event import Order, Report, Start, TerminalEvent, WorkflowStarted, encode_event
from dagnats.model.identifier import is_run_id
from dagnats.model.json import NULL
from dagnats.model.old_start import old_start_of
from dagnats.runtime.blob import carried
from dagnats.runtime.child import misfit, newest_definition, pin
from dagnats.runtime.limit import hold_of
from dagnats.runtime.patience import persist
from dagnats.runtime.record import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.event import Record
    from dagnats.model.old_start import OldStart
    from dagnats.runtime.ports import Entry, Ports

log = logging.getLogger("dagnats.engine")

_NONE = "0" * 64  # the identity of no definition
_NAMELESS = "unknown"


async def adopted(ports: Ports, entry: Entry) -> bool:
    """Begin the run that an old start in the log asks for, unless it has begun.

    False for what is no such start, for one whose run another engine has moved on already, and for one that the log
    takes no start for: that is poison like any other.
    """
    old = old_start_of(entry.data)
    if old is None or old.run_id != entry.run_id or not is_run_id(old.run_id):
        return False
    start: WorkflowStarted | None = None
    while True:
        history = await persist(lambda: ports.log.read(entry.run_id))
        records = decoded(history)
        if not history or any(isinstance(record.event, WorkflowStarted) for record in records):
            return True  # removed since, or begun
        if _is_elsewhere(records):
            return False
        try:
            start = start or await _start(ports, old)
            said, id, last = encode_event(start), f"{entry.run_id}.{entry.seq}.started", history[-1].seq
            await persist(partial(ports.log.append_after, entry.run_id, said, id=id, last=last))
        except ConflictError:
            continue
        except RefusedError as error:
            log.error("run %s cannot begin: %s", entry.run_id, error)
            return False
        return True


def _is_elsewhere(records: Iterable[Record]) -> bool:
    """Whether an engine has decided something in a history that has no start of ours: then it was none of ours."""
    return any(isinstance(record.event, Order | Report | TerminalEvent) for record in records)


async def _start(ports: Ports, old: OldStart) -> WorkflowStarted:
    """Our start in the place of an old one. What stands against it is recorded, and fails the run. Raises
    RefusedError."""
    given = await persist(partial(carried, ports, old.run_id, bytes(old.input or NULL), what="the run's input"))
    payload = Start(workflow=old.workflow, def_hash=_NONE, input=msgspec.Raw(given), by=old.by)
    try:
        definition = await _definition(ports, old)
    except DefinitionError as error:
        why = f"the definition it was started with is not valid: {error.problems[0]}"
        payload = msgspec.structs.replace(payload, workflow=error.name or _NAMELESS, refusal=why)
    except DagnatsError as error:
        payload = msgspec.structs.replace(payload, refusal=f"{error}; {error.hint}" if error.hint else str(error))
    else:
        await pin(ports, definition)
        payload = msgspec.structs.replace(
            payload,
            workflow=definition.name,
            def_hash=definition.identity,
            refusal=await misfit(ports, definition, given),
        )
        payload = (await persist(partial(hold_of, ports.log, definition.name))).recorded(payload)
    return WorkflowStarted(
        run_id=old.run_id,
        timestamp=old.timestamp,
        trace_parent=old.trace_parent,
        trace_state=old.trace_state,
        payload=payload,
    )


async def _definition(ports: Ports, old: OldStart) -> WorkflowDef:
    """What the run follows. Raises DagnatsError."""
    return load_definition(bytes(old.definition)) if old.definition else await newest_definition(ports, old.workflow)
