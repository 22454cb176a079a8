"""The definitions that a command is given: targets with Python workflows, and JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dagnats.cli.failure import InvalidWorkflows
from dagnats.errors import ConflictError, DagnatsError, DefinitionError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dagnats.client import AnyClient
    from dagnats.errors import Problem
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


async def definitions_of(words: Sequence[str]) -> list[WorkflowDef]:
    """The definitions that words mean: JSON files, registered names, or `name@hash`. Asks a server only for names.

    Raises:
        DefinitionError: A file's is not valid.
        NotFoundError: There is none.
    """
    from dagnats.cli.connection import open_client

    found = {word: read_definition(Path(word)) for word in words if word.endswith(".json")}
    if len(found) < len(set(words)):
        async with open_client() as client:
            found |= {word: await _registered(client, word) for word in words if word not in found}
    return [found[word] for word in words]


async def _registered(client: AnyClient, word: str) -> WorkflowDef:
    name, at, identity = word.partition("@")
    return await (client.version(name, identity) if at else client.workflow(name))


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
        if first is not definition and first.to_json() != definition.to_json():
            raise ConflictError(f"two different definitions are named {definition.name!r}", hint="rename one of them")
    if invalid:
        raise InvalidWorkflows(invalid, consequence)
    if not found:
        where = ", ".join(targets) or "workflows/"
        raise DagnatsError(f"there is no workflow in {where}", hint="a workflow is a `Workflow` object of a module")
    return [found[name] for name in sorted(found)]


def warnings_of(definitions: Sequence[WorkflowDef], known: Collection[str] | None) -> list[tuple[str, Problem]]:
    """What is probably not meant, with the workflow's name; `known` as in `advice`."""
    from dagnats.model.check import advice

    return [(definition.name, problem) for definition in definitions for problem in advice(definition, known)]


def _makers(targets: Sequence[str]) -> list[Callable[[], WorkflowDef]]:
    """One call per workflow that gives its definition."""
    from dagnats.dsl.discover import discover

    files = [Path(target) for target in targets if target.endswith(".json")]
    named = [target for target in targets if not target.endswith(".json")]
    workflows = discover(named).workflows.values() if named or not files else ()
    return [*(workflow.build for workflow in workflows), *(lambda file=file: read_definition(file) for file in files)]
