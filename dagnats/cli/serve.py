"""`serve`: a NATS server and the engine, until somebody stops it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import named_server, named_token, run_long
from dagnats.cli.option import current
from dagnats.cli.output import emit, paint, say

if TYPE_CHECKING:
    from datetime import timedelta

    from dagnats.runtime.api.listener import Address
    from dagnats.runtime.serve import Serving


def serve(
    port: int | None = typer.Option(
        None,
        "--port",
        metavar="N",
        min=0,
        max=65535,
        envvar="DAGNATS_NATS_PORT",
        help="The NATS port; 0 takes any. Without it 4222, or another one where that is busy.",
        show_default=False,
    ),
    sync: str = typer.Option(
        "",
        "--sync",
        metavar="WHEN",
        envvar="DAGNATS_SYNC",
        help="When writes are on disk: 'always' (each before it is answered) or an interval such as 100ms, the "
        "default: a power cut can cost that much. With --server, what that server is set to.",
        show_default=False,
    ),
    retention: str = typer.Option(
        "30d",
        "--retention",
        metavar="AGE",
        envvar="DAGNATS_RETENTION",
        help="How long ended runs are kept, at most a million of them; 'off' keeps all for ever.",
    ),
    http: str = typer.Option(
        "",
        "--http",
        metavar="HOST:PORT",
        envvar="DAGNATS_HTTP_ADDR",
        help="Where HTTP is served; port 0 takes any, 'off' is nowhere. Without it 127.0.0.1:8080, or another port "
        "where that is busy. A host that others can reach needs DAGNATS_BRIDGE_TOKEN.",
        show_default=False,
    ),
) -> None:
    """Start a NATS server of our own, the engine, and HTTP. With --server, only engine and HTTP, on that server.

    The data is kept in DAGNATS_DATA_DIR, else in $XDG_DATA_HOME/dagnats.
    """
    import logging

    if not current().debug:
        logging.getLogger("dagnats").setLevel(logging.INFO)
    run_long(_serve(port, _checked(sync), _age(retention), _address(http)))


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


def _age(retention: str) -> timedelta | None:
    from dagnats.model.duration import parse_duration

    if retention == "off":
        return None
    try:
        return parse_duration(retention)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; or 'off'", param_hint="--retention") from None


def _address(http: str) -> Address | None:
    from dagnats.runtime.api.listener import DEFAULT, parse_address

    if http == "off":
        return None
    try:
        return parse_address(http) if http else DEFAULT
    except ValueError as error:
        raise typer.BadParameter(f"{error}; or 'off'", param_hint="--http") from None


async def _serve(port: int | None, sync: str, age: timedelta | None, http: Address | None) -> None:
    import asyncio

    from dagnats.cli.interrupt import interrupts
    from dagnats.runtime.local import data_dir
    from dagnats.runtime.retention import Keep
    from dagnats.runtime.serve import serve as serve_until

    stop = asyncio.Event()
    with interrupts(stop.set) as taken:
        try:
            await serve_until(
                folder=data_dir(),
                port=port,
                url=named_server(),
                token=named_token(),
                sync=sync,
                keep=Keep(age=age) if age is not None else None,
                http=http,
                http_token=os.environ.get("DAGNATS_BRIDGE_TOKEN", ""),
                ready=_announce,
                stop=stop,
            )
        except asyncio.CancelledError:
            if not taken.at_once:
                raise


async def _announce(serving: Serving) -> None:
    folder = str(serving.folder) if serving.folder is not None else None
    if current().json:
        emit(
            {
                "url": serving.url,
                "data_dir": folder,
                "sync": serving.sync or None,
                "http": serving.http or None,
                "pid": os.getpid(),
            }
        )
        return
    say(f"{paint('Serving', 'green', 'bold')} on {serving.url}")
    if serving.folder is not None:
        # The command reads the token's file: terminals and logs need not show it.
        token = f"$(cat {shlex.quote(str(serving.folder / 'token'))})"
        host = serving.url.removeprefix("nats://")
        say(f"Data:      {folder}")
        say(f'NATS tool: nats --server "nats://{token}@{host}" stream ls')
    if serving.http:
        say(f"HTTP:      {serving.http}")
    say("Ctrl-C stops.")
