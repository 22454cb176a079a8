"""`/v1/workflows`: definitions, and what holds their runs."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from dagnats.client.document import Document
from dagnats.client.document.workflow import (
    VersionDocument,
    WorkflowLimitsDocument,
    version_document,
    workflow_limits_document,
)
from dagnats.errors import ConflictError, DefinitionError, NotFoundError
from dagnats.model.check import advice, load_definition
from dagnats.model.definition import WorkflowDef
from dagnats.model.identifier import NAME
from dagnats.model.json import compact
from dagnats.model.schema import json_schema
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing
from dagnats.runtime.api.order import Note
from dagnats.runtime.api.problem import ProblemDocument

_NAME = re.compile(NAME)
_MOST_DEFINITIONS = 1_000
_HIDDEN = "*" * 16  # as long as a trigger's secret has to be


class Which(Order):
    """Which version: its hash, or how that begins; without one the newest."""

    version: str = ""


_Most = Annotated[int, Field(ge=0, le=2**53)]


class RunLimit(Note):
    """What bounds a workflow's runs: at least one of them; 0 for what the definition, or the default, says."""

    max_runs: _Most | None = None
    max_events: _Most | None = None
    max_depth: _Most | None = None


class AdviceDocument(Document, frozen=True, kw_only=True):
    """What is probably not meant."""

    kind: str
    message: str
    path: str


class RegisteredDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """What registering did: `created`, `updated` or `unchanged`."""

    status: str
    name: str
    action: str
    hash: str
    warnings: tuple[AdviceDocument, ...] = ()


class Registrations(Order):
    """Definitions that are registered together, and may run each other as children; or only what that would do."""

    definitions: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=_MOST_DEFINITIONS)]
    dry_run: bool = False


class RegistrationDocument(Document, frozen=True, kw_only=True):
    """What registering a definition did, and the one before: its secrets only where they are the new one's."""

    name: str
    action: str
    hash: str
    previous: Any


class Registering(Order):
    """Whether nothing is stored: then only what would be done is said."""

    dry_run: bool = False


class ValidatedDocument(Document, frozen=True, kw_only=True):
    """Whether a definition could be registered, and what is wrong, or probably not meant, with it."""

    valid: bool
    name: str
    problems: tuple[ProblemDocument, ...] = ()
    warnings: tuple[AdviceDocument, ...] = ()


class HeldDocument(Document, frozen=True, kw_only=True):
    """Whether runs of a workflow are held back."""

    workflow: str
    paused: bool


class DeletedDocument(Document, frozen=True, kw_only=True):
    """A workflow that is registered no more."""

    name: str
    deleted: bool


async def all_workflows(asked: Asked[Nothing, None]) -> list[Any]:
    """List the newest definition of every workflow."""
    found = await asked.client.workflows()
    return [definition.content() for definition in found if asked.grant.sees(definition.name)]


async def register(asked: Asked[Registering, bytes]) -> RegisteredDocument:
    """Make a definition the newest of its name, with its triggers; runs under way keep theirs."""
    dry_run = asked.query.dry_run
    (done,) = await asked.client.register_all([load_definition(asked.body)], dry_run=dry_run)
    return RegisteredDocument(
        status="unchanged" if dry_run else "registered",
        name=done.name,
        action=done.action,
        hash=done.identity,
        warnings=_warnings(done.definition),
    )


async def register_all(asked: Asked[Nothing, Registrations]) -> list[RegistrationDocument]:
    """Register definitions together, or only say what that would do."""
    definitions = [load_definition(compact(each)) for each in asked.body.definitions]
    done = await asked.client.register_all(definitions, dry_run=asked.body.dry_run)
    return [
        RegistrationDocument(
            name=each.name, action=each.action, hash=each.identity, previous=_previous(each.previous, each.definition)
        )
        for each in done
    ]


