"""`init` and `init workflow`: Python to begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from dagnats.cli.failure import InvalidWorkflows
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import emit, paint, say
from dagnats.errors import ConflictError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.definition import WorkflowDef

_PROJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_LONGEST_NAME = 128
_MOST_STEPS = 20
_PROJECT, _WORKFLOW = "project", "workflow"


class _Init(TyperGroup):
    """`init NAME` is `init project NAME`: people type the former, and a group can only have the latter."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        words = args if args[0] == _WORKFLOW else [_PROJECT, *args]  # a project may be called `project`
        return super().resolve_command(ctx, words)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", "NAME | workflow NAME"]


_HELP = """Begin a project: a folder NAME with a workflow, its handlers, a test and a pyproject.toml.

`dagnats init workflow NAME` begins a workflow in the project that you are in.
"""

app = typer.Typer(cls=_Init, help=_HELP)


@app.command(_PROJECT, hidden=True)
def project(
    name: str = typer.Argument(metavar="NAME", help="The project: letters, digits and hyphens.", show_default=False),
) -> None:
    """Begin a project: a folder with a workflow, its handlers, a test and a pyproject.toml."""
    from dagnats.cli.scaffold import project_files

    _expect_name(name, shortest=1)
    folder = Path(name)
    if folder.exists():
        raise ConflictError(f"{name}/ exists already", hint="choose another name")
    files = project_files(name)
    for file, text in files.items():
        _write(folder / file, text)
    if current().json:
        emit({"name": name, "directory": name, "files": list(files)})
        return
    say(f"{paint('Created', 'green')} {name}/")
    for file in files:
        say(f"  {name}/{file}")
    say(f"{paint('hint:', 'cyan')} `cd {name}`, then `dagnats register` and `dagnats worker`", err=True)


@app.command(_WORKFLOW)
def workflow(
    name: str = typer.Argument(metavar="NAME", help="The workflow: letters, digits and hyphens.", show_default=False),
    steps: str = typer.Option(
        "process", "--steps", metavar="a,b,c", help=f"Its steps, in line; at most {_MOST_STEPS}."
    ),
) -> None:
    """Begin a workflow in workflows/, and print handlers for its steps."""
    from dagnats.cli.scaffold import chain_module, handler_snippet, module_name

    _expect_name(name, shortest=2)
    definition = _chain(name, [step.strip() for step in steps.split(",")])
    ids = [step.id for step in definition.steps]
    file = Path("workflows", f"{module_name(name)}.py")
    if file.exists():
        raise ConflictError(f"{file} exists already", hint="choose another name")
    _write(file, chain_module(name, ids))
    if current().json:
        emit({"name": name, "file": str(file), "steps": ids, "tasks": [step.task for step in definition.steps]})
        return
    say(f"{paint('Created', 'green')} {file}")
    say("\nRegister handlers in your worker:\n")
    say(handler_snippet(name, ids).rstrip())


def _expect_name(name: str, *, shortest: int) -> None:
    if not _PROJECT_NAME.fullmatch(name) or not shortest <= len(name) <= _LONGEST_NAME:
        raise UsageError(
            f"{name!r} cannot be a name",
            hint=f"use {shortest} to {_LONGEST_NAME} letters, digits and hyphens, a letter or a digit first",
        )


def _chain(name: str, steps: Sequence[str]) -> WorkflowDef:
    """The definition that the module will say.

    Raises:
        UsageError: There are too many steps.
        InvalidWorkflows: There is something wrong with their names.
    """
    from dagnats.cli.scaffold import task_type
    from dagnats.model.check import load_definition

    if len(steps) > _MOST_STEPS:
        raise UsageError(f"these are {len(steps)} steps; the limit is {_MOST_STEPS}", hint="add the others by hand")
    needs = [[], *([step] for step in steps)]
    parts = [
        {"id": step, "task": task_type(name, step), "depends_on": needed}
        for step, needed in zip(steps, needs, strict=False)
    ]
    try:
        return load_definition({"name": name, "steps": parts})
    except DefinitionError as error:
        raise InvalidWorkflows([error], "nothing was written") from error


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
