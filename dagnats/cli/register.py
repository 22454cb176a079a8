"""`register`: compile workflows and make them the newest of their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer

from dagnats.cli.connection import open_client, run
from dagnats.cli.definition import TARGETS_HELP, compiled, warnings_of
from dagnats.cli.failure import InvalidWorkflows, problem_document, warn
from dagnats.cli.option import current
from dagnats.cli.output import counted, emit, emit_line, paint, say
from dagnats.errors import DagnatsError, DefinitionError, Problem
from dagnats.model.identifier import near

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Iterable, Iterator, Sequence

    from dagnats.client import AsyncClient, Registration
    from dagnats.model.definition import WorkflowDef

T = TypeVar("T")

NOTHING_REGISTERED = "nothing was registered"
DRY_RUN = typer.Option(False, "--dry-run", help="Register nothing; show what would change.")


def register(
    targets: list[str] | None = typer.Argument(
        None, metavar="TARGETS", help=f"{TARGETS_HELP} JSON files too.", show_default=False
    ),
    dry_run: bool = DRY_RUN,
) -> None:
    """Compile workflows and register them, all of them or none; say what changed."""
    definitions = compiled(targets or [], consequence=NOTHING_REGISTERED)
    registrations = _stored(_store(definitions, dry_run))
    _tell(registrations, warnings_of(definitions, None), dry_run)
    if current().json:
        emit([registration_document(registration, dry_run=dry_run) for registration in registrations])


def register_one(definition: WorkflowDef, *, dry_run: bool) -> None:
    """Register a valid definition, and say what that did; also which of its task types no worker serves.

    Raises:
        InvalidWorkflows: It runs a workflow that is not registered.
    """
    registration, served = _stored(_store_one(definition, dry_run))
    unserved = [(definition.name, problem) for problem in _unserved(definition, served)]
    _tell([registration], [*warnings_of([definition], None), *unserved], dry_run)
    if current().json:
        emit(registration_document(registration, dry_run=dry_run, besides=[problem for _, problem in unserved]))


def _stored(storing: Coroutine[Any, Any, T]) -> T:
    try:
        return run(storing)
    except DefinitionError as error:
        raise InvalidWorkflows([error], NOTHING_REGISTERED) from error


def _tell(registrations: Sequence[Registration], warnings: Iterable[tuple[str, Problem]], dry_run: bool) -> None:
    warn(warnings)
    for line in () if current().json else (line for it in registrations for line in _lines(it, dry_run)):
        say(line)


def _unserved(definition: WorkflowDef, served: Collection[str] | None) -> Iterator[Problem]:
    """A warning for each task type that none of the workers serves; none when nobody knows which they serve."""
    if served is None:
        return
    tasks: dict[str, int] = {}
    for at, step in enumerate(definition.steps):
        tasks.setdefault(step.task, at)
    for task, at in tasks.items():
        if task and task not in served:
            close = near(task, sorted(served))
            hint = f"workers serve {close[0]!r}" if close else ""
            yield Problem(f"steps[{at}].task", "no-worker", f"no worker serves {task!r} now", hint)


async def told(client: AsyncClient, definitions: Sequence[WorkflowDef]) -> None:
    """Register definitions, and say of those that are not the same as before what that did. Raises InvalidWorkflows."""
    try:
        registrations = await client.register_all(definitions)
    except DefinitionError as error:
        raise InvalidWorkflows([error], NOTHING_REGISTERED) from error
    for registration in registrations:
        if registration.action == "unchanged":
            continue
        if current().json:
            emit_line(registration_document(registration))
        for line in () if current().json else _lines(registration, dry_run=False):
            say(line)


def registration_document(
    registration: Registration, *, dry_run: bool = False, besides: Sequence[Problem] = ()
) -> dict[str, Any]:
    """What registering did, as JSON; `besides` are further warnings."""
    from dagnats.cli.difference import change_document, changes

    document: dict[str, Any] = {
        "name": registration.name,
        "action": registration.action,
        "steps": len(registration.definition.steps),
    }
    if registration.action == "updated" and registration.previous is not None:
        found = changes(registration.previous, registration.definition)
        document["changes"] = [change_document(change) for change in found]
    advice = [problem for _, problem in warnings_of([registration.definition], None)]
    warnings = [problem_document(problem) for problem in (*advice, *besides)]
    return {**document, **({"warnings": warnings} if warnings else {}), **({"dry_run": True} if dry_run else {})}


def _lines(registration: Registration, dry_run: bool) -> list[str]:
    """What registering did, in the words of the CLI reference, and the differences."""
    from dagnats.cli.difference import change_line, changes

    steps = counted(len(registration.definition.steps), "step")
    colour = "dim" if registration.action == "unchanged" else "green"
    would = "would be " if dry_run and registration.action != "unchanged" else ""
    line = f"{paint(f'Workflow {would}{registration.action}:', colour)} {registration.name} ({steps})"
    previous = registration.previous if registration.action == "updated" else None
    found = changes(previous, registration.definition) if previous is not None else []
    return [line, *(f"  {change_line(change, paint)}" for change in found)]


async def _store(definitions: Sequence[WorkflowDef], dry_run: bool) -> list[Registration]:
    async with open_client() as client:
        return await client.register_all(definitions, dry_run=dry_run)


async def _store_one(definition: WorkflowDef, dry_run: bool) -> tuple[Registration, set[str] | None]:
    """What registering did, and the task types that workers serve; None for who may not know that."""
    async with open_client() as client:
        (registration,) = await client.register_all([definition], dry_run=dry_run)
        try:
            workers = await client.workers()
        except DagnatsError:  # a token for some workflows only; what was asked for is done
            return registration, None
        return registration, {task for worker in workers for task in worker.task_types}
