"""Trigger types that workers provide, and the triggers that are registered for them, as both are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from dagnats.errors import ConflictError, DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagnats.model.definition import WorkflowDef

T = TypeVar("T")

BY_DEFINITION = "definition"
"""The `source` of triggers that stand in a definition."""
_MOST_NAMED = 10


class TriggerTypeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a trigger type. Field names are the wire's; workers in other languages make the same entries.

    Attributes:
        name: The `kind` of triggers.
        owner_worker_id: Who provides it, or did last.
        version: Its own.
        config_schema: The JSON Schema of its triggers' configuration; `{}` takes any.
        registered_at: When the owner began to provide it; RFC 3339.
        leased: Whether its owner holds a lease, which ends soon after it is gone. Another one is gone with its entry in
            the directory.
        failing: What is wrong with each trigger that does not run: why, by its id.
    """

    name: str = ""
    owner_worker_id: str = ""
    version: str = ""
    config_schema: Any = msgspec.field(default_factory=dict[str, Any])
    registered_at: str = ""
    leased: bool = False
    failing: dict[str, str] = {}


class External(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger of a type that a worker provides: see `ExternalTrigger`."""

    kind: str
    config: dict[str, Any] = {}


class TriggerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A registered trigger. Field names are the wire's.

    Attributes:
        id: Unique among all triggers.
        workflow_id: The workflow that it starts.
        source: Where it was registered: `definition`.
        enabled: Whether it starts runs.
        external: Which type, and what it is told; None for triggers of other kinds.
    """

    id: str
    workflow_id: str = ""
    source: str = ""
    enabled: bool = True
    external: External | None = None


class TriggerTypeView(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger type, as people see it.

    Attributes:
        name, owner_worker_id, version, config_schema, registered_at, failing: See `TriggerTypeEntry`.
        owner_status: `stale` when its owner is not in the directory of workers.
        triggers: The ids of those that it has to run.
    """

    name: str
    owner_worker_id: str
    version: str
    owner_status: Literal["live", "stale"]
    config_schema: Any
    registered_at: str
    triggers: tuple[str, ...]
    failing: dict[str, str]


class TriggerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a trigger type is asked on `_TRIGGER.<kind>.activate` and `.deactivate`."""

    trigger_id: str
    workflow_id: str = ""
    config: Any = None


class TypeAnnouncement(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says on `_REGISTRY.trigger_types.ack` once its entry is stored."""

    name: str
    owner_worker_id: str = ""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer to either: why not; nothing when all is well."""

    error: str = ""


encode = msgspec.json.Encoder().encode


def decode(data: bytes, type: type[T]) -> T:
    """What is stored or was said. Raises DecodeError."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"this is no {type.__name__}: {error}", data=data) from None


def external_triggers(definition: WorkflowDef) -> dict[str, TriggerEntry]:
    """The triggers in a definition that workers provide, by id, as they are stored."""
    found: dict[str, TriggerEntry] = {}
    for trigger in definition.triggers:
        if trigger.external is not None:
            found[trigger.id] = TriggerEntry(
                id=trigger.id,
                workflow_id=definition.name,
                source=BY_DEFINITION,
                enabled=trigger.enabled,
                external=External(kind=trigger.external.kind, config=dict(trigger.external.config)),
            )
    return found


def triggers_of(kind: str, entries: Iterable[TriggerEntry]) -> list[TriggerEntry]:
    """Those that a trigger type has to run, by id."""
    there = [each for each in entries if each.enabled and each.external is not None and each.external.kind == kind]
    return sorted(there, key=lambda each: each.id)


def expect_version(known: TriggerTypeEntry, version: str, entries: Iterable[TriggerEntry]) -> None:
    """Raise ConflictError when another version comes in the place of one that triggers run with."""
    running = triggers_of(known.name, entries)
    if known.version in ("", version) or not running:
        return
    named = ", ".join(f"{each.id!r} of workflow {each.workflow_id!r}" for each in running[:_MOST_NAMED])
    more = f", and {len(running) - _MOST_NAMED} more" if len(running) > _MOST_NAMED else ""
    raise ConflictError(
        f"trigger type {known.name!r} is version {known.version!r} here, and cannot become {version!r} while triggers"
        f" of it are registered: {named}{more}",
        hint="register their workflows without them, or with enabled=False, change the type, then register them again",
    )
