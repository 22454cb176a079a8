"""A configuration file as plain values, each with its line.

It is YAML without what a configuration does not need and an attacker does: no anchors, no tags, no second document. A
plain word is text unless it is one of YAML 1.2's numbers, `true`, `false` or `null`: `off` is the word it looks like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from dagnats.errors import Problem

Path = tuple[str | int, ...]
"""Where a value is: `("worker", "lint.run", "env", 0)`."""

MOST_BYTES = 1 << 18
_MOST_DEPTH = 20
_MOST_VALUES = 10_000
_MOST_PROBLEMS = 50
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_LOADER: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml's, where the wheel has it: a hundred times faster


@dataclass
class Document:
    """What a file says.

    Attributes:
        name: The file, as people are told about it.
        values: By key.
        lines: The line of each value, by its path.
        problems: What is wrong with it as a file; where there are some, `values` lacks what they are about.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    lines: dict[Path, int] = field(default_factory=dict[Path, int])
    problems: list[Problem] = field(default_factory=list[Problem])

    def say(self, line: int, rule: str, message: str, hint: str = "", path: str = "") -> None:
        """Note a problem."""
        self.problems.append(Problem(path, rule, message, hint, f"{self.name}:{line}"))


def read_document(data: bytes, name: str) -> Document:
    """What the bytes of a file say. Never raises: everything wrong is among its problems."""
    document = Document(name)
    text = _text(data, document)
    if text is not None:
        reader = _Reader(document)
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                if not reader.take(event):
                    break
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            # The library's own message quotes the line, and the line may hold a token.
            what = getattr(error, "problem", None) or "a character that YAML does not allow"
            document.say(mark.line + 1 if mark is not None else 1, "yaml", f"this is no YAML: {what}")
    return document


def path_text(path: Path) -> str:
    """A path as people write it: `worker.lint.run.env[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _text(data: bytes, document: Document) -> str | None:
    if len(data) > MOST_BYTES:
        document.say(1, "too-large", f"the file is larger than {MOST_BYTES} bytes")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        document.say(line, "encoding", f"byte {error.start} is not UTF-8", "save the file as UTF-8")
        return None
    control = _CONTROL.search(text)
    if control is not None:
        line = text[: control.start()].count("\n") + 1
        document.say(line, "encoding", f"the control character {control.group()!r} cannot be in a configuration")
        return None
    return text


class _Level:
    """A mapping or sequence that is being read."""

    def __init__(self, path: Path, into: dict[str, Any] | list[Any]) -> None:
        self.path = path
        self.into = into
        self.key: str | None = None  # whose value comes next
        self.is_skipped = False  # the value that comes next has no place

    def next_path(self) -> Path:
        return (*self.path, len(self.into) if isinstance(self.into, list) else cast("str", self.key))


class _Reader:
    """Builds values from the parser's events. It keeps its own stack: a file that is nested deeply costs nothing."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._levels: list[_Level] = []
        self._skipping = 0  # how deep we are in a value that has no place
        self._documents = self._values = 0

    def take(self, event: yaml.Event) -> bool:
        """Take the parser's next event; gives whether to go on."""
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._document.say(line, "yaml", "a second document begins; a configuration has one")
                return False
        elif isinstance(event, yaml.AliasEvent):
            self._document.say(line, "anchor", f"the alias *{event.anchor} is not allowed", "write the value out")
            if self._wants_key():
                return False
            self._place(None, line)
        elif isinstance(event, yaml.NodeEvent):
            self._refuse_marks(event, line)
            return self._node(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        return len(self._document.problems) < _MOST_PROBLEMS

    def _node(self, event: yaml.NodeEvent, line: int) -> bool:
        self._values += 1
        if self._values > _MOST_VALUES:
            self._document.say(line, "too-large", f"there are more than {_MOST_VALUES} keys and values")
            return False
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif len(self._levels) + self._skipping >= _MOST_DEPTH:
            self._document.say(line, "too-deep", f"values are nested more than {_MOST_DEPTH} deep")
            return False
        elif self._wants_key():
            self._document.say(line, "yaml", "a key is text, not a list or a mapping")
            return False
        else:
            self._begin({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        return len(self._document.problems) < _MOST_PROBLEMS

    def _refuse_marks(self, event: yaml.NodeEvent, line: int) -> None:
        tag: str | None = getattr(event, "tag", None)
        if event.anchor is not None:
            self._document.say(line, "anchor", f"the anchor &{event.anchor} is not allowed", "write the value out")
        if tag is not None and tag != "!":
            self._document.say(line, "tag", f"the tag {tag!r} is not allowed", "leave it out")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._wants_key():
            self._key(self._levels[-1], event.value, line)
        else:
            self._place(event.value if event.style else _plain(event.value), line)

    def _wants_key(self) -> bool:
        if self._skipping or not self._levels:
            return False
        level = self._levels[-1]
        return isinstance(level.into, dict) and level.key is None

    def _key(self, level: _Level, key: str, line: int) -> None:
        level.key, level.is_skipped = key, key in level.into
        path = level.next_path()
        if level.is_skipped:
            first = self._document.lines[path]
            self._document.say(
                line, "duplicate-key", f"key {key!r} is there twice, first on line {first}", "", path_text(path)
            )
        else:
            self._document.lines[path] = line

    def _begin(self, into: dict[str, Any] | list[Any], line: int) -> None:
        level = self._levels[-1] if self._levels else None
        if self._skipping or (level is not None and level.is_skipped):
            self._skipping += 1
        else:
            path = level.next_path() if level is not None else ()
            self._place(into, line, ends=False)
            self._levels.append(_Level(path, into))

    def _end(self) -> None:
        if self._skipping:
            self._skipping -= 1
            if not self._skipping:
                self._after()
            return
        self._levels.pop()
        self._after()

    def _place(self, value: Any, line: int, *, ends: bool = True) -> None:
        """Put a value where it belongs."""
        if self._skipping:
            return
        if not self._levels:
            self._root(value, line)
            return
        level = self._levels[-1]
        if isinstance(level.into, list):
            self._document.lines[level.next_path()] = line
            level.into.append(value)
        elif level.key is not None and not level.is_skipped:
            level.into[level.key] = value
        if ends:
            self._after()

    def _after(self) -> None:
        """A value has ended: the next scalar of a mapping is a key again."""
        if self._levels:
            self._levels[-1].key, self._levels[-1].is_skipped = None, False

    def _root(self, value: Any, line: int) -> None:
        if isinstance(value, dict):
            self._document.values = cast("dict[str, Any]", value)
        elif value is not None:
            self._document.say(line, "yaml", "a configuration is a mapping: lines such as `nats_port: 4222`")


def _plain(text: str) -> Any:
    """What a word without quotes means, by YAML 1.2's core schema; a number that is too long is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) and not text.isdigit() else text
