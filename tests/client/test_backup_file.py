"""A backup's file: read as it was written, or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from dagnats.client.backup_file import NAMESPACED, About, BackupFile, Held, writing
from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from pathlib import Path

ABOUT = About(format=1, id="abc", taken_at="2026-11-21T10:00:00Z", dagnats="1.0")
EVENTS = Held(config={"name": "EVENTS"}, state={"messages": 2, "bytes": 9_000_000})
EMPTY = Held(config={"name": "KV_x"}, state={"messages": 0, "bytes": 0})


def written(file: Path, *pieces: bytes, about: About = ABOUT) -> bytes:
    with writing(file) as out:
        out.begin(about)
        out.begin_stream("EVENTS", EVENTS)
        for piece in pieces:
            out.add(piece)
        out.begin_stream("KV_x", EMPTY)
        out.note_removed([("gone", 7)])
    return file.read_bytes()


def test_what_was_written_is_read_and_only_its_owner_may(tmp_path: Path) -> None:
    file, image = tmp_path / "b.tar", bytes(range(256)) * 40_000
    written(file, image[:100], image[100:5_000_000], image[5_000_000:])
    found = BackupFile.checked(file)
    assert (found.about, dict(found.streams)) == (ABOUT, {"EVENTS": EVENTS, "KV_x": EMPTY})
    assert found.removed == (("gone", 7),)
    assert (found.messages, found.bytes, found.size("EVENTS")) == (2, len(image), len(image))
    pieces = list(found.pieces("EVENTS", 1000))
    assert b"".join(pieces) == image
    assert max(map(len, pieces)) == 1000
    assert list(found.pieces("KV_x", 1000)) == []
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_its_checksums_are_those_that_other_programs_compute(tmp_path: Path) -> None:
    written(tmp_path / "b.tar", b"one", b"two")
    with tarfile.open(tmp_path / "b.tar") as tar:
        held = {member.name: tar.extractfile(member) for member in tar}
        lines = [line.split("  ") for line in held.pop("SHA256SUMS").read().decode().splitlines()]  # pyright: ignore[reportOptionalMemberAccess]
        assert {name: digest for digest, name in lines} == {
            name: hashlib.sha256(content.read()).hexdigest() for name, content in held.items() if content is not None
        }


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    whole = written(file, b"x" * 700)
    end = whole.rindex(b"removed.json") + len(b"removed.json\n")  # the last of the checksums
    for size in range(0, end, 256):
        file.write_bytes(whole[:size])
        with pytest.raises(DagnatsError, match=r"is no backup|cut off"):
            BackupFile.checked(file)


def test_a_changed_byte_is_found_or_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    whole, found = written(file, b"x" * 700), 0
    for at in range(0, len(whole), 89):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            read = BackupFile.checked(file)
        except DagnatsError:
            found += 1
            continue
        assert (read.about, dict(read.streams)) == (ABOUT, {"EVENTS": EVENTS, "KV_x": EMPTY})
        assert b"".join(read.pieces("EVENTS", 64)) == b"x" * 700
    assert found > 20


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100], ids=["empty", "other"])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "b.tar").write_bytes(data)
    with pytest.raises(DagnatsError, match="is no backup"):
        BackupFile.checked(tmp_path / "b.tar")


def test_another_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../etc/passwd"), io.BytesIO())
    with pytest.raises(DagnatsError, match="is no backup"):
        BackupFile.checked(tmp_path / "b.tar")


def test_a_file_of_a_later_version_says_so(tmp_path: Path) -> None:
    later = About(format=NAMESPACED + 1, id="abc", taken_at="", dagnats="9.0")
    with pytest.raises(DagnatsError, match="later version"):
        written(tmp_path / "b.tar", b"x", about=later)


def test_a_backup_that_is_broken_off_leaves_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    before = written(file, b"one")

    def break_off() -> None:
        with writing(file) as out:
            out.begin(ABOUT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
