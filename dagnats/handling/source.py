"""Which of the user's own lines called us: where problems point, and whose names annotations may use."""

from __future__ import annotations

import inspect
import os
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_PACKAGE = f"{Path(__file__).resolve().parent.parent}{os.sep}"
_TYPING = typing.__file__  # stands between us and whoever writes `Workflow[Order, Receipt](…)`

Place = tuple[str, int]
"""A file and a line. Kept as it is found: turning it into text costs more than most builder calls."""


def caller_place() -> Place:
    """The nearest caller outside this package."""
    frame = _caller()
    return frame.f_code.co_filename, frame.f_lineno


def caller_names() -> dict[str, Any]:
    """The names that the nearest caller outside this package sees as its own."""
    return dict(_caller().f_locals)


def _caller() -> FrameType:
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # the documented way to a caller's line
    while frame.f_back is not None and (is_ours(frame.f_code.co_filename) or frame.f_code.co_filename == _TYPING):
        frame = frame.f_back
    return frame


def is_ours(file: str) -> bool:
    """Whether a file with code belongs to this package."""
    return file.startswith(_PACKAGE)


def shown_place(place: Place) -> str:
    """`file:line`, the file relative to the current folder when it lies below it."""
    file, line = place
    return shown_source(f"{file}:{line}")


def shown_source(source: str) -> str:
    """`source` with the file relative to the current folder when it lies below it."""
    file, _, line = source.rpartition(":")
    path = Path(file)
    here = Path.cwd()
    return f"{path.relative_to(here)}:{line}" if path.is_relative_to(here) else source


def source_of(function: Callable[..., Any]) -> str:
    """`file:line` of a function, or "" when it has no Python source."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
