"""A NATS server for tests of the adapter: prepared, restarted, killed, frozen."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from dagnats.runtime.embedded import EmbeddedServer
from dagnats.runtime.jetstream.adapter import JetStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType


@asynccontextmanager
async def prepared(server: EmbeddedServer) -> AsyncGenerator[JetStream]:
    """A connection to a server with everything set up."""
    async with await JetStream.connect(server.url, token=server.token) as jetstream:
        await jetstream.ports.server.prepare()
        yield jetstream


def port_of(server: EmbeddedServer) -> int:
    return int(server.url.rpartition(":")[2])


async def restarted(server: EmbeddedServer, *, kill: bool = False) -> EmbeddedServer:
    """The same store on the same port, after a stop, or a kill -9."""
    port = port_of(server)
    if kill:
        os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    again = EmbeddedServer(server.folder, port=port)
    await again.start()
    return again


@asynccontextmanager
async def frozen(server: EmbeddedServer) -> AsyncGenerator[None]:
    """The server stands still: its sockets are open, and nothing is answered."""
    os.kill(server.pid, signal.SIGSTOP)
    # Its threads run on until then, for a moment.
    os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WNOWAIT)  # noqa: ASYNC222
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def publish_raw(server: EmbeddedServer, subject: bytes, data: bytes) -> None:
    """Publish on a subject of any bytes, as a client might that checks nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    connect = b'CONNECT {"verbose":false,"auth_token":"%b"}\r\n' % server.token.encode()
    writer.write(connect + b"PUB %b %d\r\n%b\r\nPING\r\n" % (subject, len(data), data))
    while await reader.readline() != b"PONG\r\n":
        pass
    writer.close()


class Proxy:
    """Stands between a client and a server, and can keep the server's answers to itself, or hang up."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._upstream = port_of(server)
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.token = server.token
        self.url = ""
        self.silent = False
        self.silent_from: bytes | None = None
        """Fall silent just before this reaches the server."""
        self.passed = 0
        """Bytes that went to the server."""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def hang_up(self) -> None:
        """Lose every connection, and speak again on the next."""
        for writer in self._writers:
            writer.close()
        self.silent, self.silent_from = False, None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, server_writer}
        for task in (self._send(reader, server_writer), self._answer(server_reader, writer)):
            pump = asyncio.create_task(task)
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self.silent_from is not None and self.silent_from in data:
                    self.silent = True
                writer.write(data)
                await writer.drain()
                self.passed += len(data)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.silent:
                    writer.write(data)
                    await writer.drain()
        writer.close()


@asynccontextmanager
async def through_proxy(server: EmbeddedServer) -> AsyncGenerator[tuple[Proxy, JetStream]]:
    """A connection through a proxy."""
    async with Proxy(server) as proxy, await JetStream.connect(proxy.url, token=proxy.token) as jetstream:
        yield proxy, jetstream
