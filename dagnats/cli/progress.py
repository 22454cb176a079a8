"""How far a long command is: one line on a terminal, rewritten now and then, and gone at the end."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagnats.cli.option import current

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_AFTER_S = 1.0  # most are done by then
_EVERY_S = 0.2


@contextmanager
def progress(what: str) -> Generator[Callable[..., None]]:
    """Something to tell how many are done, and of how many, when that is known."""
    begun = last = time.monotonic()
    shown = False

    def told(count: int, total: int = 0) -> None:
        nonlocal last, shown
        now = time.monotonic()
        if now - begun < _AFTER_S or now - last < _EVERY_S or not sys.stderr.isatty() or current().json:
            return
        last, shown = now, True
        sys.stderr.write(f"\r{count:,}{f' of {total:,}' if total else ''} {what} …\x1b[K")
        sys.stderr.flush()

    try:
        yield told
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
