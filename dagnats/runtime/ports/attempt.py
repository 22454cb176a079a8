"""What an attempt leaves for the next one, and for whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Checkpoint(NamedTuple):
    """What a step has stored of its own.

    Attributes:
        revision: What a compare-and-set needs.
        data: As it was stored.
        attempt: Who stored it; 0 for a worker that does not say.
        note: What we have stored with it; b"" for a worker that does not know of notes.
    """

    revision: int
    data: bytes
    attempt: int = 0
    note: bytes = b""


class Checkpoints(Protocol):
    """One value of each step, which its next attempt finds."""

    async def load(self, run_id: str, step_id: str) -> Checkpoint | None: ...

    async def save(
        self, run_id: str, step_id: str, data: bytes, *, attempt: int, note: bytes = b"", revision: int
    ) -> int:
        """Replace revision `revision` (0: there is none) and give the new one. Tried once.

        Raises:
            ConflictError: Another revision is there, or this one, from a try that got no answer.
            RefusedError: It will never be taken.
        """
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...


class Pulses(Protocol):
    """The newest that each running step has said of itself: for its next attempt, and for people."""

    async def put(self, run_id: str, step_id: str, data: bytes) -> None:
        """Show it in place of the last one. Raises RefusedError when it will never be taken."""
        ...

    async def newest(self, run_id: str, step_id: str) -> bytes | None: ...

    async def of(self, run_id: str) -> dict[str, bytes]:
        """Those of all steps of a run."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...


MOST_CHUNKS = 10_000
"""So many chunks are kept of each step."""


MOST_CHUNKS_BYTES = 16 * 1024 * 1024
"""So many bytes are kept of each step's chunks, a little more at times."""


MOST_CHUNK_BYTES = 256 * 1024
"""So many bytes a chunk has at most."""


class Chunk(NamedTuple):
    """A piece of what a step streams.

    Attributes:
        offset: Its place among the step's, from 0. The oldest are forgotten when there are too many: then the first
            that can be read has a larger one. Chunks of workers that do not number them are counted from the last one
            before them that has a number, or from the oldest that is kept.
        data: Its bytes.
        attempt: Who streamed it; 0 for a worker that does not say.
        time_ns: The server's time for it.
    """

    offset: int
    data: bytes
    attempt: int = 0
    time_ns: int = 0


class Chunks(Protocol):
    """What steps stream while they run. Whoever comes late can read what was streamed already."""

    async def append(self, run_id: str, step_id: str, data: bytes, *, attempt: int) -> int:
        """Add a chunk behind the step's others, for as long as it takes; gives its offset.

        Raises:
            RefusedError: It has more than `MOST_CHUNK_BYTES`, or will never be taken.
        """
        ...

    async def read(self, run_id: str, step_id: str, *, start: int = 0) -> list[Chunk]:
        """A step's chunks from offset `start`, in order."""
        ...

    def watch(self, run_id: str, step_id: str, *, start: int = 0) -> AsyncGenerator[Chunk]:
        """A step's chunks from offset `start`, then the ones that follow, without end."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...
