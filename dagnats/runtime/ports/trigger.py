"""What triggers need: records under names, and requests that one side answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.runtime.ports.store import Cell, Stored


class Records(Protocol):
    """What is kept under keys of letters, digits, `_` and `-`, each replaced by compare-and-set."""

    async def get(self, key: str) -> Stored | None: ...

    async def put(self, key: str, data: bytes, *, revision: int) -> int:
        """Replace revision `revision` (0: there is none) and give the new one. Raises ConflictError."""
        ...

    async def remove(self, key: str, *, revision: int) -> None:
        """Forget one. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def all(self) -> dict[str, Stored]:
        """All of them by key, however many."""
        ...

    def listen(self, told: Callable[[str], None]) -> Callable[[], None]:
        """Call `told` with the key of everything that is written or removed, until what is returned is called.

        Perhaps of what was refused, too. With "" when any may have been: the connection was lost, or has come back.
        """
        ...


class Requests(Protocol):
    """Requests of the wire: programs in any language ask, and answer."""

    def answer(self, subject: str, reply: Callable[[bytes], Awaitable[bytes]]) -> Callable[[], None]:
        """Answer all that is asked on `subject` from now on; what is returned ends it."""
        ...

    async def ask(self, subject: str, data: bytes) -> bytes | None:
        """The first answer; None when nobody is there who answers. Raises UnavailableError after 5 s."""
        ...


class Tenures(Protocol):
    """Who provides each trigger type: a cell for one."""

    def of(self, trigger_type: str) -> Cell:
        """The cell of a trigger type; for each caller one of its own."""
        ...
