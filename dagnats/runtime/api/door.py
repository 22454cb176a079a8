"""HTTP for whoever serves: the address is taken first, so that what cannot be had is known before anything starts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from dagnats.runtime.api.access import OPEN
from dagnats.runtime.api.app import Api
from dagnats.runtime.api.listener import bound, expect_safe, listening

if TYPE_CHECKING:
    from types import TracebackType

    from dagnats.runtime.api.access import Access
    from dagnats.runtime.api.listener import Address
    from dagnats.runtime.ports import Connection
    from dagnats.runtime.telemetry.meter import Meter


class Door:
    """An address of ours, shut until it is opened.

    Args:
        address: Where to listen.
        access: What lets callers in.

    Attributes:
        url: Where HTTP is, once it is open.

    Raises:
        ConflictError: The address is in use.
        DagnatsError: It is none of this machine; or others could reach it, and nothing is wanted of them.
    """

    def __init__(self, address: Address, access: Access = OPEN) -> None:
        expect_safe(address, access)
        self.url = ""
        self._access = access
        self._socket = bound(address)
        self._stack = AsyncExitStack()
        self._api: Api | None = None

    async def open(self, connection: Connection, meter: Meter | None = None) -> None:
        """Answer from now on; `/ready` says no until `welcome`. `meter` counts. Raises UnavailableError."""
        api = self._api = Api(connection, meter)
        await api.open()
        self._stack.push_async_callback(api.close)
        app = api.app(self._access)
        self.url = await self._stack.enter_async_context(listening(app, self._socket, stopping=api.stop))

    def welcome(self) -> None:
        """Whoever serves takes work now."""
        if self._api is not None:
            self._api.ready = True

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
        self._socket.close()

    async def close(self) -> None:
        """Answer no more; who waits for an answer gets one. May be called again."""
        await self._stack.aclose()
