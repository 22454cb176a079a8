"""`GET /v1/audit`: who did what."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode, urlsplit

from pydantic import Field

from dagnats.client.audit import audit, audit_query
from dagnats.client.installation import deed_document
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Reply

_MOST = 1_000
_LATEST_NS = 2**63 - 1


class Deeds(Order):
    """Which deeds are meant: those that everything here fits. `cursor` is where the page before ended."""

    by: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    after: str | None = None
    before: str | None = None
    limit: Annotated[int, Field(ge=1)] = 50
    cursor: Annotated[int, Field(ge=0, le=_LATEST_NS)] = 0


async def deeds(asked: Asked[Deeds, None]) -> Reply:
    """List what was done, and by whom, the newest first; the header `Link` names the next page, if there is one."""
    said, ports = asked.query, asked.client.connection.ports
    limit = min(said.limit, _MOST)
    query = audit_query(**said.model_dump(exclude={"limit", "cursor"}), now_ns=ports.clock.now_ns())
    if said.cursor:
        query = query._replace(before_ns=min(query.before_ns or said.cursor, said.cursor))
    found = await audit(ports, query, limit=limit)
    headers = {"Link": _next(asked, found[-1].time_ns)} if len(found) == limit else {}
    return Reply([deed_document(deed) for deed in found], headers)


def _next(asked: Asked[Deeds, None], time_ns: int) -> str:
    query = asked.query.model_dump(exclude_unset=True, exclude={"cursor"}) | {"cursor": time_ns}
    return f'<{urlsplit(asked.url).path}?{urlencode(query)}>; rel="next"'
