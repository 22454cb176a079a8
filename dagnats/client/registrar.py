"""Workflows: registered, shown in all their versions, and forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from dagnats.client.deletion import delete_workflow
from dagnats.dsl.workflow import Workflow
from dagnats.errors import ConflictError, DefinitionError, NotFoundError, Problem
from dagnats.model.check import advice, load_definition
from dagnats.model.definition import WorkflowDef
from dagnats.model.identifier import is_scoped, is_workflow_name, near
from dagnats.model.json import compact
from dagnats.runtime.triggers.book import settle_triggers
from dagnats.runtime.triggers.check import trigger_problems

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dagnats.runtime.ports import Ports, Stored

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Registration:
    """What registering did.

    Attributes:
        name: The workflow.
        identity: The definition's content hash.
        action: `created`, `updated`, or `unchanged` when this content was the newest already, triggers included.
        definition: What is registered now.
        previous: What was the newest before, or None.
    """

    name: str
    identity: str
    action: Literal["created", "updated", "unchanged"]
    definition: WorkflowDef
    previous: WorkflowDef | None


@dataclass(frozen=True, slots=True)
class Version:
    """A definition that was registered at some time.

    Attributes:
        definition: Its content, without triggers.
        registered_ns: When it was registered first, in nanoseconds since 1970.
        newest: Whether runs that are started now follow it.
    """

    definition: WorkflowDef
    registered_ns: int
    newest: bool


class Registrar:
    """Calls that concern workflows: a part of `AsyncClient`."""

    _ports: Ports

    async def register(self, workflow: Workflow | WorkflowDef | bytes | str) -> Registration:
        """Make a definition the newest of its name, with its triggers. Runs under way keep theirs.

        Args:
            workflow: A workflow, its built definition, or its JSON.

        Raises:
            DefinitionError: It is not valid, runs a workflow that is not registered, or has a trigger that cannot be;
                nothing was stored.
        """
        (registration,) = await self.register_all([definition_of(workflow)])
        return registration

    async def register_all(self, definitions: Sequence[WorkflowDef], *, dry_run: bool = False) -> list[Registration]:
        """Register definitions that may run each other as children, one after the other.

        Args:
            definitions: Of different names.
            dry_run: Store nothing; only say what would be done.

        Raises:
            DefinitionError: The first one that runs a workflow that is neither registered nor here, or has a trigger
                that cannot be; nothing was stored.
        """
        for definition in definitions:
            expect_plain(definition)
        await self._expect_fit(definitions)
        return [await self._register(definition, dry_run) for definition in definitions]

    async def register_scoped(self, definition: WorkflowDef) -> Registration:
        """Register a definition under a name that the control plane has given it."""
        return await self._register(definition, dry_run=False)

    async def _expect_fit(self, definitions: Sequence[WorkflowDef]) -> None:
        triggers = await trigger_problems(self._ports, definitions)
        known = [definition.name for definition in definitions]
        if any(_unknown(definition, known) for definition in definitions):  # hardly ever: most run no others
            known += await self._ports.definitions.names()
        for definition in definitions:
            problems = [*_unknown(definition, known), *triggers.get(definition.name, ())]
            if problems:
                raise DefinitionError(problems, name=definition.name)

    async def _register(self, definition: WorkflowDef, dry_run: bool) -> Registration:
        registration = await self._store(definition, dry_run)
        if not dry_run and (_has_external(definition) or _has_external(registration.previous)):
            await settle_triggers(self._ports, definition.name)
        return registration

    async def _store(self, definition: WorkflowDef, dry_run: bool) -> Registration:
        data, identity = _document(definition), definition.identity
        definitions = self._ports.definitions
        while True:
            stored = await definitions.newest(definition.name)
            previous = _readable(stored)
            if previous is not None and _document(previous) == data:
                return Registration(definition.name, identity, "unchanged", definition, previous)
            action: Literal["created", "updated"] = "created" if stored is None else "updated"
            if dry_run:
                return Registration(definition.name, identity, action, definition, previous)
            if previous is not None:  # runs that are being started by it go on needing it
                await definitions.add_version(previous.name, previous.identity, previous.stored)
            # The version first: a run that is started by the name must find it.
            await definitions.add_version(definition.name, identity, definition.stored)
            try:
                await definitions.set_newest(
                    definition.name, data, revision=stored.revision if stored is not None else 0
                )
            except ConflictError:
                continue  # somebody else registered this name just now
            return Registration(definition.name, identity, action, definition, previous)

    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name. Raises NotFoundError, with near names."""
        stored = await self._ports.definitions.newest(name) if is_workflow_name(name) else None
        if stored is None:
            names = await self._ports.definitions.names()
            hint = "" if names else "none is registered yet: `dagnats register` compiles and stores workflows"
            raise NotFoundError("workflow", name, near=near(name, names), hint=hint)
        return _loaded(stored.data)

    async def versions(self, name: str) -> list[Version]:
        """Every version of a name, the last registered first; what this version of DagNats cannot read is left out.

        Raises:
            NotFoundError: No such workflow is registered.
        """
        newest = (await self.workflow(name)).identity
        found = await self._ports.definitions.versions(name)
        stored = sorted(found.values(), key=lambda one: (one.time_ns, one.revision), reverse=True)
        read = [(definition, one.time_ns) for one in stored if (definition := _readable(one)) is not None]
        return [Version(definition, time_ns, definition.identity == newest) for definition, time_ns in read]

    async def version(self, name: str, prefix: str) -> WorkflowDef:
        """The one version of a name whose hash is, or begins with, `prefix`.

        Raises:
            NotFoundError: None does.
            ConflictError: Several do; the message lists them.
        """
        found = await self._ports.definitions.versions(name)
        fitting = sorted(identity for identity in found if identity.startswith(prefix))
        if not fitting:
            hint = f"`dagnats workflow versions {name}` lists those there are" if found else ""
            raise NotFoundError("version", f"{name}@{prefix}", hint=hint)
        if len(fitting) > 1:
            listed = ", ".join(fitting[:_MOST_NAMED])
            raise ConflictError(f"{prefix!r} is the beginning of {len(fitting)} versions of {name!r}: {listed}")
        return load_definition(found[fitting[0]].data)

    async def workflows(self) -> list[WorkflowDef]:
        """The newest definition of every name, by name; what this version cannot read is left out."""
        names = await self._ports.definitions.names()
        stored = await asyncio.gather(*(self._ports.definitions.newest(name) for name in names))
        return [definition for definition in map(_readable, stored) if definition is not None]

    async def delete_workflow(self, name: str) -> WorkflowDef:
        """Forget the name of a workflow, and give what it was. Its versions stay for as long as runs of them are kept.

        Raises:
            NotFoundError: No such workflow is registered.
            ConflictError: Another workflow runs it, or somebody has registered it anew just now.
        """
        definition, others = await self.workflow(name), await self.workflows()
        await delete_workflow(self._ports, definition, others)
        return definition


