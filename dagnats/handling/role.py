"""Narrower contexts, for handlers that want their annotation to say what they use. They get the whole context.

`TaskContext` has all of them. A handler annotated with one of these can be tested with a small class of one's own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Never, Protocol, TypeVar

if TYPE_CHECKING:
    from datetime import timedelta

T = TypeVar("T")


class Simple(Protocol):
    """Knows which attempt it is."""

    @property
    def run_id(self) -> str: ...
    @property
    def step_id(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def is_cancelled(self) -> bool: ...
    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]: ...


class Checkpointing(Simple, Protocol):
    """Stores how far it is, and goes on from there."""

    async def checkpoint(self, value: Any) -> None: ...
    async def load_checkpoint(self, type: type[T]) -> T | None: ...
    async def pause(self, delay: timedelta | str) -> Never: ...


class Looping(Checkpointing, Protocol):
    """Runs in turns."""

    @property
    def iteration(self) -> int: ...
    @property
    def previous(self) -> Any: ...


class Streaming(Simple, Protocol):
    """Shows its result as it comes."""

    async def stream(self, chunk: bytes | str) -> int: ...
    async def progress(self, fraction: float, message: str = "") -> None: ...


class Signalling(Simple, Protocol):
    """Waits for signals, and sends them."""

    async def wait_for_signal(self, name: str, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...
    async def send_signal(self, run_id: str, name: str, value: Any = None) -> None: ...


ROLES = (Simple, Checkpointing, Looping, Streaming, Signalling)
