"""`/v1/tokens`: who is let in over HTTP."""

from __future__ import annotations

import msgspec
from pydantic import Field

from dagnats.client.installation import MadeDocument, RevokedDocument, TokenDocument, token_document
from dagnats.client.token import all_tokens, create_token, revoke_token
from dagnats.model.access import Scope
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing, Reply


class New(Order):
    """A token to be made. `expires` is RFC 3339, a date, or `+30d`; without one it never does."""

    scope: Scope
    name: str = ""
    workflows: list[str] = Field(default=[])
    expires: str | None = None
    by: str = ""


async def listing(asked: Asked[Nothing, None]) -> list[TokenDocument]:
    """List the tokens, the newest first; of none what it is."""
    ports = asked.client.connection.ports
    now_ns = ports.clock.now_ns()
    return [token_document(token, now_ns) for token in await all_tokens(ports)]


async def create(asked: Asked[Nothing, New]) -> Reply:
    """Make a token, which this answer alone has."""
    said, ports = asked.body, asked.client.connection.ports
    made = await create_token(
        ports, said.scope, name=said.name, workflows=said.workflows, expires=said.expires, by=said.by
    )
    told = msgspec.structs.asdict(token_document(made.token, ports.clock.now_ns()))
    return Reply(MadeDocument(**told, token=made.text), {"Cache-Control": "no-store"})


async def revoke(asked: Asked[Nothing, None]) -> RevokedDocument:
    """Let a token, by its id or its name, let nobody in any more."""
    ports = asked.client.connection.ports
    token = await revoke_token(ports, asked.path["token"])
    told = msgspec.structs.asdict(token_document(token, ports.clock.now_ns()))
    return RevokedDocument(**told, revoked=True)
