"""`serve`: a NATS server and the engine, until somebody stops it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.connection import configuration, needs_nats, run_long, said
from dagnats.cli.option import UsageError, current
from dagnats.cli.output import counted, emit, paint, say
from dagnats.model.address import is_http

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from dagnats.config.settings import Settings
    from dagnats.config.watch import Watch
    from dagnats.runtime.api.access import Access
    from dagnats.runtime.api.listener import Address
    from dagnats.runtime.embedded import ServerOptions
    from dagnats.runtime.retention import Keep
    from dagnats.runtime.serve import Serving


def serve(
    port: int | None = typer.Option(
        None,
        "--port",
        metavar="N",
        min=0,
        max=65535,
        help="The NATS port (nats_port); 0 takes any. Without it 4222, or another one where that is busy.",
        show_default=False,
    ),
    sync: str = typer.Option(
        "",
        "--sync",
        metavar="WHEN",
        help="When writes are on disk: 'always' (each before it is answered) or an interval such as 100ms, the "
        "default: a power cut can cost that much. With --server, what that server is set to.",
        show_default=False,
    ),
    retention: str | None = typer.Option(
        None,
        "--retention",
        metavar="AGE",
        help="How long ended runs are kept, at most a million of them; 'off' keeps all for ever. Without it 30d.",
        show_default=False,
    ),
    http: str | None = typer.Option(
        None,
        "--http",
        metavar="HOST:PORT",
        help="Where HTTP is served; port 0 takes any, 'off' is nowhere. Without it 127.0.0.1:8080, or another port "
        "where that is busy. A host that others can reach needs http_tokens, access.basic or access.forward.",
        show_default=False,
    ),
    insecure: bool = typer.Option(
        False, "--insecure", help="Let everybody do everything over HTTP, where nothing is configured that would not."
    ),
) -> None:
    """Start a NATS server of our own, the engine, and HTTP. With --server, only engine and HTTP, on that server.

    What the line does not say is taken from DAGNATS_* variables and dagnats.yaml; `dagnats config show` shows it.
    """
    import logging

    _expect_no_context(current().context)
    if not current().debug:
        logging.getLogger("dagnats").setLevel(logging.INFO)
    flags = {"nats_port": port, "sync": _checked(sync), "retention": _age(retention), "http_addr": _address(http)}
    run_long(_serve(watched(**flags), insecure=insecure))


def _expect_no_context(name: str) -> None:
    if name:
        raise UsageError(
            f"--context {name}: a server is no client, and takes no context",
            hint="name the NATS server that it uses with --server, DAGNATS_URL or url; without one it starts its own",
        )


def _checked(sync: str) -> str:
    from dagnats.model.duration import format_duration, parse_duration

    if sync in ("", "always"):
        return sync
    try:
        interval = parse_duration(sync)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; or 'always'", param_hint="--sync") from None
    if not interval:
        raise typer.BadParameter("the interval is 0; each write on disk at once is 'always'", param_hint="--sync")
    return format_duration(interval)


def _age(retention: str | None) -> str | None:
    from dagnats.model.duration import parse_duration

    if retention not in (None, "off"):
        try:
            parse_duration(retention)
        except ValueError as error:
            raise typer.BadParameter(f"{error}; or 'off'", param_hint="--retention") from None
    return retention


def _address(http: str | None) -> str | None:
    from dagnats.runtime.api.listener import parse_address

    if http not in (None, "off"):
        try:
            parse_address(http)
        except ValueError as error:
            raise typer.BadParameter(f"{error}; or 'off'", param_hint="--http") from None
    return http


def watched(**flags: Any) -> Watch:
    """The configuration of a server, which may change while that runs. Takes what `configuration` does."""
    from dagnats.config.watch import Watch

    return Watch(configuration(**flags), **said(**flags))


async def _serve(watch: Watch, *, insecure: bool) -> None:
    import asyncio

    from dagnats.cli.interrupt import hang_up, interrupts

    stop = asyncio.Event()
    with interrupts(stop.set) as taken, hang_up(watch.ask, stop.set):
        try:
            await serve_until(watch, insecure=insecure, ready=_announce, stop=stop)
        except asyncio.CancelledError:
            if not taken.at_once:
                raise


async def serve_until(
    watch: Watch, *, insecure: bool = False, ready: Callable[[Serving], Awaitable[None]], stop: asyncio.Event
) -> None:
    """Serve as is configured. Takes what `runtime.serve.serve` does, and raises like it; UsageError over HTTP."""
    from pathlib import Path

    from dagnats.runtime.foreign.handler import foreign_handlers
    from dagnats.runtime.serve import serve as serve_as

    found = watch.first
    settings = found.settings
    if is_http(settings.url):
        raise needs_nats(settings.url)
    await serve_as(
        folder=Path(settings.data_dir),
        port=settings.nats_port,
        url=settings.url,
        token=found.token,
        namespace=settings.namespace,
        sync=settings.sync,
        keep=_keep(settings),
        http=listener(settings),
        access=access(settings, insecure=insecure),
        options=_options(settings),
        handlers=foreign_handlers(settings.worker, found.worker_origin),
        configuration=watch,
        ready=ready,
        stop=stop,
    )


def _keep(settings: Settings) -> Keep | None:
    from dagnats.runtime.retention import Keep

    if settings.retention is None and "retention_runs" not in settings.model_fields_set:
        return None  # who keeps runs for ever has no number in mind
    return Keep(settings.retention, settings.retention_runs)


def access(settings: Settings, *, insecure: bool = False) -> Access | None:
    """What lets callers over HTTP in; None where HTTP is not served."""
    if settings.http_addr == "off":
        return None
    from dagnats.runtime.api.access import access_of

    return access_of(settings, token=os.environ.get("DAGNATS_BRIDGE_TOKEN", ""), insecure=insecure)


def listener(settings: Settings) -> Address | None:
    """Where HTTP is listened to; None for nowhere."""
    from dagnats.runtime.api.listener import DEFAULT, parse_address

    if settings.http_addr == "off":
        return None
    return parse_address(settings.http_addr) if "http_addr" in settings.model_fields_set else DEFAULT


def _options(settings: Settings) -> ServerOptions:
    from dagnats.runtime.embedded import ServerOptions

    return ServerOptions(monitor_port=settings.monitor_port, max_store_bytes=settings.max_store_bytes)


async def _announce(serving: Serving) -> None:
    from dagnats.model.address import without_secrets

    folder = str(serving.folder) if serving.folder is not None else None
    url = without_secrets(serving.url)
    if current().json:
        document = {
            "url": url,
            "data_dir": folder,
            "sync": serving.sync or None,
            "http": serving.http or None,
            "pid": os.getpid(),
            **({"namespace": serving.namespace} if serving.namespace else {}),
        }
        emit({**document, "task_types": list(serving.task_types)} if serving.task_types else document)
        return
    say(f"{paint('Serving', 'green', 'bold')} on {url}")
    if serving.folder is not None:
        # The command reads the token's file: terminals and logs need not show it.
        token = f"$(cat {shlex.quote(str(serving.folder / 'token'))})"
        host = serving.url.removeprefix("nats://")
        say(f"Data:      {folder}")
        say(f'NATS tool: nats --server "nats://{token}@{host}" stream ls')
    if serving.namespace:
        say(f"Namespace: {serving.namespace}")
    if serving.http:
        say(f"HTTP:      {serving.http}")
    if serving.task_types:
        say(f"Working:   {counted(len(serving.task_types), 'task type')}: {', '.join(sorted(serving.task_types))}")
    say("Ctrl-C stops.")
