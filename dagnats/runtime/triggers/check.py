"""What keeps triggers from being registered, as far as only a server can know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.errors import Problem
from dagnats.model.payload import payload_problems
from dagnats.model.payload_schema import schema_problems
from dagnats.model.trigger_type import encode, external_triggers
from dagnats.runtime.triggers.book import entries_of, types_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.trigger_type import TriggerTypeEntry
    from dagnats.runtime.ports import Ports


async def trigger_problems(ports: Ports, definitions: Sequence[WorkflowDef]) -> dict[str, list[Problem]]:
    """What keeps the triggers of definitions from being registered, by the definitions' names."""
    if not any(external_triggers(definition) for definition in definitions):
        return {}
    types, entries = await asyncio.gather(types_of(ports), entries_of(ports))
    taken = {each.id: each.workflow_id for each in entries}
    found: dict[str, list[Problem]] = {}
    for definition in definitions:
        found[definition.name] = [
            *_misfits(definition, types),
            *_taken(definition, taken),
            *_debounced(definition),
        ]
        taken = {**dict.fromkeys(external_triggers(definition), definition.name), **taken}
    return found


def _taken(definition: WorkflowDef, taken: Mapping[str, str]) -> Iterator[Problem]:
    for at, trigger in enumerate(definition.triggers):
        owner = taken.get(trigger.id, definition.name)
        if trigger.external is not None and owner != definition.name:
            message = f"{trigger.id} is a trigger of workflow {owner!r}"
            yield Problem(f"triggers[{at}].id", "duplicate-trigger", message, "ids are unique among all triggers")


def _debounced(definition: WorkflowDef) -> Iterator[Problem]:
    """Triggers that nobody would debounce: a run for each firing is what their author wants least."""
    for at, trigger in enumerate(definition.triggers):
        if trigger.external is not None and trigger.debounce is not None:
            message = f"{trigger.id} cannot be debounced: each time its trigger type fires, a run starts"
            hint = f"leave `debounce` out, and let trigger type {trigger.external.kind!r} fire once when it is quiet"
            yield Problem(f"triggers[{at}].debounce", "debounce", message, hint)


def _misfits(definition: WorkflowDef, types: Mapping[str, TriggerTypeEntry]) -> Iterator[Problem]:
    """Everything in which the triggers of a definition do not fit those of their types that are known."""
    for at, trigger in enumerate(definition.triggers):
        known = types.get(trigger.external.kind) if trigger.external is not None else None
        if trigger.external is None or known is None or schema_problems(known.config_schema):
            continue
        for problem in payload_problems(known.config_schema, encode(trigger.external.config)):
            place = f"triggers[{at}].external.config{problem.path.removeprefix('$')}"
            message = f"trigger type {known.name!r} does not take this: {problem.message}"
            yield Problem(place, "trigger-config", message, problem.hint)
