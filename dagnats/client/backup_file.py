"""A backup's file: a plain tar of streams in pieces, with a checksum of each at its end.

    dagnats-backup.json                    what it is: format, id, when it was taken
    streams/WORKFLOW_HISTORY/stream.json   how the stream was set, and what it held
    streams/WORKFLOW_HISTORY/000001        its image, in pieces
    …
    removed.json                           runs that were removed since the history was copied
    SHA256SUMS                             of all the above; `sha256sum -c` reads it

The checksums come last: a file that was cut off has none.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

FORMAT = 1
NAMESPACED = 2
"""The same, of a namespace: earlier versions would restore it as one without."""

_ABOUT = "dagnats-backup.json"
_REMOVED = "removed.json"
_SUMS = "SHA256SUMS"
_STREAM = re.compile(r"streams/([A-Za-z0-9_-]+)/(stream\.json|[0-9]{6,})")
_PART_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024
_MOST_JSON_BYTES = 64 * 1024 * 1024


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of itself.

    Attributes:
        format: How it is written. Another number is another way.
        id: Made up for it.
        taken_at: When it was begun.
        dagnats: The version that took it.
        namespace: Whose messages these are: their subjects have it before them. All other names are bare.
    """

    format: int
    id: str
    taken_at: str
    dagnats: str
    namespace: str = ""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A stream in a backup.

    Attributes:
        config: How it was set.
        state: What the server said of it when its image was begun.
    """

    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def messages(self) -> int:
        """How many it held."""
        return self.state["messages"]

    @property
    def bytes(self) -> int:
        """How large they were together."""
        return self.state["bytes"]


class BackupWriter:
    """Writes a backup. Get one from `writing`.

    Attributes:
        written: What was written, read back; None before the file is whole.
        last: The last event of the history that is in it.
    """

    def __init__(self, out: IO[bytes]) -> None:
        self.written: BackupFile | None = None
        self.last = 0
        self._tar = tarfile.open(fileobj=out, mode="w:", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # see `close`
        self._sums: list[str] = []
        self._stream = ""
        self._parts = 0
        self._waiting = bytearray()

    def begin(self, about: About) -> None:
        """The first thing in it."""
        self._add(_ABOUT, msgspec.json.encode(about))

    def begin_stream(self, name: str, held: Held) -> None:
        """What `add` is given from now on is of this stream."""
        self._flush()
        self._stream, self._parts = name, 0
        self._add(f"streams/{name}/stream.json", msgspec.json.encode(held))

    def add(self, piece: bytes) -> None:
        """The next piece of the stream's image."""
        self._waiting += piece
        if len(self._waiting) >= _PART_BYTES:
            self._flush()

    def note_removed(self, runs: Sequence[tuple[str, int]]) -> None:
        """Runs, each with its last event, that may lack something in here: they leave with the restore."""
        self._flush()
        self._add(_REMOVED, msgspec.json.encode(runs))

    def close(self) -> None:
        """Write the end: with it the file is whole."""
        self._flush()
        self._put(_SUMS, "".join(self._sums).encode())
        self._tar.close()

    def _flush(self) -> None:
        if self._waiting:
            self._parts += 1
            self._add(f"streams/{self._stream}/{self._parts:06}", bytes(self._waiting))
            self._waiting.clear()

    def _add(self, name: str, data: bytes) -> None:
        self._sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
        self._put(name, data)

    def _put(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o600
        self._tar.addfile(member, io.BytesIO(data))


@contextmanager
def writing(file: Path) -> Generator[BackupWriter]:
    """Write a backup: `file` is there, checked and on disk, when this ends well, and otherwise as it was before.

    Only its owner may read it: the secrets of the installation are in it.
    """
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            writer = BackupWriter(out)
            yield writer
            writer.close()
            out.flush()
            os.fsync(out.fileno())
        checked = BackupFile.checked(fresh)
        fresh.replace(file)
        writer.written = BackupFile(file, checked.about, checked.streams, checked.parts, checked.removed)
    finally:
        fresh.unlink(missing_ok=True)


class _Place(NamedTuple):
    """Where a member's data is in the file."""

    offset: int
    size: int


class BackupFile:
    """A backup whose every byte was compared with its checksum.

    Attributes:
        about: What it says of itself.
        streams: What it holds, in the order in which it was taken.
        bytes: How large the images are together, as they lie in the file.
        file: Where it lies.
        parts: Where in it each stream's image lies.
        removed: The runs that are not to be restored, each with its last event.
    """

    def __init__(
        self,
        file: Path,
        about: About,
        streams: dict[str, Held],
        parts: dict[str, list[_Place]],
        removed: tuple[tuple[str, int], ...],
    ) -> None:
        self.about = about
        self.streams = streams
        self.bytes = sum(part.size for each in parts.values() for part in each)
        self.file = file
        self.parts = parts
        self.removed = removed

    @property
    def messages(self) -> int:
        """How many messages all its streams held."""
        return sum(held.messages for held in self.streams.values())

    @classmethod
    def checked(cls, file: Path, told: Callable[[int, int], None] | None = None) -> BackupFile:
        """Read a whole file.

        Args:
            told: Called now and then with how many bytes are read, and of how many.

        Raises:
            DagnatsError: It is no backup, is damaged or cut off, or was written by a later version.
            OSError: It cannot be read.
        """
        size = file.stat().st_size
        with file.open("rb") as source:
            reading = _Reading(file, source)
            for at in reading.members():
                if told is not None:
                    told(at, size)
        reading.expect_whole()
        return cls(file, reading.about(), reading.streams(), reading.parts, reading.removed())

    def size(self, stream: str) -> int:
        """How large the image of a stream is."""
        return sum(part.size for part in self.parts.get(stream, ()))

    def pieces(self, stream: str, size: int) -> Iterator[bytes]:
        """The image of a stream, in pieces of `size` bytes at most."""
        with self.file.open("rb") as source:
            for part in self.parts.get(stream, ()):
                source.seek(part.offset)
                left = part.size
                while left:
                    piece = source.read(min(size, left))
                    if not piece:
                        raise _bad(self.file, "it has become shorter while it was read")
                    left -= len(piece)
                    yield piece


class _Reading:
    """What has been read of a file so far."""

    def __init__(self, file: Path, source: IO[bytes]) -> None:
        self.parts: dict[str, list[_Place]] = {}
        self._file = file
        self._source = source
        self._sums: dict[str, str] = {}
        self._said: str | None = None
        self._documents: dict[str, bytes] = {}

    def members(self) -> Iterator[int]:
        """Read on, member by member; gives how far that is."""
        try:
            with tarfile.open(fileobj=self._source, mode="r:") as tar:
                for member in tar:
                    self._take(tar, member)
                    yield member.offset_data + member.size
        except (tarfile.TarError, EOFError) as error:
            if not self._documents:
                raise _bad(self._file, "it is no backup") from None
            raise _bad(self._file, f"it is damaged or cut off ({error})") from None

    def _take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        name = member.name
        if self._said is not None or name in self._sums or not member.isreg():
            raise _bad(self._file, f"{name!r} is not expected where it is")
        if not self._documents and name != _ABOUT:
            raise _bad(self._file, "it is no backup")
        is_document = name in (_ABOUT, _REMOVED, _SUMS) or name.endswith("/stream.json")
        if is_document and member.size > _MOST_JSON_BYTES:
            raise _bad(self._file, f"{name!r} has {member.size} bytes")
        content = tar.extractfile(member)
        assert content is not None, "it is a regular file"
        digest, whole = hashlib.sha256(), bytearray()
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
            if is_document:
                whole += block
        if name == _SUMS:
            self._said = whole.decode(errors="replace")
            return
        self._sums[name] = digest.hexdigest()
        if is_document:
            self._documents[name] = bytes(whole)
        if name == _ABOUT:
            self.about()  # what follows may be written in another way
        elif name != _REMOVED:
            self._note_place(member, is_part=not is_document)

    def _note_place(self, member: tarfile.TarInfo, *, is_part: bool) -> None:
        found = _STREAM.fullmatch(member.name)
        if found is None:
            raise _bad(self._file, f"{member.name!r} is not known")
        if is_part:
            self.parts.setdefault(found[1], []).append(_Place(member.offset_data, member.size))

    def expect_whole(self) -> None:
        """Raise DagnatsError when something is missing, or is not as it was written."""
        if self._said is None:
            raise _bad(self._file, "it is cut off: its checksums, which come last, are missing")
        said = dict(line.split("  ", 1)[::-1] for line in self._said.splitlines() if "  " in line)
        wrong = [name for name in {**said, **self._sums} if said.get(name) != self._sums.get(name)]
        if wrong:
            raise _bad(self._file, f"it is damaged: {wrong[0]} is not what was written")

    def about(self) -> About:
        """What the file says of itself. Raises DagnatsError for one of a later version."""
        data = self._documents[_ABOUT]
        try:
            if msgspec.json.decode(data)["format"] not in (FORMAT, NAMESPACED):
                raise _bad(self._file, "it was written by a later version of DagNats, which is needed to read it")
            return msgspec.json.decode(data, type=About)
        except (msgspec.DecodeError, KeyError, TypeError):
            raise _bad(self._file, "it is no backup") from None

    def removed(self) -> tuple[tuple[str, int], ...]:
        """The runs that are not to be restored."""
        return msgspec.json.decode(self._documents.get(_REMOVED, b"[]"), type=tuple[tuple[str, int], ...])

    def streams(self) -> dict[str, Held]:
        """What it holds, by name."""
        found: dict[str, Held] = {}
        for name, data in self._documents.items():
            if name not in (_ABOUT, _REMOVED):
                found[name.split("/")[1]] = msgspec.json.decode(data, type=Held)
        return found


def _bad(file: Path, why: str) -> DagnatsError:
    return DagnatsError(f"{file} cannot be restored: {why}", hint="nothing was changed; take another backup")
