"""Trigger types as people see them: who provides each, whether it is there, and what it runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dagnats.errors import NotFoundError
from dagnats.model.identifier import near
from dagnats.model.trigger_type import TriggerTypeView, triggers_of
from dagnats.runtime.triggers.book import entries_of, types_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.trigger_type import TriggerEntry, TriggerTypeEntry
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.ports import Ports


async def trigger_types(ports: Ports, workers: Sequence[WorkerEntry]) -> list[TriggerTypeView]:
    """All that are known, by name; `workers` are those that are there."""
    types, entries = await asyncio.gather(types_of(ports), entries_of(ports))
    shown = {worker.worker_id for worker in workers}
    return [_view(name, types[name], entries, shown) for name in sorted(types)]


def named(views: Sequence[TriggerTypeView], name: str) -> TriggerTypeView:
    """The one by that name. Raises NotFoundError, with near names."""
    found = next((view for view in views if view.name == name), None)
    if found is None:
        hint = "" if views else "none is known yet: a worker with @trigger_type provides one"
        raise NotFoundError("trigger type", name, near=near(name, [view.name for view in views]), hint=hint)
    return found


def _view(name: str, known: TriggerTypeEntry, entries: Sequence[TriggerEntry], shown: set[str]) -> TriggerTypeView:
    return TriggerTypeView(
        name=name,
        owner_worker_id=known.owner_worker_id,
        version=known.version,
        owner_status="live" if known.owner_worker_id in shown else "stale",
        config_schema=known.config_schema,
        registered_at=known.registered_at,
        triggers=tuple(each.id for each in triggers_of(name, entries)),
        failing=known.failing,
    )
