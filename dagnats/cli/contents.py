"""What commands there are, and where each is written.

A module is loaded when its command is called: `--help` needs only this page, and one command only its own module.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

_EPILOG = "Every command also takes --json, --server URL, --token TOKEN and --debug."
_START, _DEFINE, _OPERATE = "Start here", "Workflows and runs", "Operate"


class Entry(NamedTuple):
    """One word behind `dagnats`.

    Attributes:
        name: The word.
        panel: Under which heading the help lists it.
        help: What the help says there: the first paragraph of what the command says of itself.
        homes: Where it is written: `module:attribute`, a function for a command, a `typer.Typer` for a noun. What
            several modules write of one noun is put into the first.
    """

    name: str
    panel: str
    help: str
    homes: tuple[str, ...]


ENTRIES = (
    Entry(
        "demo",
        _START,
        "See it work: start a server, an engine and a worker in a temporary folder, and run the example workflows.",
        ("demo:demo",),
    ),
    Entry(
        "init",
        _START,
        "Begin a project: a folder NAME with a workflow, its handlers, a test and a pyproject.toml.",
        ("init:app",),
    ),
    Entry(
        "serve",
        _START,
        "Start a NATS server of our own, the engine, and HTTP. With --server, only engine and HTTP, on that server.",
        ("serve:serve",),
    ),
    Entry(
        "worker",
        _START,
        "Serve handlers and trigger types, and the commands and URLs that dagnats.yaml configures for task types.",
        ("worker:worker",),
    ),
    Entry(
        "dev",
        _START,
        "Register workflows and run their handlers, again whenever a Python file changes, and print every event.",
        ("dev:dev",),
    ),
    Entry(
        "build",
        _DEFINE,
        "Compile workflows to JSON: one file each, and the JSON Schema beside them.",
        ("build:build",),
    ),
    Entry(
        "register",
        _DEFINE,
        "Compile workflows and register them, all of them or none; say what changed.",
        ("register:register",),
    ),
    Entry("workflow", _DEFINE, "Manage workflow definitions.", ("workflow:app",)),
    Entry(
        "run",
        _DEFINE,
        "Start workflow runs and look at them.",
        (
            "run:app",
            "outcome:app",
            "inspection:app",
            "order:app",
            "again:app",
            "diagnose:app",
            "replay:app",
            "portable:app",
            "logs:of_run",
        ),
    ),
    Entry(
        "trace",
        _DEFINE,
        "Show how long a run and each attempt of its steps took, as the spans of its trace.",
        ("trace:trace",),
    ),
    Entry("schema", _DEFINE, "Print the JSON Schema of workflow definitions.", ("build:schema",)),
    Entry(
        "status",
        _OPERATE,
        "Show whether NATS and JetStream answer, and how many runs are active.",
        ("status:status",),
    ),
    Entry(
        "doctor",
        _OPERATE,
        "Say what is wrong with the whole, and what to do. Exit code 1 when somebody has to do something.",
        ("doctor:doctor",),
    ),
    Entry("logs", _OPERATE, "Show what workers, engines and servers log.", ("logs:app",)),
    Entry("workers", _OPERATE, "Look at the workers.", ("workers:app",)),
    Entry("queue", _OPERATE, "Look at the queues of task types, hold them, limit them.", ("queue:app",)),
    Entry("dlq", _OPERATE, "Manage the dead-letter queue.", ("dlq:app",)),
    Entry("waitpoint", _OPERATE, "Look at what runs wait for: approvals and events.", ("waitpoint:app",)),
    Entry("event", _OPERATE, "Publish events that runs wait for.", ("event:app",)),
    Entry("signal", _OPERATE, "Look at the signals that runs were sent.", ("signal:app",)),
    Entry("trigger-type", _OPERATE, "Look at the trigger types that workers provide.", ("trigger_type:app",)),
    Entry("config", _OPERATE, "See the effective configuration.", ("config:app",)),
    Entry("context", _OPERATE, "Name the servers that you use.", ("context:app",)),
    Entry("token", _OPERATE, "Manage who is let in over HTTP.", ("token:app",)),
    Entry(
        "audit",
        _OPERATE,
        "List who did what over HTTP, the newest first, and what runs have asked of the control plane.",
        ("audit:audit",),
    ),
    Entry(
        "clean",
        _OPERATE,
        "Remove runs that are over, and dead letters; with --type also telemetry, and definitions that no run is of.",
        ("clean:clean",),
    ),
    Entry(
        "backup",
        _OPERATE,
        "Write everything the server holds into one file, while runs go on.",
        ("backup:backup",),
    ),
    Entry("restore", _OPERATE, "Put a backup back, on a server without an engine.", ("backup:restore",)),
    Entry(
        "verify",
        _OPERATE,
        "Fold every run from its first event and compare with what was made of it. Exits with 1 on a difference.",
        ("verify:verify",),
    ),
    Entry(
        "bench",
        _OPERATE,
        "Measure throughput and latency of this installation: runs of three steps that do nothing.",
        ("bench:bench",),
    ),
    Entry(
        "completion",
        _OPERATE,
        "Print what makes a shell complete commands, options, workflows, runs and steps.",
        ("completion:completion",),
    ),
)
"""In the order of the help."""


class Contents(TyperGroup):
    """The words behind `dagnats`: each a line of the help until it is called, and then the command itself."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self._closed = {entry.name: entry for entry in ENTRIES}
        for entry in ENTRIES:
            self.commands[entry.name] = TyperCommand(entry.name, help=entry.help, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that a line calls, and what is left of the line."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, self.open(name) if name is not None else None, rest

    def is_noun(self, word: str) -> bool:
        """Whether a word needs another one behind it."""
        command = self.open(word) if word in self.commands else None
        return isinstance(command, TyperGroup) and not command.invoke_without_command

    def open(self, name: str) -> Any:
        """A command itself, its module loaded."""
        entry = self._closed.pop(name, None)
        if entry is not None:
            self.commands[name] = _command(entry)
        return self.commands[name]

    def open_all(self) -> None:
        """Load everything: for who wants to walk the whole tree."""
        for entry in ENTRIES:
            self.open(entry.name)


def _command(entry: Entry) -> Any:
    first, *others = map(_object, entry.homes)
    page = typer.Typer(pretty_exceptions_enable=False)
    if isinstance(first, typer.Typer):
        for other in others:
            first.add_typer(other)
        page.add_typer(first, name=entry.name, rich_help_panel=entry.panel)
    else:
        page.command(entry.name, rich_help_panel=entry.panel)(first)
    command = get_group(page).commands[entry.name]
    _add_epilog(command)
    return command


def _object(home: str) -> Any:
    module, _, attribute = home.partition(":")
    return getattr(import_module(f"dagnats.cli.{module}"), attribute)


def _add_epilog(command: Any) -> None:
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            _add_epilog(each)
    else:
        command.epilog = _EPILOG