def _previous(previous: WorkflowDef | None, new: WorkflowDef) -> Any:
    """What was the newest before, for somebody who may not know its secrets."""
    if previous is None:
        return None
    known = _secrets(new)
    document = previous.model_dump(mode="json", exclude_defaults=True)
    for trigger in document.get("triggers", ()):
        for part in (trigger.get("webhook", {}), trigger.get("http", {})):
            if part.get("secret") and part["secret"] not in known:
                part["secret"] = _HIDDEN
    return document


def _secrets(definition: WorkflowDef) -> set[str | None]:
    parts = [part for trigger in definition.triggers for part in (trigger.webhook, trigger.http) if part is not None]
    return {part.secret for part in parts}


async def validate(asked: Asked[Nothing, bytes]) -> ValidatedDocument:
    """Say whether a definition is valid, and everything that is wrong with it. Stores nothing."""
    try:
        definition = load_definition(asked.body)
    except DefinitionError as error:
        problems = tuple(
            ProblemDocument(rule=each.rule, message=each.message, path=each.path, hint=each.hint)
            for each in error.problems
        )
        return ValidatedDocument(valid=False, name=error.name, problems=problems)
    return ValidatedDocument(valid=True, name=definition.name, warnings=_warnings(definition))


async def schema(asked: Asked[Nothing, None]) -> Any:
    """Give the JSON Schema of definitions."""
    return json_schema()


def _warnings(definition: WorkflowDef) -> tuple[AdviceDocument, ...]:
    found = advice(definition)
    return tuple(AdviceDocument(kind=each.rule, message=each.message, path=each.path) for each in found)


async def show(asked: Asked[Which, None]) -> Any:
    """Show a workflow's definition."""
    name, version = asked.path["workflow"], asked.query.version
    found = await (asked.client.version(known(name), version) if version else asked.client.workflow(name))
    return found.content()


async def versions(asked: Asked[Nothing, None]) -> list[VersionDocument]:
    """List every version of a workflow, the last registered first."""
    return [version_document(version) for version in await asked.client.versions(asked.path["workflow"])]


async def delete(asked: Asked[Nothing, None]) -> DeletedDocument:
    """Forget a workflow: no run of it can be started. Those that there are go on."""
    done = await asked.client.delete_workflow(asked.path["workflow"])
    return DeletedDocument(name=done.name, deleted=True)


async def limits(asked: Asked[Nothing, None]) -> WorkflowLimitsDocument:
    """Show what operators have said of a workflow."""
    definition = await asked.client.workflow(asked.path["workflow"])
    return workflow_limits_document(await asked.client.workflow_limits(definition.name))


async def limit(asked: Asked[Nothing, RunLimit]) -> WorkflowLimitsDocument:
    """Limit how many runs of a workflow go on, how long they become, and how deep they start others."""
    said = asked.body
    done = await asked.client.limit_workflow(
        asked.path["workflow"],
        said.max_runs,
        max_events=said.max_events,
        max_depth=said.max_depth,
        by=said.by,
        reason=said.reason,
    )
    return workflow_limits_document(done)


async def pause(asked: Asked[Nothing, Note]) -> HeldDocument:
    """Let no run of a workflow begin until it is resumed."""
    name = asked.path["workflow"]
    await asked.client.pause_workflow(name, asked.body.reason, by=asked.body.by)
    return HeldDocument(workflow=name, paused=True)


async def resume(asked: Asked[Nothing, Note]) -> HeldDocument:
    """Let runs of a paused workflow begin."""
    name = known(asked.path["workflow"])
    try:
        await asked.client.resume_workflow(name, by=asked.body.by)
    except ConflictError:
        await asked.client.workflow(name)  # one that nobody knows is not found, unless it is still paused
        raise
    return HeldDocument(workflow=name, paused=False)


def known(name: str) -> str:
    """A name that a workflow can have, though it need not be registered any more. Raises NotFoundError."""
    if _NAME.fullmatch(name) is None:
        raise NotFoundError("workflow", name)
    return name