_loaded = lru_cache(maxsize=128)(load_definition)  # each start asks which one is the newest, and it seldom changes


def definition_of(workflow: Workflow | WorkflowDef | bytes | str) -> WorkflowDef:
    """What is to be registered. Raises DefinitionError."""
    if isinstance(workflow, Workflow):
        return workflow.build()
    return workflow if isinstance(workflow, WorkflowDef) else load_definition(workflow)


def expect_plain(definition: WorkflowDef) -> None:
    """Raise DefinitionError for a name that only the control plane gives."""
    if is_scoped(definition.name):
        message = f"{definition.name!r} is a name that runs are given for what they register"
        raise DefinitionError([Problem("name", "identifier", message)], name=definition.name)


def _unknown(definition: WorkflowDef, known: Collection[str]) -> list[Problem]:
    """The children it runs that nobody knows: a warning in a file, an error here."""
    return [problem for problem in advice(definition, known) if problem.rule == "unknown-workflow"]


def _has_external(definition: WorkflowDef | None) -> bool:
    return definition is not None and any(trigger.external for trigger in definition.triggers)


def _document(definition: WorkflowDef) -> bytes:
    """What the name points at: the content, and the triggers, which are no part of it."""
    return compact(definition.model_dump(mode="json", exclude_defaults=True))


def _readable(stored: Stored | None) -> WorkflowDef | None:
    """A stored definition; None for one that another program or a later version has written."""
    try:
        return _loaded(stored.data) if stored is not None else None
    except DefinitionError:
        return None
