"""Which of the user's own lines called a builder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGE = f"{Path(__file__).resolve().parent.parent}{os.sep}"


def caller_source() -> str:
    """`file:line` of the nearest caller outside this package; files below the current folder are relative."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]  # the documented way to a caller's line
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return shown_source(f"{frame.f_code.co_filename}:{frame.f_lineno}")


def is_ours(file: str) -> bool:
    """Whether a file with code belongs to this package."""
    return file.startswith(_PACKAGE)


def shown_source(source: str) -> str:
    """`source` with the file relative to the current folder when it lies below it."""
    file, _, line = source.rpartition(":")
    path = Path(file)
    here = Path.cwd()
    return f"{path.relative_to(here)}:{line}" if path.is_relative_to(here) else source
