"""Workflows: registered, shown in all their versions, and forgotten. A part of `HttpClient`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from dagnats.client.document.workflow import VersionDocument
from dagnats.client.http.read import read
from dagnats.client.http.wire import path_of
from dagnats.client.registrar import Registration, Version, definition_of, expect_plain
from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.instant import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.client.http.wire import Wire
    from dagnats.dsl.workflow import Workflow
    from dagnats.model.definition import WorkflowDef


class _Registered(msgspec.Struct, frozen=True):
    name: str
    action: str
    hash: str
    previous: msgspec.Raw


class HttpRegistrar:
    """Calls that concern workflows. What they do: see `Registrar`."""

    _wire: Wire

    async def register(self, workflow: Workflow | WorkflowDef | bytes | str) -> Registration:
        """Make a definition the newest of its name, with its triggers. See `Registrar.register`."""
        (registration,) = await self.register_all([definition_of(workflow)])
        return registration

    async def register_all(self, definitions: Sequence[WorkflowDef], *, dry_run: bool = False) -> list[Registration]:
        """Register definitions that may run each other as children. See `Registrar.register_all`."""
        for definition in definitions:
            expect_plain(definition)
        if not definitions:
            return []
        documents = [each.model_dump(mode="json", exclude_defaults=True) for each in definitions]
        told = await self._wire.post(
            path_of("registrations"), {"definitions": documents, "dry_run": dry_run}, again=True, long=True
        )
        pairs = zip(read(told, list[_Registered]), definitions, strict=True)
        return [_registration(each, definition) for each, definition in pairs]

    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name. Raises NotFoundError, with near names."""
        return load_definition((await self._wire.get(path_of("workflows", name))).content)

    async def versions(self, name: str) -> list[Version]:
        """Every version of a name, the last registered first. Raises NotFoundError."""
        found = read(await self._wire.get(path_of("workflows", name, "versions")), list[VersionDocument])
        definitions = await asyncio.gather(*(self.version(name, each.hash) for each in found))
        pairs = zip(found, definitions, strict=True)
        return [Version(definition, parse_rfc3339(each.registered_at), each.newest) for each, definition in pairs]

    async def version(self, name: str, prefix: str) -> WorkflowDef:
        """The one version of a name whose hash is, or begins with, `prefix`. See `Registrar.version`."""
        return load_definition((await self._wire.get(path_of("workflows", name), {"version": prefix})).content)

    async def workflows(self) -> list[WorkflowDef]:
        """The newest definition of every name, by name; what this version cannot read is left out."""
        found = read(await self._wire.get(path_of("workflows")), list[msgspec.Raw])
        return [definition for definition in map(_readable, found) if definition is not None]

    async def delete_workflow(self, name: str) -> WorkflowDef:
        """Forget the name of a workflow, and give what it was. See `Registrar.delete_workflow`."""
        definition = await self.workflow(name)
        await self._wire.ask("DELETE", path_of("workflows", name))
        return definition


def _registration(told: _Registered, definition: WorkflowDef) -> Registration:
    previous = load_definition(bytes(told.previous)) if bytes(told.previous) != b"null" else None
    match told.action:
        case "created" | "updated" | "unchanged":
            return Registration(told.name, told.hash, told.action, definition, previous)
        case _:
            raise AssertionError(f"a server did something unknown: {told.action!r}")


def _readable(data: msgspec.Raw) -> WorkflowDef | None:
    try:
        return load_definition(bytes(data))
    except DefinitionError:
        return None
