"""Stands before the application: finds out who asks, lets nobody else in, and has written down what was done."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request

from dagnats.errors import DagnatsError, UnavailableError
from dagnats.model.audit import Requested
from dagnats.runtime.api.identity import Caller, holder, identified
from dagnats.runtime.api.journal import TURNED_AWAY
from dagnats.runtime.api.problem import Fault, kind_of, on_error
from dagnats.runtime.api.tries import Tries
from dagnats.runtime.token import hidden

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dagnats.runtime.api.access import Access, Grant
    from dagnats.runtime.api.journal import Journal
    from dagnats.runtime.ports import Ports

UNGUARDED = frozenset({"/health", "/ready"})
"""What anybody may ask: those who watch over processes have no tokens."""

HELD = re.compile(r"/v1/waitpoints/([^/]+)/(complete|reject)")
"""What anybody may post to who has the token that stands there."""

GRANT = "dagnats.grant"
"""Where a request's scope has what its caller may do."""

DEED = "dagnats.deed"
"""Where it has what is asked for: see `Deed`."""

_OFTEN = 429
_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_READS = ("GET", "HEAD", "OPTIONS")
_LOOK_S = 1.0  # so long a stream goes on after its token was revoked
_LONGEST = 256


@dataclass(slots=True)
class Deed:
    """What a request asks for.

    Attributes:
        action: Its method and path, names in braces; "" for what nobody writes down.
        target: What it is about.
        run_id: The run that it is about, or that it started.
    """

    action: str = ""
    target: str = ""
    run_id: str = ""


class _Over(Exception):
    """Whoever is sent a stream may not have it any more."""


class Guard:
    """The application, behind what lets callers in."""

    def __init__(self, app: ASGIApp, access: Access, ports: Ports, journal: Journal) -> None:
        self._app = app
        self._access = access
        self._ports = ports
        self._journal = journal
        self._tries = Tries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in UNGUARDED:
            await self._app(scope, receive, send)
            return
        passage = _Passage(scope, send, self)
        try:
            grant = scope[GRANT] = await self._granted(scope, passage.caller)
        except DagnatsError as error:
            response = await on_error(Request(scope), error)
            await response(scope, receive, passage.send)
            return
        passage.grant = grant
        try:
            await self._app(scope, receive, passage.send)
        except _Over:
            return
        except Exception:  # it is told further out, where nothing is written down
            await passage.failed()
            raise

    async def _granted(self, scope: Scope, caller: Caller) -> Grant:
        """What the caller of a request may do. Raises like `admitted`."""
        shown = HELD.fullmatch(scope["path"]) if scope["method"] == "POST" else None
        return await holder(self._ports, shown[1]) if shown is not None else await self.admitted(caller)

    async def admitted(self, caller: Caller) -> Grant:
        """What a caller may do. Raises Fault, UnavailableError."""
        return await identified(self._access, self._ports, caller, self._tries)

    async def write_down(self, said: Requested) -> None:
        """Have it in the audit."""
        await self._journal.enter(said)


@dataclass(slots=True)
class _Passage:
    """One request on its way through.

    Attributes:
        grant: What its caller may do; None while nobody knows.
    """

    scope: Scope
    out: Send
    guard: Guard
    grant: Grant | None = None
    caller: Caller = field(init=False)
    id: str = field(init=False)
    _looked_s: float = field(init=False)
    _told: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        headers = Headers(scope=self.scope)
        address = (self.scope.get("client") or ("",))[0]
        self.caller = Caller(headers, address, self.scope["method"] in _READS)
        named = headers.get("x-request-id", "")
        self.id = named if _ID.fullmatch(named) else secrets.token_hex(8)
        self._looked_s = asyncio.get_running_loop().time()

    async def send(self, message: Message) -> None:
        """Pass on a part of the response; before the first one, what was done is written down."""
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Request-Id"] = self.id
            await self._write_down(message["status"])
        elif message.get("more_body") and not await self._may_go_on():
            await self.out({"type": "http.response.body", "body": b"", "more_body": False})
            raise _Over
        await self.out(message)

    async def failed(self) -> None:
        """Have it written down that a fault of ours ended it."""
        if not self._told:
            await self._write_down(500)

    async def _write_down(self, status: int) -> None:
        self._told = True
        deed: Deed = self.scope.get(DEED) or Deed()
        refused = status in TURNED_AWAY
        if not refused and (self.caller.reads or not deed.action):
            return
        actor = (self.grant.actor or "local") if self.grant is not None else "nobody"
        said = Requested(
            action=deed.action or hidden(f"{self.scope['method']} {self.scope['path']}")[:_LONGEST],
            by=actor,
            target=hidden(deed.target)[:_LONGEST],
            run_id=deed.run_id[:_LONGEST],
            status=status,
            kind=(kind_of(self.scope) or str(status)) if status >= 400 else "",
            request_id=self.id,
            address=self.caller.address,
        )
        await self.guard.write_down(said)

    async def _may_go_on(self) -> bool:
        """Whether whoever is sent a stream is still let in: it may have been for hours."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s < _LOOK_S:
            return True
        self._looked_s = now_s
        try:
            return await self.guard.admitted(self.caller) == self.grant
        except UnavailableError:  # then nobody can be asked, and nothing comes that could be sent
            return True
        except Fault as fault:  # that others have tried too often, says nothing about this one
            return fault.status == _OFTEN
