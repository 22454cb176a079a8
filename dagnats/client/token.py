"""Access tokens: made, listed and revoked by whoever may."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from dagnats.client.moment import Moment, instant_of
from dagnats.errors import ConflictError, DagnatsError, DecodeError, NotFoundError
from dagnats.model.access import PATTERN, SCOPES
from dagnats.model.identifier import near
from dagnats.model.token import NAME, AccessToken, decode_token, encode_token
from dagnats.runtime.token import digest_of, hidden, id_of, new_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagnats.model.access import Scope
    from dagnats.runtime.ports import Ports

_NAME = re.compile(NAME)
_PATTERN = re.compile(PATTERN)
_MOST_PATTERNS = 64


class Made(NamedTuple):
    """A new token.

    Attributes:
        token: What is stored of it.
        text: The token itself. Nobody can have it a second time.
    """

    token: AccessToken
    text: str


async def create_token(
    ports: Ports,
    scope: Scope,
    *,
    name: str = "",
    workflows: Sequence[str] = (),
    expires: Moment | None = None,
    by: str = "",
) -> Made:
    """Make a token.

    Args:
        scope: What it allows.
        name: What to call it.
        workflows: Patterns of the workflows that it is limited to: `order-*`. None: it is not.
        expires: When it stops to let anybody in; None for never.
        by: Who makes it.

    Raises:
        ConflictError: There is one by that name.
        DagnatsError: Something of it cannot be.
    """
    now_ns = ports.clock.now_ns()
    _expect_scope(scope)
    expires_ns = instant_of(expires, now_ns=now_ns) if expires is not None else 0
    if expires is not None and expires_ns <= now_ns:
        raise DagnatsError(f"{expires!r} has passed: such a token lets nobody in", hint="write it as '+30d'")
    _expect_patterns(workflows)
    await _expect_free(ports, name)
    id, text = new_token()
    token = AccessToken(
        id=id,
        digest=digest_of(text),
        scope=scope,
        name=name,
        workflows=tuple(workflows),
        created_ns=now_ns,
        expires_ns=expires_ns,
        by=by,
    )
    await ports.tokens.add(id, encode_token(token))
    return Made(token, text)


async def all_tokens(ports: Ports) -> list[AccessToken]:
    """All tokens that were not revoked, the newest first; what this version cannot read is left out."""
    found: list[AccessToken] = []
    for data in await ports.tokens.all():
        with suppress(DecodeError):
            found.append(decode_token(data))
    return sorted(found, key=lambda token: (-token.created_ns, token.id))


async def revoke_token(ports: Ports, which: str) -> AccessToken:
    """Let a token let nobody in any more, and give what was stored of it.

    Args:
        which: Its id, its name, or the token itself, which has its id in it.

    Raises:
        NotFoundError: There is none.
        ConflictError: Several have that name; the message lists their ids.
    """
    found = await all_tokens(ports)
    id = id_of(which) or which
    meant = [token for token in found if token.id == id] or [token for token in found if token.name == which]
    if not meant:
        names = [name for token in found for name in (token.id, token.name) if name]
        raise NotFoundError(
            "token", hidden(which), near=near(which, names), hint="`dagnats token list` lists those there are"
        )
    if len(meant) > 1:
        ids = ", ".join(token.id for token in meant)
        raise ConflictError(f"{len(meant)} tokens are called {which!r}: {ids}", hint="name one by its id")
    await asyncio.shield(ports.tokens.remove(meant[0].id))
    return meant[0]


def _expect_scope(scope: str) -> None:
    if scope not in SCOPES:
        raise DagnatsError(f"there is no scope {scope!r}", hint=f"there are {', '.join(SCOPES)}")


def _expect_patterns(workflows: Sequence[str]) -> None:
    wrong = [pattern for pattern in workflows if _PATTERN.fullmatch(pattern) is None]
    if wrong:
        hint = "it is a workflow's name, in which `*` stands for any characters and `?` for one: 'order-*'"
        raise DagnatsError(f"{wrong[0]!r} is no pattern of workflows", hint=hint)
    if len(workflows) > _MOST_PATTERNS:
        raise DagnatsError(f"a token is limited by at most {_MOST_PATTERNS} patterns, not {len(workflows)}")


async def _expect_free(ports: Ports, name: str) -> None:
    if not name:
        return
    if _NAME.fullmatch(name) is None:
        hint = "use at most 64 letters, digits, '-', '_' and '.', the first a letter or a digit"
        raise DagnatsError(f"a token cannot be called {name!r}", hint=hint)
    if any(name in (token.name, token.id) for token in await all_tokens(ports)):
        raise ConflictError(f"there is a token {name!r} already", hint="revoke that one, or choose another name")
