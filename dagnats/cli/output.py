"""Everything the commands write: text, tables and JSON. Colour only on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "cyan": 36}
_GAP = "  "


class PipeClosed(Exception):
    """Whoever read our output has gone away: `dagnats … | head`."""


class Paint(Protocol):
    """Gives text its styles, or leaves it as it is."""

    def __call__(self, text: str, *styles: str) -> str: ...


def say(text: str = "", *, err: bool = False) -> None:
    """Write a line to stdout (or stderr) at once: the next one may be a long time coming."""
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except BrokenPipeError:
        raise PipeClosed from None


def pour(data: bytes) -> None:
    """Write bytes to stdout as they are, at once; where it takes text only, as in a notebook, as text."""
    try:
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            sys.stdout.write(data.decode(errors="replace"))
        else:
            buffer.write(data)  # nothing else is waiting: `say` leaves nothing behind
        sys.stdout.flush()
    except BrokenPipeError:
        raise PipeClosed from None


def emit(value: Any) -> None:
    """Write a JSON value to stdout as people can read it."""
    say(json.dumps(value, indent=2, ensure_ascii=False))


def emit_line(value: Any) -> None:
    """Write a JSON value to stdout as one line of many."""
    say(json_text(value))


def json_text(value: Any) -> str:
    """A JSON value on one line."""
    return json.dumps(value, ensure_ascii=False)


# -- colour ------------------------------------------------------------------------------------------------


def plain(text: str, *styles: str) -> str:
    """Paint for pipes and files."""
    return text


def paint(text: str, *styles: str) -> str:
    """Paint for stdout."""
    return _painted(text, styles) if _has_colour(sys.stdout.isatty()) else text


def paint_err(text: str, *styles: str) -> str:
    """Paint for stderr."""
    return _painted(text, styles) if _has_colour(sys.stderr.isatty()) else text


def _painted(text: str, styles: Sequence[str]) -> str:
    codes = ";".join(str(_CODES[style]) for style in styles)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def _has_colour(terminal: bool) -> bool:
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# -- fitting -----------------------------------------------------------------------------------------------


def columns() -> int:
    """How wide the terminal is; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def room() -> int | None:
    """The width that lines have to fit; None in a pipe or file, where nothing is cut."""
    return columns() if sys.stdout.isatty() else None


def one_line(text: str) -> str:
    """`text` on one line and without control characters: errors and outputs are other people's."""
    joined = " ".join(text.split())
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in joined)


def display_width(text: str) -> int:
    """How many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(sign) for sign in text)


def _cells(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut(text: str, width: int | None) -> str:
    """`text`, ended with `…` where it would not fit `width` cells."""
    if width is None or display_width(text) <= width:
        return text
    taken, used = "", 1
    for sign in text:
        used += _cells(sign)
        if used > width:
            break
        taken += sign
    return f"{taken}…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """`text` with spaces behind it up to `width` cells."""
    return text + " " * (width - display_width(text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Lines of aligned columns, two spaces apart; cut to `width` when one is given."""
    lines = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(display_width(line[at]) for line in lines) for at in range(len(header))]
    return [cut(_GAP.join(pad(cell, widths[at]) for at, cell in enumerate(line)).rstrip(), width) for line in lines]


def counted(count: int, noun: str) -> str:
    """`1 step`, `5 steps`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size_text(size: int) -> str:
    """Bytes as people read them: `12.3 MiB`."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("the last unit takes everything")
