"""The Python files of a project, and whether they are others than a moment ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SKIPPED = {"__pycache__", "build", "dist", "node_modules", "site-packages", "vendor"}
_ENVIRONMENT = "pyvenv.cfg"  # what a virtual environment has in its folder

_Trace = dict[str, tuple[int, int]]


class Sources:
    """What is below a folder. Tests, hidden folders and virtual environments do not count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trace = self._look()

    def __len__(self) -> int:
        return len(self._trace)

    def have_changed(self) -> bool:
        """Whether a file has changed, come or gone since the last call."""
        before, self._trace = self._trace, self._look()
        return self._trace != before

    def _look(self) -> _Trace:
        found: _Trace = {}
        for file in _python_files(self._folder):
            try:
                state = file.stat()
            except OSError:  # it has gone this moment
                continue
            found[str(file)] = (state.st_mtime_ns, state.st_size)
        return found


def _python_files(folder: Path) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:  # it is nobody's to look into, or has gone
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.suffix == ".py" and not _is_test(entry.name):
            yield entry
        elif _is_project(entry):
            yield from _python_files(entry)


def _is_project(entry: Path) -> bool:
    is_folder = entry.name not in _SKIPPED and not entry.is_symlink() and entry.is_dir()
    return is_folder and not (entry / _ENVIRONMENT).exists()


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
