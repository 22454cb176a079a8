"""Deleting a workflow: its name goes, and no run of it can be started. Those that there are go on, and can be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import ConflictError
from dagnats.model.step import SubWorkflowStep
from dagnats.runtime.triggers.book import settle_triggers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.ports import Ports


async def delete_workflow(ports: Ports, definition: WorkflowDef, others: Sequence[WorkflowDef]) -> None:
    """Forget the name of a workflow. Its versions stay for as long as runs of them are kept.

    Args:
        definition: What it is.
        others: The workflows that there are.

    Raises:
        ConflictError: One of these runs it, or somebody has registered it anew just now.
    """
    name = definition.name
    used_by = [other.name for other in others if other.name != name and _runs(other, name)]
    if used_by:
        raise ConflictError(
            f"workflow {name!r} is run by {', '.join(map(repr, used_by))}", hint="delete those first, or change them"
        )
    stored = await ports.definitions.newest(name)
    if stored is not None:
        await ports.definitions.remove(name, revision=stored.revision)
    if any(trigger.external for trigger in definition.triggers):
        await settle_triggers(ports, name)


def _runs(definition: WorkflowDef, name: str) -> bool:
    return any(isinstance(step, SubWorkflowStep) and step.config.workflow == name for step in definition.steps)
