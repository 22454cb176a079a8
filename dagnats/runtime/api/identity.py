"""Who asks, as the request proves it; or why it is let in nowhere."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import b64decode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from dagnats.client.answer import BY
from dagnats.model.access import SCOPES
from dagnats.model.address import is_address, is_loopback
from dagnats.runtime import waitpoint
from dagnats.runtime.api.access import Grant
from dagnats.runtime.api.problem import Fault
from dagnats.runtime.token import PREFIX, owner_of

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from dagnats.runtime.api.access import Access
    from dagnats.runtime.api.tries import Tries
    from dagnats.runtime.ports import Ports

_NOBODY = "an unknown user has no password"
_LONGEST_NAME = 128


class Caller(NamedTuple):
    """Where a request comes from, and what it says.

    Attributes:
        headers: All that it says.
        address: The other end of the connection.
        reads: Whether it only looks.
    """

    headers: Headers
    address: str
    reads: bool


async def identified(access: Access, ports: Ports, caller: Caller, tries: Tries) -> Grant:
    """What a caller may do.

    Args:
        tries: How often whoever calls from there was wrong about a password.

    Raises:
        Fault: 401 when it proves nothing; 403 when a web page has sent it; 429 when it has tried too often.
        UnavailableError: Tokens cannot be looked up.
    """
    scheme, _, said = caller.headers.get("authorization", "").partition(" ")
    scheme, said = scheme.lower(), said.strip()
    if access.is_open:
        return await _local(access, ports, caller, said if scheme == "bearer" else "")
    if scheme == "bearer" and (access.token or access.tokens):
        return await _bearer(access, ports, said, _Guesses(tries, client_of(access, caller)))
    if scheme == "basic" and access.basic:
        _expect_same_origin(caller)
        return _basic(access, said, _Guesses(tries, client_of(access, caller)))
    if access.forward is not None and access.forward.trusts(caller.address):
        _expect_same_origin(caller)
        return _forwarded(access, caller.headers)
    raise _missing(access)


async def holder(ports: Ports, token: str) -> Grant:
    """What whoever has the token of a wait may do: answer that. Nothing else of the caller counts.

    Raises:
        Fault: 404: we did not make it. Whatever is wrong with it, the answer is the same.
        UnavailableError: The key cannot be read.
    """
    key = await ports.secrets.key(waitpoint.KEY) if waitpoint.TOKEN.fullmatch(token) else b""
    held = waitpoint.opened(key, token)
    if held is None:
        raise Fault(404, "not-found", "no wait has this token")
    return Grant(SCOPES[0], BY, held=held)


def client_of(access: Access, caller: Caller) -> str:
    """The address that a request comes from: behind proxies whose word counts, what the last of them says."""
    address, named = caller.address, ",".join(caller.headers.getlist("x-forwarded-for")).split(",")
    while access.forward is not None and access.forward.trusts(address) and named:
        said = named.pop().strip()
        if not is_address(said):
            break
        address = said
    return address


class _Guesses(NamedTuple):
    """The tries of one address. Nothing is waited for between a look at them and the note of a wrong one."""

    tries: Tries
    address: str

    def expect_left(self) -> None:
        """Raise Fault 429 when there are none."""
        self.tries.expect_room(self.address, _now_s())

    def wrong(self) -> None:
        """One is used."""
        self.tries.note(self.address, _now_s())


def _now_s() -> float:
    return asyncio.get_running_loop().time()


# -- by what it has ------------------------------------------------------------------------------------------------


async def _bearer(access: Access, ports: Ports, text: str, guesses: _Guesses) -> Grant:
    owner = await owner_of(ports, text) if access.tokens else None
    if owner is not None:
        return Grant(owner.scope, f"token {owner.label}", owner.workflows)
    if access.token:  # somebody has chosen it; of the others nobody guesses one
        guesses.expect_left()
        if _same(access.token, text):
            return Grant(actor="bridge token")
        guesses.wrong()
    why = "the token is not known here, was revoked, or has expired"
    raise _unauthorized(access, why, error=', error="invalid_token"')


def _basic(access: Access, text: str, guesses: _Guesses) -> Grant:
    guesses.expect_left()
    try:
        name, _, password = b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        name, password = "", ""
    person = access.basic.get(name)
    # It takes as long for a name that nobody has as for any other.
    right = _same(person.password if person is not None else _NOBODY, password)
    if person is None or not right:
        guesses.wrong()
        raise _unauthorized(access, "there is no user of that name with that password")
    return Grant(person.scope, f"user {name}", person.workflows)


def _forwarded(access: Access, headers: Headers) -> Grant:
    forward = access.forward
    assert forward is not None, "asked where there is one"
    names = headers.getlist(forward.header)
    if len(names) != 1:  # of two, one may be the caller's own
        raise _unauthorized(access, f"the proxy says in the header {forward.header} who it is for, once")
    name = names[0].strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise _unauthorized(access, f"what the header {forward.header} says is nobody's name")
    return Grant(forward.users.get(name, forward.scope), f"user {name}", forward.workflows)


async def _local(access: Access, ports: Ports, caller: Caller, token: str) -> Grant:
    if token.startswith(PREFIX):  # whoever shows one is taken at its word, so that it can be tried out
        owner = await owner_of(ports, token)
        if owner is None:
            raise _unauthorized(access, "the token is not known here, was revoked, or has expired")
        return Grant(owner.scope, f"token {owner.label}", owner.workflows)
    if access.insecure:
        _expect_same_origin(caller)
        return Grant()
    _expect_local(caller.headers)
    return Grant()


def _same(wanted: str, said: str) -> bool:
    """Whether two secrets are the same. It takes as long for a nearly right one, or one of another length."""
    one, other = (hashlib.sha256(text.encode(errors="replace")).digest() for text in (wanted, said))
    return hmac.compare_digest(one, other)


# -- web pages -----------------------------------------------------------------------------------------------------


def _expect_local(headers: Headers) -> None:
    """Refuse what a web page could make its reader's browser send: from another site, or to a name that it chose."""
    origin = headers.get("origin")
    if is_loopback(_host(headers.get("host", ""))) and (origin is None or is_loopback(_host(origin))):
        return
    why = "without a token only this machine is listened to, under the names localhost and 127.0.0.1"
    raise Fault(403, "forbidden", f"{why}: set http_tokens at the server to be asked by others")


def _expect_same_origin(caller: Caller) -> None:
    """Refuse what another site's page asks for with what its reader's browser adds by itself, other than to look."""
    origin = caller.headers.get("origin")
    if caller.reads or origin is None:
        return
    own = {caller.headers.get(name, "") for name in ("host", "x-forwarded-host")} - {""}
    if urlsplit(origin).netloc not in own:
        raise Fault(403, "forbidden", f"a page of {origin[:100]!r} may not ask for this in its reader's name")


def _host(text: str) -> str:
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""


# -- nobody --------------------------------------------------------------------------------------------------------


def _missing(access: Access) -> Fault:
    ways = [
        *(["the header 'Authorization: Bearer …' with a token"] if access.token or access.tokens else []),
        *(["a user and a password"] if access.basic else []),
        *(["to be asked through its proxy"] if access.forward is not None else []),
    ]
    return _unauthorized(access, f"the server wants {', or '.join(ways)}")


def _unauthorized(access: Access, why: str, *, error: str = "") -> Fault:
    return Fault(401, "unauthorized", why, headers={"WWW-Authenticate": access.challenge + error})
