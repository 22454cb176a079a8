"""Where values come from: flags, the environment, a file. Each layer knows what it said, and where."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, cast

from pydantic_settings import EnvSettingsSource, InitSettingsSource

from dagnats.config.document import MOST_BYTES, Document, Path, path_text, read_document
from dagnats.config.settings import Settings
from dagnats.config.worker import EXEC_KEYS, HTTP_KEYS
from dagnats.errors import ConfigurationError, Problem
from dagnats.model.identifier import near

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FLAGS = {
    "nats_port": "--port",
    "sync": "--sync",
    "retention": "--retention",
    "url": "--server",
    "token": "--token",
    "namespace": "--namespace",
}
_IN_FILES_ONLY = ("worker", "access", "workflows", "policy")
_PLACES = ("data_dir", "token_file")
_WORKER_KEYS = (*EXEC_KEYS, *HTTP_KEYS, "timeout", "max_output_bytes")
_WORKER_VARIABLE = re.compile(r"DAGNATS_WORKER_(?P<task>.+?)_(?P<key>EXEC|HTTP|HTTP_METHOD)")

Layer = tuple[dict[str, Any], dict[Path, str]]
"""Values by key, and where each was said."""


def flag_layer(flags: Mapping[str, Any]) -> Layer:
    """What the command line says; None and "" say nothing."""
    values = {key: value for key, value in flags.items() if value not in (None, "")}
    return values, {(key,): f"flag {FLAGS.get(key, key)}" for key in values}


def environment_layer(tasks: list[str], problems: list[Problem]) -> Layer:
    """What DAGNATS_* variables say.

    Args:
        tasks: The task types that the file configures: only those can be overridden.
        problems: Gets what is wrong.
    """
    values: dict[str, Any] = _Environment(Settings)()
    origins: dict[Path, str] = {(key,): f"environment {_variable(key)}" for key in values}
    for key in _IN_FILES_ONLY:
        if os.environ.get(_variable(key)):
            message = f"{key!r} can be set in the file only"
            problems.append(Problem(key, "unknown-key", message, source=f"environment {_variable(key)}"))
    for variable, text in os.environ.items():
        found = _WORKER_VARIABLE.fullmatch(variable)
        if found is None or not text:
            continue
        task = _task(variable, found["task"], tasks, problems)
        if task:
            key = found["key"].lower()
            values.setdefault("worker", {}).setdefault(task, {})[key] = text
            origins["worker", task, key] = f"environment {variable}"
    return values, origins


class _Environment(EnvSettingsSource):
    """The variables of single values; whole sections are in files."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        if field_name in _IN_FILES_ONLY:
            return None, field_name, False
        return super().get_field_value(field, field_name)


def _variable(key: str) -> str:
    return f"DAGNATS_{key.upper()}"


def _task(variable: str, spelt: str, tasks: list[str], problems: list[Problem]) -> str:
    """The task type that a variable means: the one whose name is spelt so in capitals."""
    by_name: dict[str, list[str]] = {}
    for task in tasks:
        by_name.setdefault(re.sub(r"[-.]", "_", task).upper(), []).append(task)
    meant = by_name.get(spelt, [])
    if len(meant) == 1:
        return meant[0]
    if meant:
        message = f"{variable} means {' and '.join(repr(task) for task in sorted(meant))}"
        hint = "set it in the file"
    else:
        message = f"{variable} is about no worker that is configured"
        close = near(spelt, by_name)
        hint = (
            f"did you mean {variable.replace(spelt, close[0])}?" if close else "configure the worker in the file first"
        )
    problems.append(Problem("worker", "unknown-key", message, hint, f"environment {variable}"))
    return ""


# -- the file ----------------------------------------------------------------------------------------------


def file_layer(file: File, problems: list[Problem]) -> Layer:
    """What a file says."""
    document = _read(file)
    _spread_workers(document)
    problems += document.problems
    _settle_places(document.values, file.absolute().parent)
    return document.values, {path: f"{document.name}:{line}" for path, line in document.lines.items()}


def _read(file: File) -> Document:
    try:
        with file.open("rb") as opened:
            return read_document(opened.read(MOST_BYTES + 1), str(file))
    except OSError as error:
        problem = Problem("", "no-file", f"configuration file {str(file)!r} cannot be read: {error.strerror}")
        raise ConfigurationError("the configuration cannot be read", [problem]) from None


def _spread_workers(document: Document) -> None:
    """Read `worker.<task type>.exec: …` on one line as the mapping it stands for: task types have dots of their own."""
    for key in [key for key in document.values if key.startswith("worker.")]:
        task, _, name = key.removeprefix("worker.").rpartition(".")
        if name not in _WORKER_KEYS or not task or not isinstance(document.values.get("worker", {}), dict):
            continue
        value, line = document.values.pop(key), document.lines.pop((key,))
        entries = cast("dict[str, Any]", document.values.setdefault("worker", {}))
        entry: Any = entries.setdefault(task, {})
        path: Path = ("worker", task, name)
        if not isinstance(entry, dict):
            document.say(line, "duplicate-key", f"worker {task!r} is there twice", "", path_text(path))
        elif name in entry:
            first = document.lines[path]
            document.say(
                line, "duplicate-key", f"key {name!r} is there twice, first on line {first}", "", path_text(path)
            )
        else:
            cast("dict[str, Any]", entry)[name] = value
            document.lines.setdefault(path[:2], line)
            document.lines[path] = line
            _move_lines(document, (key,), path)


def _move_lines(document: Document, before: Path, after: Path) -> None:
    for path in [path for path in document.lines if path[: len(before)] == before]:
        document.lines[(*after, *path[len(before) :])] = document.lines.pop(path)


def _settle_places(values: dict[str, Any], folder: File) -> None:
    """A relative path in a file is relative to the file."""
    for key in _PLACES:
        _settle(values, key, folder)
    access = values.get("access")
    users = cast("dict[str, Any]", access).get("basic") if isinstance(access, dict) else None
    for section, key in ((values.get("worker"), "cwd"), (users, "password_file")):
        for entry in cast("dict[str, Any]", section).values() if isinstance(section, dict) else ():
            if isinstance(entry, dict):
                _settle(cast("dict[str, Any]", entry), key, folder)


def _settle(values: dict[str, Any], key: str, folder: File) -> None:
    given = values.get(key)
    if isinstance(given, str) and given:
        values[key] = str(folder / File(given).expanduser())


def source(layer: Layer) -> InitSettingsSource:
    """A layer as pydantic-settings takes it."""
    return InitSettingsSource(Settings, init_kwargs=layer[0])
