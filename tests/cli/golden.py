"""The examples of the command reference, and what it means that something prints what they show.

Ids, times, numbers and `...` stand for any. In text, columns may be any number of spaces apart. Of JSON, every member
that an example shows is there; there may be more.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).resolve().parent.parent / "golden"


class Example(NamedTuple):
    """One example.

    Attributes:
        line: The command as the reference types it.
        name: Its text's, or "" where there is none.
        why: Why there is none.
        more: Whether other lines may be between those of the example.
        open: Whether lines may go on.
        adds: Words that the command needs here besides.
        exit: Its exit code.
        says: Words of the text, and what is said here instead.
    """

    line: str
    name: str = ""
    why: str = ""
    more: bool = False
    open: bool = False
    adds: tuple[str, ...] = ()
    exit: int = 0
    says: Mapping[str, str] = {}

    @property
    def words(self) -> list[str]:
        """The command's words behind `dagnats`."""
        return shlex.split(self.line)[1:]

    @property
    def lines(self) -> list[str]:
        """What it prints."""
        text = _text(self.name)
        for word, ours in self.says.items():
            text = text.replace(word, ours)
        return text.splitlines()[1:]


def examples() -> list[Example]:
    """All of them, in the reference's order."""
    listed: list[dict[str, Any]] = tomllib.loads((FOLDER / "index.toml").read_text())["example"]
    return [Example(name=each.pop("text", "").removesuffix(".txt"), **each) for each in listed]


def _text(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text()


def differs(example: Example, printed: str) -> str:
    """Why `printed` is not what the example shows; "" when it is."""
    if "--json" in example.words:
        value = json.loads(printed)
        return "" if not example.lines or _fits(_example_value(example.lines[0]), value, example.more) else printed
    lines = [line for line in example.lines if line.strip()]
    shown = [line for line in printed.splitlines() if line.strip()]
    return _unlike([(_pattern(line, open=example.open), line) for line in lines], shown, more=example.more)


def _unlike(wanted: list[tuple[re.Pattern[str] | None, str]], shown: list[str], *, more: bool) -> str:
    """The first line that is missing, or too many; "" when there is none."""
    rows = [pattern for pattern, line in wanted if pattern is not None and _WILD.search(line)]
    at, skips = 0, more or not wanted
    for pattern, line in wanted:
        if pattern is None:  # any lines
            skips = True
            continue
        while at < len(shown) and not pattern.fullmatch(shown[at].strip()):
            if not (skips or any(row.fullmatch(shown[at].strip()) for row in rows)):
                return f"not in the example: {shown[at]!r}"
            at += 1
        if at == len(shown):
            return f"missing: {line!r}"
        at, skips = at + 1, more
    left = [line for line in shown[at:] if not any(row.fullmatch(line.strip()) for row in rows)]
    ends_open = skips or (bool(wanted) and wanted[-1][0] is None)
    return "" if ends_open or not left else f"not in the example: {left[0]!r}"


# -- wildcards ---------------------------------------------------------------------------------------------

_TIME = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?|\d\d:\d\d:\d\d"
_ID = r"(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{4,32}(?:\.\.+)?"
_NUMBER = r"\d+(?:\.\d+)?"
_UNIT = r"[KMG]iB|B\b"
_WILD = re.compile(
    rf"(?P<time>{_TIME})|(?P<id>\b{_ID})|(?P<any>\.\.\.)|(?P<number>{_NUMBER})|(?P<unit>(?<=\d )(?:{_UNIT}))"
)
_STANDS_FOR = {
    "time": rf"(?:{_TIME})",
    "id": r"(?:[0-9A-Za-z_.-]+|-)",
    "any": r".*",
    "number": rf"(?:{_NUMBER})",
    "unit": rf"(?:{_UNIT})",
}


def _pattern(line: str, *, open: bool) -> re.Pattern[str] | None:
    """What a line may look like; None where it stands for any lines."""
    line = line.strip()
    if line == "..." or line.startswith("[events stream"):
        return None
    made, at = "", 0
    for found in _WILD.finditer(line):
        made += _literal(line[at : found.start()]) + _STANDS_FOR[str(found.lastgroup)]
        at = found.end()
    made = re.sub(r'"\\}$', r'"(?:, .*)?\\}', made + _literal(line[at:]))  # an object may have more members
    return re.compile(made + (r".*" if open else ""))


def _literal(text: str) -> str:
    return re.sub(r"(?:\\ )+", r"\\s+", re.escape(text)).replace('":', r'":\s*')


# -- JSON --------------------------------------------------------------------------------------------------


def _example_value(text: str) -> Any:
    """The value that an example shows in short: `[...]` and `,...` are no JSON."""
    return json.loads(text.replace("[...]", '["..."]').replace(",...", ""))


def _fits(wanted: Any, found: Any, more: bool) -> bool:
    if isinstance(wanted, dict):
        members = cast("dict[str, Any]", wanted)
        return isinstance(found, dict) and all(
            key in found and _fits(value, found[key], more) for key, value in members.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and _all_fit(cast("list[Any]", wanted), cast("list[Any]", found), more)
    if isinstance(wanted, str):
        return isinstance(found, str) and bool(re.fullmatch(_of_text(wanted), found))
    return type(found) is type(wanted) and (
        (isinstance(wanted, int) and not isinstance(wanted, bool)) or found == wanted
    )


def _all_fit(wanted: list[Any], found: list[Any], more: bool) -> bool:
    if wanted == ["..."]:
        return bool(found)
    if more:
        return all(any(_fits(each, one, more) for one in found) for each in wanted)
    return len(wanted) == len(found) and all(_fits(*pair, more) for pair in zip(wanted, found, strict=True))


def _of_text(wanted: str) -> str:
    pattern = _pattern(wanted, open=False)
    return pattern.pattern if pattern is not None else ".*"
