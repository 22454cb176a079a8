"""The client a command talks through, and the loop it runs in."""

from __future__ import annotations

import gc
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from dagnats.cli.option import UsageError, current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from dagnats.client import AsyncClient

T = TypeVar("T")

_YOUNG = 20_000  # a batch of messages makes thousands of objects that its end frees without any collector
_SCHEMES = ("nats", "tls", "ws", "wss")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a short command."""
    import asyncio  # not at the top: with it, `--help` takes 30 ms longer

    return asyncio.run(main)


def run_long(main: Coroutine[Any, Any, T]) -> T:
    """Run a command that moves many messages: on uvloop, where there is one."""
    gc.freeze()  # what was imported stays
    gc.set_threshold(_YOUNG, 20, 20)
    try:
        import uvloop
    except ImportError:
        return run(main)
    return uvloop.run(main)


def named_server() -> str:
    """The server that `--server` or DAGNATS_URL names, or "".

    Raises:
        UsageError: It is not an address of NATS.
    """
    named = current().server or os.environ.get("DAGNATS_URL", "")
    if not named:
        return ""
    url = named if "://" in named else f"nats://{named}"
    if not _is_address(url):
        raise UsageError(f"{named!r} is not the address of a NATS server", hint="such an address is nats://host:4222")
    return url


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no port
        return False


def named_token() -> str:
    """The token that `--token` or DAGNATS_TOKEN gives, or ""."""
    return current().token or os.environ.get("DAGNATS_TOKEN", "")


@asynccontextmanager
async def open_client(name: str = "dagnats cli") -> AsyncGenerator[AsyncClient, None]:
    """A client on the server that the line, the environment or the local `serve` names. Raises UnavailableError."""
    from dagnats.client import connect

    async with connect(named_server(), token=named_token(), name=name) as client:
        yield client
