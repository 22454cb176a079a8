"""`config`: what holds, where each value is from, and whether it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import configuration
from dagnats.cli.option import current
from dagnats.cli.output import emit, paint, say, table

if TYPE_CHECKING:
    from dagnats.config.document import Path
    from dagnats.config.load import Configuration
    from dagnats.config.view import Shown

app = typer.Typer(help="See the effective configuration.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def config(context: typer.Context) -> None:
    """See what is configured. Without a subcommand, `show`."""
    if context.invoked_subcommand is None:
        show()


@app.command("show")
def show() -> None:
    """Show every value, and where it is from if it is no default. Secrets are not shown.

    Of dagnats.yaml, DAGNATS_* variables and options, the later ones count.
    """
    from dagnats.config.view import shown

    found = configuration()
    values = shown(found)
    if current().json:
        emit(_document(found, values))
        return
    for value in values:
        say(f"{value.key}: {value.text}")
    say()
    _say_origins(found, values)


@app.command("check")
def check() -> None:
    """Check the configuration. Everything that is wrong is listed, with its file and line, and the exit code is 2."""
    found = configuration()
    where = str(found.file) if found.file is not None else None
    if current().json:
        emit({"valid": True, "config_file": where})
    else:
        say(f"Valid: {where or 'no configuration file, only defaults and the environment'}")


def _document(found: Configuration, values: list[Shown]) -> dict[str, Any]:
    """The values as the file has them nested, then where they are from."""
    document: dict[str, Any] = {}
    for value in values:
        _put(document, value.path, value.value)
    document["config_file"] = str(found.file) if found.file is not None else None
    document["origins"] = {value.key: value.origin for value in values}
    return document


def _put(document: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(str(part), {})
    document[str(path[-1])] = value


def _say_origins(found: Configuration, values: list[Shown]) -> None:
    if found.file is None:
        say("No dagnats.yaml was found.")
    said = [(value.key, value.origin) for value in values if value.origin != "default"]
    if not said:
        say(paint("Everything is the default.", "dim"))
        return
    for line in table(("KEY", "FROM"), said):
        say(line)
    say(paint("Everything else is the default.", "dim"))
