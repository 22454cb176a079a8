"""What a worker opens before its first task and closes after its last one: database pools, clients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Lifespan = Callable[[], AbstractAsyncContextManager[Any] | AbstractContextManager[Any]]


@asynccontextmanager
async def opened(lifespan: Lifespan | None) -> AsyncGenerator[Any]:
    """What a lifespan gives, while it is entered; None when there is none."""
    if lifespan is None:
        yield None
        return
    manager = lifespan()
    if isinstance(manager, AbstractAsyncContextManager):
        async with manager as resources:
            yield resources
    elif isinstance(manager, AbstractContextManager):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        with manager as resources:
            yield resources
    else:
        raise TypeError(
            f"lifespan gives {type(manager).__name__}, which is no context manager: is @asynccontextmanager missing?"
        )
