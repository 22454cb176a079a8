"""Deleting a workflow: its name goes, and no run of it can be started. Those that there are go on, and can be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.model.step import SubWorkflowStep
from dagnats.runtime.triggers.book import settle_triggers

if TYPE_CHECKING:
    from dagnats.client.client import AsyncClient
    from dagnats.model.definition import WorkflowDef


async def delete_workflow(client: AsyncClient, name: str) -> WorkflowDef:
    """Forget the name of a workflow, and give what it was. Its versions stay for as long as runs of them are kept.

    Raises:
        NotFoundError: No such workflow is registered.
        ConflictError: Another workflow runs it, or somebody has registered it anew just now.
    """
    definition = await client.workflow(name)
    used_by = [other.name for other in await client.workflows() if other.name != name and _runs(other, name)]
    if used_by:
        raise ConflictError(
            f"workflow {name!r} is run by {', '.join(map(repr, used_by))}", hint="delete those first, or change them"
        )
    definitions = client.connection.ports.definitions
    stored = await definitions.newest(name)
    if stored is not None:
        await definitions.remove(name, revision=stored.revision)
    if any(trigger.external for trigger in definition.triggers):
        await settle_triggers(client.connection.ports, name)
    return definition


def _runs(definition: WorkflowDef, name: str) -> bool:
    return any(isinstance(step, SubWorkflowStep) and step.config.workflow == name for step in definition.steps)
