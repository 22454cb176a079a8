"""The page that says what the engine does, and which tests show it. Run this file after a change of behaviours.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "acceptance.md"
SOURCE = Path(__file__).with_name("behaviours.toml")
_TEST = re.compile(r"^ *(?:async )?def test_(\w+)\(", re.MULTILINE)  # a parser takes twenty times as long


class Behaviour(NamedTuple):
    """A line of the list.

    Attributes:
        section: The heading it stands under.
        says: What the engine does.
        tests: The names of the tests that show it, as the list has them.
    """

    section: str
    says: str
    tests: tuple[str, ...]


class Unknown(Exception):
    """A name in the list that no test has, or several."""


def behaviours() -> list[Behaviour]:
    """The list, in its order."""
    document = tomllib.loads(SOURCE.read_text())
    return [
        Behaviour(section["title"], says, tuple(tests))
        for section in document["section"]
        for says, tests in section["lines"].items()
    ]


@cache
def files_of_tests() -> dict[str, list[str]]:
    """Every test of the suite, without its `test_`, and the files that have one of this name."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in _TEST.findall(path.read_text()):
            found.setdefault(name, []).append(path.relative_to(TESTS).as_posix())
    return found


def file_of(test: str, files: dict[str, list[str]]) -> str:
    """The file that has a test of the list. Raises Unknown when there is none, or more than one."""
    wanted, _, name = test.rpartition("::")
    having = [file for file in files.get(name, []) if file.endswith(f"/{wanted}") or not wanted]
    if len(having) != 1:
        raise Unknown(f"{test!r} names {len(having)} tests: {', '.join(having) or 'none is called so'}")
    return having[0]


def page() -> str:
    """`docs/acceptance.md`."""
    files, lines, section = files_of_tests(), [_HEAD], ""
    for behaviour in behaviours():
        if behaviour.section != section:
            section = behaviour.section
            lines += ["", f"## {section}", "", "| what is so | shown by |", "|---|---|"]
        shown = "<br>".join(_shown(test, files) for test in behaviour.tests)
        lines.append(f"| {behaviour.says} | {shown} |")
    return "\n".join([*lines, ""])


def _shown(test: str, files: dict[str, list[str]]) -> str:
    name = test.rpartition("::")[2].replace("_", " ")
    return f"{name} (`{file_of(test, files)}`)"


_HEAD = """# What the engine does

<!-- made by tests/acceptance/page.py from behaviours.toml beside it; change that, not this file -->

Each line is a promise, and beside it are the tests that break when it does not hold. A test's name is its sentence
with `test_` before it and underscores for spaces; the file is below `tests/`. What stands in `e2e` and `runtime` runs
on a real NATS server, `acceptance` and `simulation` run the real engine and worker in memory, `core` is the pure part
that decides."""

if __name__ == "__main__":
    try:
        PAGE.write_text(page())
    except Unknown as error:
        sys.exit(str(error))
