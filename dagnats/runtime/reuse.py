"""Ids that are used again: a server remembers for a while what a run that was removed had said under its own.

A run that is started under the id of one that was removed just now says the same, under the same ids. What is taken
for a repetition then is nowhere to be found, and has to be said under another id.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.runtime.ports import Log, Receipt


async def is_forgotten(log: Log, receipt: Receipt) -> bool:
    """Whether an event was taken for a repetition of one that was removed since."""
    return receipt.duplicate and await log.at(receipt.seq) is None


def another(id: str) -> str:
    """An id in the place of one that is remembered for something else."""
    return f"{id}.{secrets.token_hex(4)}"


async def said(log: Log, run_id: str, data: bytes, id: str) -> Receipt:
    """Add an event to a run's history, as `Log.append` does. A run that is gone gets no history by this."""
    receipt = await log.append(run_id, data, id=id)
    if (
        receipt.duplicate
        and await persist(lambda: is_forgotten(log, receipt))
        and await persist(lambda: log.first(run_id))
    ):
        return await log.append(run_id, data, id=another(id))
    return receipt
