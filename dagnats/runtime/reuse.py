"""Ids that are used again: a server remembers for a while what was said under them, whatever has become of that.

A run that is started under the id of one that was removed just now says the same, under the same ids. And where the log
has lost its tail, what a lost event had led to may have been said already, before the log had the event again: there it
changed nothing. What is taken for a repetition then has to be said under another id.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dagnats.runtime.fence import is_wanted
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.runtime.fence import HasAttempt
    from dagnats.runtime.ports import Log, Ports, Receipt


async def is_forgotten(log: Log, receipt: Receipt) -> bool:
    """Whether an event was taken for a repetition of one that was removed since."""
    return receipt.duplicate and await log.at(receipt.seq) is None


def another(id: str) -> str:
    """An id in the place of one that is remembered for something else."""
    return f"{id}.{secrets.token_hex(4)}"


async def said(ports: Ports, of: HasAttempt, data: bytes, id: str) -> Receipt:
    """Add what ends an attempt to its run's history, as `Log.append` does. A run that is gone gets none by this."""
    receipt = await ports.log.append(of.run_id, data, id=id)
    if receipt.duplicate and await persist(lambda: _is_missing(ports, of, receipt)):
        return await ports.log.append(of.run_id, data, id=another(id))
    return receipt


async def _is_missing(ports: Ports, of: HasAttempt, receipt: Receipt) -> bool:
    """Whether what was taken for a repetition is not there, or where it did not count."""
    if await is_forgotten(ports.log, receipt):
        return await ports.log.first(of.run_id) > 0
    # An answer without a number would do for a later attempt as well.
    return of.attempt > 0 and await is_wanted(ports, of)
