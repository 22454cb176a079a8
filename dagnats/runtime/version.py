"""Definition versions nobody needs any more.

Which runs use a version is written nowhere in one place. But whoever starts a run by a version, or replaces it as the
newest, renews it before, once a day at most. So a version that was renewed last a good while before the oldest run in
the log began is no run's. Renewing and removing are writes of the same key: one of the two comes first, and a removal
that comes second does not happen.

What runs have registered for themselves is not kept for being the newest, once the first run of their tree is removed:
its versions go by the same rule, and the name with the last of them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.errors import ConflictError, DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.identifier import is_reserved, root_of
from dagnats.runtime.patience import persist

if TYPE_CHECKING:
    from dagnats.runtime.ports import Entry, Ports

log = logging.getLogger("dagnats.engine")

_DAY = 24 * 3600 * 1_000_000_000
GRACE_NS = 3 * _DAY
"""More than a version in use can be without renewal, clocks that differ included."""

_PAGE = 64


async def collect(ports: Ports, *, now_ns: int) -> int:
    """Remove the versions that no run can use and that are not the newest of their name; gives how many."""
    oldest_ns = await _oldest_ns(ports, now_ns)
    count = 0
    for name in await persist(ports.definitions.names):
        count += await _collect(ports, name, oldest_ns - GRACE_NS)
    return count


async def _collect(ports: Ports, name: str, before_ns: int) -> int:
    newest = await persist(lambda: ports.definitions.newest(name))
    try:
        keep = load_definition(newest.data).identity if newest is not None else ""
    except DefinitionError:  # made by a later DagNats: it knows better
        return 0
    is_left = newest is not None and await _is_left(ports, name)
    keep = "" if is_left else keep
    count, versions = 0, await persist(lambda: ports.definitions.versions(name))
    for identity, stored in versions.items():
        if identity == keep or stored.used_ns >= before_ns:
            continue
        with suppress(ConflictError):  # somebody has just renewed it
            await ports.definitions.remove_version(name, identity, revision=stored.revision)
            log.info("version %s of workflow %s was removed: no run uses it", identity[:12], name)
            count += 1
    if is_left and newest is not None and count == len(versions):
        with suppress(ConflictError):  # somebody has just registered it again
            await ports.definitions.remove(name, revision=newest.revision)
    return count


async def _is_left(ports: Ports, name: str) -> bool:
    """Whether a workflow belonged to a tree of runs whose first one is removed."""
    root = root_of(name)
    return root != "" and not await persist(lambda: ports.log.first(root))


async def _oldest_ns(ports: Ports, now_ns: int) -> int:
    """When the oldest run in the log began, or `now_ns`."""
    page = await _page(ports, 0)
    while page:
        for entry in page:
            if not is_reserved(entry.run_id):
                return min(entry.time_ns, now_ns)
        page = await _page(ports, page[-1].seq)
    return now_ns


async def _page(ports: Ports, after: int) -> list[Entry]:
    return await persist(lambda: ports.log.page(after=after, count=_PAGE))
