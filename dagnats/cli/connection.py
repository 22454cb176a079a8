"""The client a command talks through, and the loop it runs in."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dagnats.cli.option import UsageError, current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from dagnats.cli.option import Options
    from dagnats.client import AsyncClient
    from dagnats.config.load import Configuration

T = TypeVar("T")

_YOUNG = 20_000  # a batch of messages makes thousands of objects that its end frees without any collector


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


def configuration(**flags: Any) -> Configuration:
    """What holds for this command: the file, the environment, and what the line says.

    Args:
        flags: What options of this command alone say, by key.

    Raises:
        UsageError: `--server` is no address of NATS.
        ConfigurationError: Something of it cannot be.
    """
    from dagnats.config.load import load

    options = current()
    _expect_address(options)
    return load(options.config, url=options.server, token=options.token, **flags)


def place() -> Configuration:
    """Where the server is, for a command that is of use while the rest of the configuration cannot be.

    Raises like `configuration`, but only for what says where the server is.
    """
    from dagnats.config.load import load_place

    options = current()
    _expect_address(options)
    return load_place(options.config, url=options.server, token=options.token)


def _expect_address(options: Options) -> None:
    from dagnats.config.settings import server_url
    from dagnats.model.address import without_secrets

    try:
        server_url(options.server)
    except ValueError:
        raise UsageError(
            f"{without_secrets(options.server)!r} is not the address of a NATS server",
            hint="such an address is nats://host:4222",
        ) from None


@asynccontextmanager
async def open_client(
    name: str = "dagnats cli", found: Configuration | None = None
) -> AsyncGenerator[AsyncClient, None]:
    """A client on the server that the configuration names, else on the local `serve`. Raises UnavailableError."""
    from dagnats.client import connect

    found = found or configuration()
    folder = found.settings.data_dir
    async with connect(found.settings.url, token=found.token, name=name, data_dir=folder) as client:
        yield client
