"""The client a command talks through, and the loop it runs in."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dagnats.cli.option import UsageError, current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from dagnats.cli.option import Options
    from dagnats.client import AnyClient, AsyncClient
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
        UsageError: `--server` is no address of NATS, nor of HTTP.
        ConfigurationError: Something of it cannot be.
    """
    from dagnats.config.load import load

    options = current()
    _expect_address(options)
    return load(options.config, **said(**flags))


def said(**flags: Any) -> dict[str, Any]:
    """What the line says, by key: `flags`, and the server, where that is not among them."""
    options = current()
    return {"url": options.server, "token": options.token, "namespace": options.namespace, **flags}


def _expect_address(options: Options) -> None:
    from dagnats.config.settings import server_url
    from dagnats.model.address import without_secrets

    try:
        server_url(options.server)
    except ValueError:
        raise UsageError(
            f"{without_secrets(options.server)!r} is not the address of a NATS server, nor of DagNats over HTTP",
            hint="such an address is nats://host:4222, or http://host:8080",
        ) from None


class Place(NamedTuple):
    """Which server is meant.

    Attributes:
        url: Its address; "" for the local `serve`.
        token: What lets us in.
        data_dir: Where the local `serve` keeps its data.
        namespace: Which of the installations there; None for that of the local `serve`.
    """

    url: str
    token: str
    data_dir: str
    namespace: str | None

    @property
    def is_http(self) -> bool:
        from dagnats.model.address import is_http

        return is_http(self.url)


def place(*, leniently: bool = False) -> Place:
    """The server that a flag names, else a variable, else `dagnats.yaml`, else the context in use.

    Args:
        leniently: Whether only what says where the server is has to be right: for a command that is of use while
            the rest of the configuration cannot be.

    Raises:
        UsageError: The line names two, or `--server` is no address; or `--namespace` stands beside HTTP.
        ConfigurationError: Something of the configuration cannot be.
        NotFoundError: There is no such context.
    """
    from dagnats.config.context import LOCAL, load_contexts

    options = current()
    if options.context and options.server:
        raise UsageError(f"--context {options.context} and --server say two things", hint="leave one of them out")
    found = _configured_place() if leniently else configuration()
    url, token, folder = found.settings.url, found.token, found.settings.data_dir
    is_said, namespace = "namespace" in found.settings.model_fields_set, found.settings.namespace
    if options.context == LOCAL:
        return Place("", options.token, folder, namespace if options.namespace else None)
    if options.context:  # its address and its token belong together: variables are about another server
        chosen = load_contexts().named(options.context)
        kept = namespace if options.namespace else chosen.namespace
        return _checked(Place(chosen.url, options.token or chosen.secret(), folder, kept))
    if not url and (used := load_contexts().used) is not None:
        kept = namespace if is_said else used.namespace
        return _checked(Place(used.url, token or used.secret(), folder, kept))
    return _checked(Place(url, token, folder, namespace if url or is_said else None))


def _checked(where: Place) -> Place:
    """Raise UsageError when the line asks HTTP for a namespace: whoever serves there has one of its own."""
    named = current().namespace
    if named and where.is_http:
        raise UsageError(
            f"--namespace {named}: DagNats over HTTP serves one namespace, its own",
            hint="leave --namespace out, or name the NATS server: --server nats://host:4222",
        )
    return where


def _configured_place() -> Configuration:
    from dagnats.config.load import load_place

    options = current()
    _expect_address(options)
    return load_place(options.config, **said())


@asynccontextmanager
async def open_client(name: str = "dagnats cli", where: Place | None = None) -> AsyncGenerator[AnyClient, None]:
    """A client on the server that is meant, over NATS or HTTP. Raises UnavailableError."""
    where = where or place()
    if where.is_http:
        from dagnats.client.http import connect_http

        async with connect_http(where.url, token=where.token) as asking:
            yield asking
    else:
        async with _connected(where, name) as client:
            yield client


@asynccontextmanager
async def open_nats(name: str = "dagnats cli") -> AsyncGenerator[AsyncClient, None]:
    """A client over NATS, for what has no route of HTTP. Raises UnavailableError, and UsageError over HTTP."""
    async with _connected(place_of_nats(), name) as client:
        yield client


def place_of_nats() -> Place:
    """The server that is meant, for what has no route of HTTP. Raises UsageError over HTTP."""
    where = place()
    if where.is_http:
        raise needs_nats(where.url)
    return where


def needs_nats(url: str) -> UsageError:
    """What to say of a command that cannot do with HTTP."""
    from dagnats.model.address import without_secrets

    return UsageError(
        f"this command speaks to NATS itself, and {without_secrets(url)} is DagNats over HTTP",
        hint="name the NATS server: --server nats://host:4222",
    )


@asynccontextmanager
async def _connected(where: Place, name: str) -> AsyncGenerator[AsyncClient, None]:
    from dagnats.client import connect

    async with connect(
        where.url, token=where.token, namespace=where.namespace, name=name, data_dir=where.data_dir
    ) as client:
        yield client
