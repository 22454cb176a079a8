"""The definitions that a command is given: targets with Python workflows, and JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dagnats.cli.failure import InvalidWorkflows
from dagnats.errors import ConflictError, DagnatsError, DefinitionError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagnats.model.definition import WorkflowDef

TARGETS_HELP = "Modules, module:attribute, files or folders; workflows/ when none is named."


def read_definition(file: Path) -> WorkflowDef:
    """The definition in a JSON file.

    Raises:
        DefinitionError: It is not valid.
        NotFoundError: There is no such file.
    """
    from dagnats.model.check import load_definition

    if file.suffix == ".py":
        raise DagnatsError(
            f"{file} is Python, and a definition file is JSON",
            hint="`dagnats register` and `dagnats build` take Python",
        )
    try:
        return load_definition(file.read_bytes())
    except FileNotFoundError:
        raise NotFoundError("file", str(file)) from None


def compiled(targets: Sequence[str], *, consequence: str) -> list[WorkflowDef]:
    """The definitions of all targets, each workflow once, by name.

    Args:
        targets: Python targets and JSON files.
        consequence: What does not happen when one is not valid, for the error.

    Raises:
        InvalidWorkflows: Some are not valid; every one of them is told.
        ConflictError: Two different definitions have one name.
        DagnatsError: There is none, or a target cannot be used.
    """
    found: dict[str, WorkflowDef] = {}
    invalid: list[DefinitionError] = []
    for make in _makers(targets):
        try:
            definition = make()
        except DefinitionError as error:
            invalid.append(error)
            continue
        first = found.setdefault(definition.name, definition)
        if first.identity != definition.identity:
            raise ConflictError(f"two different definitions are named {definition.name!r}", hint="rename one of them")
    if invalid:
        raise InvalidWorkflows(invalid, consequence)
    if not found:
        where = ", ".join(targets) or "workflows/"
        raise DagnatsError(f"there is no workflow in {where}", hint="a workflow is a `Workflow` object of a module")
    return [found[name] for name in sorted(found)]


def _makers(targets: Sequence[str]) -> list[Callable[[], WorkflowDef]]:
    """One call per workflow that gives its definition."""
    from dagnats.dsl.discover import discover

    files = [Path(target) for target in targets if target.endswith(".json")]
    named = [target for target in targets if not target.endswith(".json")]
    workflows = discover(named).workflows.values() if named or not files else ()
    return [*(workflow.build for workflow in workflows), *(lambda file=file: read_definition(file) for file in files)]
