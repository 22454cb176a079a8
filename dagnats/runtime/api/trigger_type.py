"""`/v1/trigger-types`: the trigger types that workers provide."""

from __future__ import annotations

from dagnats.model.trigger_type import TriggerTypeView
from dagnats.runtime.api.operation import Asked, Nothing


async def all_types(asked: Asked[Nothing, None]) -> list[TriggerTypeView]:
    """List the trigger types that are known, and whether the worker that provides each is there."""
    return await asked.client.trigger_types()


async def show(asked: Asked[Nothing, None]) -> TriggerTypeView:
    """Show one trigger type: what its configuration looks like, and which triggers it runs."""
    return await asked.client.trigger_type(asked.path["trigger_type"])
