"""Where a server keeps its index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.index.file import index_file

if TYPE_CHECKING:
    from pathlib import Path


def test_each_namespace_has_an_index_of_its_own_in_the_same_folder(tmp_path: Path) -> None:
    found: list[str] = []
    for namespace in ("", "staging", "dev", "staging"):  # one after the other: none is kept out by the one before
        with index_file(tmp_path, "nats://h:1", namespace) as file:
            found.append(file.name)
    assert found[1] == found[3]
    assert len(set(found)) == 3
