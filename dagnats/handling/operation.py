"""What a context asks of whoever runs its handler: a worker, or a test. Values are JSON, as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from concurrent.futures import Future
    from datetime import datetime, timedelta

    from dagnats.handling.plane import PlaneOperations
    from dagnats.handling.verdict import Verdict

T = TypeVar("T")


class Kept(NamedTuple):
    """A stored checkpoint.

    Attributes:
        data: JSON; any bytes when it is foreign.
        foreign: Whether a worker stored it that is none of ours.
    """

    data: bytes
    foreign: bool = False


class Operations(Protocol):
    """Everything for one attempt. All of it may raise a DagnatsError."""

    verdict: Verdict | None
    """What the handler has said of its attempt's end, without returning."""

    @property
    def metadata(self) -> Mapping[str, str]: ...

    @property
    def deadline(self) -> datetime | None: ...

    @property
    def trace(self) -> str: ...

    @property
    def resources(self) -> Any: ...

    @property
    def control_plane(self) -> PlaneOperations | None:
        """What the step may ask of the control plane; None where it is granted none."""
        ...

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Do something of this in its own place, for a handler in a thread."""
        ...

    async def run_input(self) -> bytes: ...

    async def output(self, step_id: str) -> bytes:
        """What an ancestor has returned; b"" when it was skipped. Raises NotFoundError."""
        ...

    async def start(self, workflow: str, input: bytes, key: str) -> str:
        """Start a run, once however often the attempt is repeated; gives its id. Without a key its place counts."""
        ...

    async def heartbeat(self, details: bytes) -> None: ...

    async def heartbeat_details(self) -> bytes:
        """What earlier attempts have said last; b"" for nothing."""
        ...

    async def progress(self, fraction: float, message: str) -> None: ...

    async def checkpoint(self, value: bytes) -> None: ...

    async def load_checkpoint(self) -> Kept | None: ...

    async def wait_for_signal(self, name: str, within: timedelta) -> bytes:
        """The oldest signal of a name that the step has not taken. Raises TimeoutError."""
        ...

    async def send_signal(self, run_id: str, name: str, value: bytes) -> None: ...

    async def stream(self, chunk: bytes) -> int:
        """Add a chunk to what the step streams; gives its offset."""
        ...

    async def emit_event(self, type: str, body: bytes, key: str) -> None: ...

    async def waitpoint_token(self, step: str) -> str:
        """The token for a waiting step of the same run. Raises NotFoundError, ConflictError."""
        ...
