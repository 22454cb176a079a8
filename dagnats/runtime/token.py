"""Access tokens: making one, and telling whose one is.

A token is `dagnats_<id>_<secret>`: people, and scanners for leaked secrets, know it by the prefix; the id finds what is
stored of it; the secret has 160 random bits. Of that much chance a plain hash is as good as a slow one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from dagnats.errors import DecodeError
from dagnats.model.token import decode_token
from dagnats.runtime import waitpoint

if TYPE_CHECKING:
    from dagnats.model.token import AccessToken
    from dagnats.runtime.ports import Ports

PREFIX = "dagnats_"
"""How each begins."""

_ID_BYTES = 5
_SECRET_BYTES = 20
_TOKEN = re.compile(rf"{PREFIX}([0-9a-f]{{{2 * _ID_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")
_NONE = hashlib.sha256(b"").hexdigest()  # no token's: what an unknown one is compared with


def new_token() -> tuple[str, str]:
    """A new token's id, and the token."""
    id = secrets.token_hex(_ID_BYTES)
    return id, f"{PREFIX}{id}_{secrets.token_hex(_SECRET_BYTES)}"


def hidden(text: str) -> str:
    """`text` without the secrets of tokens that it has, those of waitpoints included."""
    return waitpoint.TOKEN.sub(f"{waitpoint.PREFIX}…", _TOKEN.sub(rf"{PREFIX}\1_…", text))


def id_of(text: str) -> str:
    """The id in a token; "" when it is none."""
    shape = _TOKEN.fullmatch(text)
    return shape[1] if shape is not None else ""


def digest_of(text: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


async def owner_of(ports: Ports, text: str) -> AccessToken | None:
    """The token whose secret this is; None when it is none, was revoked or has expired.

    What is stored is read each time: a token that was revoked lets nobody in, at any server. Raises UnavailableError.
    """
    id = id_of(text)
    stored = await ports.tokens.get(id) if id else None
    token = _readable(stored) if stored is not None else None
    right = hmac.compare_digest(digest_of(text), token.digest if token is not None else _NONE)
    if token is None or not right or token.expired(ports.clock.now_ns()):
        return None
    return token


def _readable(data: bytes) -> AccessToken | None:
    try:
        return decode_token(data)
    except DecodeError:  # of a later version, with a scope that we do not know: it lets nobody in here
        return None
