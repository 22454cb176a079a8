"""`validate`: the check of `dagnats build`, for tests, with warnings taken seriously."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagnats.dsl.workflow import Workflow
from dagnats.errors import DefinitionError
from dagnats.model.check import advice, load_definition
from dagnats.model.definition import WorkflowDef

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def validate(
    workflow: Workflow[Any, Any] | WorkflowDef | Path | str | bytes,
    *,
    known: Iterable[Workflow[Any, Any] | str] | None = None,
    allow: Collection[str] = (),
) -> WorkflowDef:
    """The definition of a workflow that has no mistakes, and nothing a warning is given for. Needs no server.

    Args:
        workflow: A workflow, its definition, a file with one, or the JSON itself.
        known: The other workflows there are, or their names: what steps run must be among them. Not checked
            unless said.
        allow: Rules of warnings that are meant, such as `"no-effect"`.

    Raises:
        DefinitionError: Something is wrong; `problems` lists everything.
        TypeError: `workflow` is something else.
    """
    definition = _definition(workflow)
    names = None if known is None else {other if isinstance(other, str) else other.name for other in known}
    problems = [problem for problem in advice(definition, names) if problem.rule not in allow]
    if problems:
        raise DefinitionError(problems, name=definition.name)
    return definition


def _definition(workflow: object) -> WorkflowDef:
    if isinstance(workflow, Workflow):
        return workflow.build()
    if isinstance(workflow, WorkflowDef):
        return workflow
    if isinstance(workflow, Path):
        return load_definition(workflow.read_bytes())
    if isinstance(workflow, str | bytes):
        return load_definition(workflow)
    raise TypeError(f"a workflow, a definition, a path or JSON is expected, not {workflow!r}")
