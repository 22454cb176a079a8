"""The options every command takes, wherever they stand on the line."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS = {"--json": "json", "--debug": "debug", "--version": "version", "-v": "version"}
_VALUES = {
    "--server": "server",
    "--token": "token",
    "--namespace": "namespace",
    "--context": "context",
    "--config": "config",
}
_OWN: dict[tuple[str, ...], str] = {("run", "approve"): "--token", ("run", "reject"): "--token"}
"""An option that a command has of its own, which means that one behind its name."""
_NEGATIVE_NUMBER = re.compile(r"-(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class UsageError(DagnatsError):
    """The line was understood, but asks for something that cannot be."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for every command.

    Attributes:
        json: Print JSON, also for errors.
        debug: Show the traceback of an error.
        version: Only print the version.
        server: Which server to talk to; "" finds one (see `dagnats.client.connect`).
        token: For that server.
        namespace: Which of the installations on that server; "" finds it as `server` is found.
        context: Which server, by the name that it was given (see `dagnats.config.context`).
        config: The configuration file; "" looks for one (see `dagnats.config`).
    """

    json: bool = False
    debug: bool = False
    version: bool = False
    server: str = ""
    token: str = ""
    namespace: str = ""
    context: str = ""
    config: str = ""


_current: ContextVar[Options] = ContextVar("options", default=Options())  # noqa: B039  # frozen


def current() -> Options:
    """The options of the command that runs."""
    return _current.get()


def use(options: Options) -> None:
    """Make `options` the current ones."""
    _current.set(options)


def split(line: Sequence[str]) -> tuple[Options, list[str]]:
    """The options of every command, and the rest of the line for the command itself.

    Nothing behind `--` is taken, nor what the command has of its own, behind its name. A negative JSON number is handed
    on with a space before it: to JSON and to `int` that is the same number, and to the parser it is no option.

    Raises:
        UsageError: An option has no value.
    """
    options, rest = Options(), list[str]()
    words = iter(line)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif word in _FLAGS:
            options = replace(options, **{_FLAGS[word]: True})
        elif name in _VALUES and name != _OWN.get(tuple(rest[:2])):
            given = value if equals else next(words, None)
            if not given:
                raise UsageError(f"option {name} needs a value", hint=f"write {name} VALUE or {name}=VALUE")
            options = replace(options, **{_VALUES[name]: given})
        else:
            rest.append(f" {word}" if _NEGATIVE_NUMBER.fullmatch(word) else word)
    return options, rest
