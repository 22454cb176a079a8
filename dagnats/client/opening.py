"""Opening a client and closing it again, whatever it speaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Self


class Closing(ABC):
    """A client that is open until it is closed: `async with` does that."""

    @abstractmethod
    async def close(self) -> None:
        """Close its connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


ClientT = TypeVar("ClientT", bound=Closing)


class Opening(ABC, Generic[ClientT]):
    """What gives a client: to whoever awaits it, or for as long as `async with` lasts."""

    _client: ClientT | None = None

    @abstractmethod
    async def _open(self) -> ClientT:
        """Connect."""

    def __await__(self) -> Generator[Any, None, ClientT]:
        return self._open().__await__()

    async def __aenter__(self) -> ClientT:
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()
