"""What is kept under a key: snapshots, definitions, claims, payloads, and what one writer keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Stored(NamedTuple):
    """A stored value.

    Attributes:
        revision: What a compare-and-set needs.
        time_ns: The server's time for it.
        used_ns: Of a version of a definition: when it was last known to be needed.
    """

    revision: int
    data: bytes
    time_ns: int = 0
    used_ns: int = 0


class Snapshots(Protocol):
    """Runs as they were at some event: a cache of the log. Of any size."""

    async def load(self, run_id: str) -> Stored | None:
        """A run's snapshot. One that cannot be put together has data that no decoder takes."""
        ...

    def save(self, run_id: str, data: bytes, *, revision: int) -> Awaitable[int]:
        """Replace revision `revision` (0: there is none) and give the new one.

        Awaiting it raises ConflictError when another revision is there, which may be this very snapshot, stored by a
        try whose answer was lost; RefusedError when it will never be taken.
        """
        ...

    async def purge(self) -> None:
        """Forget all of them."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget a run's."""
        ...


class Definitions(Protocol):
    """Registered workflows: every version under its content hash, the newest under the name."""

    async def newest(self, name: str) -> Stored | None: ...

    async def version(self, name: str, identity: str) -> bytes | None: ...

    async def versions(self, name: str) -> dict[str, Stored]:
        """Every version of a name by its content hash, in no order."""
        ...

    async def add_version(self, name: str, identity: str, data: bytes) -> None:
        """Have a version stored, and known to be needed today; one that is there already keeps its content.

        To be called before a run is started by it, and before another one is made the newest in its place.
        """
        ...

    async def remove_version(self, name: str, identity: str, *, revision: int) -> None:
        """Forget a version. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def set_newest(self, name: str, data: bytes, *, revision: int) -> None:
        """Point the name at a definition. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def remove(self, name: str, *, revision: int) -> None:
        """Forget a name; its versions stay. Raises ConflictError when `revision` is not the stored one."""
        ...

    async def names(self) -> list[str]: ...


class Claims(Protocol):
    """Names that the first one to ask for them gets, for a day."""

    async def claim(self, name: str, owner: str) -> str:
        """Who has `name`, a key of letters and digits: `owner` from now on, unless somebody had it already."""
        ...


class Blobs(Protocol):
    """Payloads that are too large for a message, each under its run and the SHA-256 of its bytes."""

    async def put(self, run_id: str, sha256: str, data: bytes) -> None:
        """Store `data`, which is not empty, for as long as it takes. Storing it again changes nothing.

        Raises:
            RefusedError: It will never be taken.
        """
        ...

    async def get(self, run_id: str, sha256: str, size: int) -> bytes | None:
        """What is stored for `size` bytes: the asker checks it. None when it is not there, or not all of it."""
        ...

    async def remove(self, run_id: str) -> None:
        """Forget all of a run's."""
        ...

    async def run_ids(self) -> list[str]:
        """The runs that have some."""
        ...

    async def newest_ns(self, run_id: str) -> int:
        """The server's time for the last that was stored of a run's; 0 when it has none."""
        ...


class Secrets(Protocol):
    """Keys that all parts of a server share."""

    async def key(self, name: str) -> bytes:
        """32 random bytes, made by whoever asks first. `name` is letters and dashes."""
        ...


class Cell(Protocol):
    """One value that engines share, replaced by compare-and-set."""

    async def read(self) -> Stored | None: ...

    async def write(self, data: bytes, *, revision: int) -> int:
        """Replace revision `revision` (0: there is none) and give the new one. Raises ConflictError."""
        ...

    async def changed(self, most_s: float) -> None:
        """Return when somebody may have written it, or after `most_s` at the latest."""
        ...


class Dial(Protocol):
    """Where operators see how far the engine is: the durable consumer `orchestrator`."""

    async def show(self, seq: int) -> None:
        """Everything up to `seq` is decided. May raise any DagnatsError; nothing depends on it."""
        ...
