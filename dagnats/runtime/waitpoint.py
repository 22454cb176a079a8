"""Tokens of waitpoints: whoever has one may bring what a step waits for, once, and needs nothing else.

A token says which attempt of which step it is for, and is sealed with a key that only the server's parts have. Nothing
is stored for one, so it can be made before the wait begins, and made again.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

KEY = "approval"
"""The name of the key among the server's secrets."""

PREFIX = "dagnats_wait_"
"""How each begins: people, and scanners for leaked secrets, know it by that."""

TOKEN = re.compile(rf"{PREFIX}([A-Za-z0-9_-]+)\.[0-9a-f]{{64}}")


class Place(NamedTuple):
    """What a token is for.

    Attributes:
        run_id: Whose step it is.
        step_id: The step.
        attempt: Its attempt: what answers one does not answer another.
    """

    run_id: str
    step_id: str
    attempt: int

    @property
    def names(self) -> dict[str, str]:
        """The names of what it is about, as paths of the API have them."""
        return {"run_id": self.run_id, "step": self.step_id}


def seal(key: bytes, place: Place) -> str:
    """The message authentication code of an attempt: 64 hexadecimal digits, which are an approval's own token."""
    return hmac.new(key, _said(place), "sha256").hexdigest()


def waitpoint_token(key: bytes, place: Place) -> str:
    """The token for an attempt of a waiting step: letters, digits, '-', '_' and one dot."""
    said = urlsafe_b64encode(_said(place)).rstrip(b"=").decode()
    return f"{PREFIX}{said}.{seal(key, place)}"


def opened(key: bytes, token: str) -> Place | None:
    """What a token is for; None when we did not make it. It takes as long for a nearly right one as for any other."""
    place = _place(token)
    if place is None or not hmac.compare_digest(waitpoint_token(key, place).encode(), token.encode()):
        return None
    return place


def completion_path(token: str) -> str:
    """Where whoever has a token brings what is waited for."""
    return f"/v1/waitpoints/{token}/complete"


def _said(place: Place) -> bytes:
    return "\0".join(map(str, place)).encode()


def _place(token: str) -> Place | None:
    shape = TOKEN.fullmatch(token)
    if shape is None:
        return None
    said = shape[1]
    try:
        run_id, step_id, attempt = urlsafe_b64decode(said + "=" * (-len(said) % 4)).decode().split("\0")
        return Place(run_id, step_id, int(attempt))
    except ValueError:
        return None
