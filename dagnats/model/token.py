"""An access token as it is stored: what it allows, and a hash of it. The token itself is nowhere but with its owner."""

from __future__ import annotations

import msgspec

from dagnats.errors import DecodeError
from dagnats.model.access import Scope

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""What a token may be called."""


class AccessToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one token lets its owner do. Nobody changes it: another one is made, and this one revoked.

    Attributes:
        id: What it is found by: a part of the token that is no secret.
        digest: SHA-256 of the whole token, in hexadecimal digits.
        scope: What it allows.
        name: What people call it; "" for none.
        workflows: Patterns of the workflows that it is limited to; none for no limit.
        created_ns: When it was made, by the clock of whoever made it.
        expires_ns: From when on it lets nobody in; 0 for never.
        by: Who made it; "" when nobody said.
    """

    id: str
    digest: str
    scope: Scope
    name: str = ""
    workflows: tuple[str, ...] = ()
    created_ns: int = 0
    expires_ns: int = 0
    by: str = ""

    def expired(self, now_ns: int) -> bool:
        """Whether its time is over."""
        return 0 < self.expires_ns <= now_ns

    @property
    def label(self) -> str:
        """What people know it by."""
        return self.name or self.id


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AccessToken)


def encode_token(token: AccessToken) -> bytes:
    """`token` as it is stored."""
    return _encoder.encode(token)


def decode_token(data: bytes) -> AccessToken:
    """The token in `data`. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not an access token: {error}", data=data) from None
