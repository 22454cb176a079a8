"""The command tree, and the one boundary that turns every error into an exit code."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

import dagnats
from dagnats.cli import (
    again,
    audit,
    backup,
    bench,
    build,
    clean,
    completion,
    config,
    context,
    demo,
    dev,
    diagnose,
    dlq,
    doctor,
    event,
    failure,
    init,
    inspection,
    logs,
    option,
    order,
    outcome,
    output,
    portable,
    queue,
    register,
    replay,
    serve,
    signal,
    status,
    token,
    trace,
    trigger_type,
    verify,
    waitpoint,
    worker,
    workers,
    workflow,
)
from dagnats.cli import run as run_noun

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130  # 128 + SIGINT, as shells count
_PIPE_CLOSED = 141  # 128 + SIGPIPE
_EVERYWHERE = "Every command"
_NOUNS = ("context", "init", "workflow", "run", "queue", "waitpoint", "dlq", "event", "signal", "token")

app = typer.Typer(
    name="dagnats",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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


app.command("demo", rich_help_panel="Start here")(demo.demo)
app.add_typer(init.app, name="init", rich_help_panel="Start here")
app.command("serve", rich_help_panel="Start here")(serve.serve)
app.command("worker", rich_help_panel="Start here")(worker.worker)
app.command("dev", rich_help_panel="Start here")(dev.dev)
app.command("build", rich_help_panel="Workflows and runs")(build.build)
app.command("register", rich_help_panel="Workflows and runs")(register.register)
app.add_typer(workflow.app, name="workflow", rich_help_panel="Workflows and runs")
run_noun.app.add_typer(outcome.app)
run_noun.app.add_typer(inspection.app)
run_noun.app.add_typer(order.app)
run_noun.app.add_typer(again.app)
run_noun.app.add_typer(diagnose.app)
run_noun.app.add_typer(replay.app)
run_noun.app.add_typer(portable.app)
run_noun.app.add_typer(logs.of_run)
app.add_typer(run_noun.app, name="run", rich_help_panel="Workflows and runs")
app.command("trace", rich_help_panel="Workflows and runs")(trace.trace)
app.add_typer(config.app, name="config", rich_help_panel="Operate")
app.add_typer(context.app, name="context", rich_help_panel="Operate")
app.command("status", rich_help_panel="Operate")(status.status)
app.add_typer(workers.app, name="workers", rich_help_panel="Operate")
app.add_typer(trigger_type.app, name="trigger-type", rich_help_panel="Operate")
app.add_typer(queue.app, name="queue", rich_help_panel="Operate")
app.add_typer(waitpoint.app, name="waitpoint", rich_help_panel="Operate")
app.add_typer(dlq.app, name="dlq", rich_help_panel="Operate")
app.add_typer(event.app, name="event", rich_help_panel="Operate")
app.add_typer(signal.app, name="signal", rich_help_panel="Operate")
app.add_typer(token.app, name="token", rich_help_panel="Operate")
app.command("audit", rich_help_panel="Operate")(audit.audit)
app.add_typer(logs.app, name="logs", rich_help_panel="Operate")
app.command("doctor", rich_help_panel="Operate")(doctor.doctor)
app.command("clean", rich_help_panel="Operate")(clean.clean)
app.command("backup", rich_help_panel="Operate")(backup.backup)
app.command("restore", rich_help_panel="Operate")(backup.restore)
app.command("completion", rich_help_panel="Operate")(completion.completion)
app.command("bench", rich_help_panel="Operate")(bench.bench)
app.command("verify", rich_help_panel="Operate")(verify.verify)
app.command("schema", rich_help_panel="Workflows and runs")(build.schema)

for _group in (
    app,
    init.app,
    workflow.app,
    run_noun.app,
    outcome.app,
    inspection.app,
    order.app,
    again.app,
    replay.app,
    portable.app,
    logs.app,
    logs.of_run,
    workers.app,
    trigger_type.app,
    queue.app,
    waitpoint.app,
    dlq.app,
    event.app,
    signal.app,
    token.app,
    config.app,
    context.app,
):
    for _command in _group.registered_commands:
        _command.epilog = "Every command also takes --json, --server URL, --token TOKEN and --debug."


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
    if not option.current().json and (not rest or rest in ([noun] for noun in _NOUNS)):
        rest = [*rest, "--help"]  # a noun alone asks what there is
    code = tree().main(args=rest, prog_name="dagnats", standalone_mode=False)
    return code if isinstance(code, int) else 0


@cache
def tree() -> Any:
    """Every command, as typer reads them from our functions: a tenth of a second, which is spent once a process."""
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
