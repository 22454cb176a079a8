"""The command tree, and the one boundary that turns every error into an exit code."""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

import dagnats
from dagnats.cli import failure, option, output
from dagnats.cli.contents import Contents
from dagnats.cli.help import load_help

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_PIPE_CLOSED = 141  # 128 + SIGPIPE
_HELP = ("-h", "--help")
_EVERYWHERE = "Every command"

app = typer.Typer(
    name="dagnats",
    cls=Contents,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": [*_HELP]},
)


@app.callback()
def everywhere(
    json: bool = typer.Option(False, "--json", help="Print JSON, also for errors.", rich_help_panel=_EVERYWHERE),
    server: str = typer.Option(
        "",
        "--server",
        metavar="URL",
        help="The server: nats://host:4222, or http://host:8080.",
        rich_help_panel=_EVERYWHERE,
    ),
    token: str = typer.Option(
        "", "--token", metavar="TOKEN", help="What lets you into that server.", rich_help_panel=_EVERYWHERE
    ),
    namespace: str = typer.Option(
        "",
        "--namespace",
        metavar="NAME",
        help="Which of several installations on that server; 'off' for the one without a namespace.",
        rich_help_panel=_EVERYWHERE,
    ),
    context: str = typer.Option(
        "", "--context", metavar="NAME", help="The server of this context, instead.", rich_help_panel=_EVERYWHERE
    ),
    config: str = typer.Option(
        "", "--config", metavar="PATH", help="The configuration, instead of dagnats.yaml.", rich_help_panel=_EVERYWHERE
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.", rich_help_panel=_EVERYWHERE),
    version: bool = typer.Option(False, "--version", "-v", help="Print the version.", rich_help_panel=_EVERYWHERE),
) -> None:
    """Durable DAG workflows: written in Python, decided by a log in NATS JetStream."""
    # Only listed here. `option.split` takes them off the line, because they may stand anywhere on it.
    gc.enable()  # the modules are loaded (see `main`), and the command begins


def run(line: Sequence[str]) -> int:
    """Carry out a command line and give its exit code. Nothing but a bug's own `--debug` shows a traceback."""
    try:
        return _carry_out(line)
    except output.PipeClosed:
        # Python flushes stdout once more when it ends: into nothing, then, and silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _carry_out(line: Sequence[str]) -> int:
    option.use(option.Options(json="--json" in line, debug="--debug" in line))
    try:
        options, rest = option.split(line)
        option.use(options)
        if options.version:
            _print_version()
            return 0
        _prepare()
        return _call(rest)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except output.PipeClosed:
        raise
    except Exception as error:  # noqa: BLE001  # the last edge: whatever it is, it is told and not thrown
        return failure.report(error)


def _call(rest: list[str]) -> int:
    contents = _contents()
    if not option.current().json and (not rest or (len(rest) == 1 and contents.is_noun(rest[0]))):
        rest = [*rest, "--help"]  # a noun alone asks what there is
    if any(word in _HELP for word in rest):
        load_help()
    code = contents.main(args=rest, prog_name="dagnats", standalone_mode=False)
    return code if isinstance(code, int) else 0


def tree() -> Any:
    """Every command with everything it takes: half a second, which a command line does not spend."""
    contents = _contents()
    contents.open_all()
    return contents


@cache
def _contents() -> Any:
    return typer.main.get_command(app)


def _print_version() -> None:
    if option.current().json:
        output.emit({"version": dagnats.__version__})
    else:
        output.say(f"dagnats {dagnats.__version__}")


def _prepare() -> None:
    import logging

    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal without UTF-8 gets "?" for what it cannot show
            reconfigure(errors="replace")
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("dagnats").setLevel(logging.DEBUG if option.current().debug else logging.WARNING)
