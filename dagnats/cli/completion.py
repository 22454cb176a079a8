"""What the shell offers behind Tab, from the live server. A server that does not answer offers nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.cli.connection import open_client, run
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.client import AnyClient

_PATIENCE = "DAGNATS_COMPLETION_SECONDS"
_PATIENCE_S = 1.0  # who pressed Tab waits; a far server may need more, and the variable gives it
_MOST = 50


def workflow_names(incomplete: str) -> list[str]:
    """Registered workflows."""
    return [name for name in _ask(_names) if name.startswith(incomplete)]


def run_ids(incomplete: str) -> list[str]:
    """The newest runs."""
    return [run_id for run_id in _ask(_newest) if run_id.startswith(incomplete)][:_MOST]


def queue_names(incomplete: str) -> list[str]:
    """The task types of registered workflows."""
    return [name for name in _ask(_queues) if name.startswith(incomplete)]


async def _queues(client: AnyClient) -> list[str]:
    return sorted({step.task for definition in await client.workflows() for step in definition.steps if step.task})


async def _names(client: AnyClient) -> list[str]:
    return [definition.name for definition in await client.workflows()]


async def _newest(client: AnyClient) -> list[str]:
    return [run.run_id for run in await client.runs(limit=_MOST)]


def _patience_s() -> float:
    with suppress(ValueError):  # behind Tab there is no place for an error
        return float(os.environ.get(_PATIENCE, ""))
    return _PATIENCE_S


def _ask(question: Callable[[AnyClient], Awaitable[list[str]]]) -> list[str]:
    import asyncio

    async def ask() -> list[str]:
        async with asyncio.timeout(_patience_s()), open_client() as client:
            return await question(client)

    try:
        return run(ask())
    except (DagnatsError, TimeoutError):
        return []
