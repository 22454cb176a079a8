"""The HTTP listener: an address of ours, and uvicorn on it, in the event loop of whoever serves."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from dagnats.errors import ConflictError, DagnatsError
from dagnats.model.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from starlette.types import ASGIApp

    from dagnats.runtime.api.access import Access

log = logging.getLogger("dagnats.http")

HOST = "127.0.0.1"
PORT = 8080

_STOP_S = 5  # for requests under way; those that wait are told before


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Attributes:
        host: An IP address, or a name of this machine.
        port: 0 for any.
        named: Whether somebody wants this one and no other.
    """

    host: str = HOST
    port: int = PORT
    named: bool = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


DEFAULT = Address()


def parse_address(text: str) -> Address:
    """The address that `HOST:PORT` says; without a host it is this machine. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and "[" not in text):
        raise ValueError(f"{text!r} is not HOST:PORT, such as {HOST}:{PORT} or [::1]:{PORT}")
    return Address(host or HOST, int(port), named=True)


def expect_safe(address: Address, access: Access) -> None:
    """Raise DagnatsError when others could reach the address, and nothing would keep them out."""
    if not access.is_open or is_loopback(address.host):
        return
    if access.insecure:
        log.warning("whoever reaches %s may do everything: it is --insecure", address)
        return
    raise DagnatsError(
        f"{address} can be reached from other machines, and nothing would keep anybody out",
        hint="set DAGNATS_HTTP_TOKENS=true and make a token with `dagnats token create`; or configure access.basic or "
        f"access.forward; or listen on {HOST}:{address.port}. --insecure lets everybody in",
    )


def bound(address: Address) -> socket.socket:
    """A socket that listens there; at another port when the address was nobody's wish and is in use.

    Raises:
        ConflictError: It is in use.
        DagnatsError: It is no address of this machine.
    """
    try:
        return _bound(address.host, address.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise DagnatsError(f"cannot listen on {address}: {error.strerror or error}") from None
        if address.named:
            raise ConflictError(
                f"{address} is in use", hint="name another one with --http HOST:PORT, or stop what listens there"
            ) from None
    log.warning("%s is in use: HTTP is at another port; `--http HOST:PORT` names one", address)
    return _bound(address.host, 0)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen()  # not only once somebody serves: a second one must find the address taken
    except BaseException:
        found.close()
        raise
    return found


@asynccontextmanager
async def listening(app: ASGIApp, at: socket.socket, *, stopping: Callable[[], None]) -> AsyncGenerator[str]:
    """Serve an application; gives its URL.

    Args:
        stopping: Called at the end, before requests under way are waited for: those that wait should end now.
    """
    host, port = at.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else whoever is on this machine says which address it comes from
        timeout_graceful_shutdown=_STOP_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[at]), name="http")
    try:
        await server.up.wait()
        yield f"http://{Address(host, port)}"
    finally:
        stopping()
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves the signals alone, whoever serves has its own idea of them; and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
