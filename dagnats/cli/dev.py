"""`dev`: everything a project needs while it is written: a server, its workflows, its handlers, anew at each change."""

from __future__ import annotations

import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dagnats.cli.connection import configuration, place_of_nats, run_long
from dagnats.cli.definition import TARGETS_HELP
from dagnats.cli.option import UsageError, current, use
from dagnats.cli.output import counted, emit_line, paint, say
from dagnats.errors import UnavailableError
from dagnats.model.namespace import NONE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from dagnats.cli.connection import Place
    from dagnats.cli.crew import Crew
    from dagnats.cli.source import Sources
    from dagnats.client import AsyncClient
    from dagnats.runtime.serve import Serving

_SETTLE_S = 0.1  # editors write several files, or one several times


def dev(
    targets: list[str] | None = typer.Argument(None, metavar="TARGETS", help=TARGETS_HELP, show_default=False),
    dir: Path = typer.Option(
        Path(), "--dir", metavar="DIR", help="The project: its Python files are watched, targets are relative to it."
    ),
    delay: int = typer.Option(500, "--delay", metavar="MS", min=100, help="Look for changes every so many ms."),
    memory: bool = typer.Option(
        False, "--memory", help="Without NATS: all of it in this process, and gone with it. Runs start over HTTP."
    ),
) -> None:
    """Register workflows and run their handlers, again whenever a Python file changes, and print every event.

    Where no server answers, one is started. Code that does not work is told, and the one before it goes on.
    The handlers' process has DAGNATS_DEV_MODE=true.
    """
    if not dir.is_dir():
        raise UsageError(f"--dir {str(dir)!r} is no folder", hint="name the folder of the project")
    if memory:
        _expect_no_server()
    _enter(dir)
    work = _in_memory(targets or [], dir, delay) if memory else _on_a_server(targets or [], dir, delay)
    run_long(work)


def _expect_no_server() -> None:
    options = current()
    for flag, named in (("--context", options.context), ("--server", options.server)):
        if named:
            raise UsageError(f"--memory and {flag} say two things", hint="leave one of them out")


def _enter(folder: Path) -> None:
    """Go there; what the line names by a relative path stays what it is."""
    options = current()
    if options.config:
        from dataclasses import replace

        use(replace(options, config=str(Path(options.config).absolute())))
    os.chdir(folder)


# -- with a server ---------------------------------------------------------------------------------------------


async def _on_a_server(targets: Sequence[str], folder: Path, delay: int) -> None:
    import asyncio

    from dagnats.cli.crew import Processes, environment
    from dagnats.cli.interrupt import interrupts

    stop = asyncio.Event()
    with interrupts(stop.set) as taken:
        try:
            async with AsyncExitStack() as stack:
                client, env = await _server(stack, stop)
                crew = Processes(targets, environment(*env), _options(), _tell_lost)
                await _develop(client, crew, folder, delay, stop)
        except asyncio.CancelledError:
            if not taken.at_once:
                raise


def _options() -> list[str]:
    """What the crew needs of ours; the server it is told by its environment."""
    options = current()
    flags = [name for name, given in (("--json", options.json), ("--debug", options.debug)) if given]
    return [*flags, *(["--config", options.config] if options.config else [])]


async def _server(stack: AsyncExitStack, stop: asyncio.Event) -> tuple[AsyncClient, tuple[str, str, str]]:
    """A client on the server, which is started where none answers; and its URL, token and namespace."""
    from dagnats.client import connect
    from dagnats.runtime.loaded import ask_loaded
    from dagnats.runtime.local import find_local_server

    where = place_of_nats()
    folder, url, token, namespace = Path(where.data_dir), where.url, where.token, where.namespace
    local = find_local_server(folder)
    if not url and local is not None:
        url, token = local.url, token or local.token
        namespace = local.namespace if namespace is None else namespace

    def connected() -> connect:
        return connect(url, token=token, namespace=namespace, name="dagnats dev", data_dir=folder)

    try:
        client = await stack.enter_async_context(connected())
    except UnavailableError:
        if url:
            raise
        url, token, namespace = await _started(stack, stop, where)
        return await stack.enter_async_context(connected()), (url, token, namespace)
    decides = local is not None and local.namespace == (namespace or "")
    if not decides and await ask_loaded(client.connection.ports.inquiries) is None:
        # NATS answers, but nobody decides there.
        await _started(stack, stop, where._replace(url=url, token=token, namespace=namespace))
    return client, (url, token, namespace or "")


async def _started(stack: AsyncExitStack, stop: asyncio.Event, where: Place) -> tuple[str, str, str]:
    """Start a server in this process; its URL, token and namespace. When it ends by itself, so do we.

    Raises:
        UsageError: The context is this machine, and the configuration says otherwise.
    """
    import asyncio

    from dagnats.cli.serve import serve_until, watched
    from dagnats.model.address import without_secrets

    ready: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()

    async def announce(up: Serving) -> None:
        ready.set_result(up)

    ends = asyncio.Event()
    # A context is in no configuration.
    within = {"namespace": where.namespace or NONE} if where.namespace is not None else {}
    watch = watched(url=where.url, token=where.token, **within)
    if (named := watch.first.settings.url) != where.url:
        raise UsageError(
            f"--context {current().context} and the configuration's url, {without_secrets(named)}, say two things",
            hint="leave one of them out",
        )
    serving = asyncio.create_task(serve_until(watch, ready=announce, stop=ends), name="dev: server")
    await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    serving.add_done_callback(lambda _: stop.set())

    async def end() -> None:
        ends.set()
        await serving

    stack.push_async_callback(end)
    up = ready.result()
    _tell(f"server started: {_where(up)}")
    return up.url, up.token, up.namespace


def _where(up: Serving) -> str:
    from dagnats.model.address import without_secrets

    return ", ".join(
        part for part in (without_secrets(up.url), up.http, f"data in {up.folder}" if up.folder else "") if part
    )


# -- without one -----------------------------------------------------------------------------------------------


async def _in_memory(targets: Sequence[str], folder: Path, delay: int) -> None:
    import asyncio

    from dagnats.cli.interrupt import interrupts
    from dagnats.cli.sandbox import Here, sandbox
    from dagnats.cli.serve import access, listener

    os.environ["DAGNATS_DEV_MODE"] = "true"
    sys.dont_write_bytecode = True
    settings, stop = configuration().settings, asyncio.Event()
    let_in = access(settings)
    with interrupts(stop.set) as taken:
        try:
            async with sandbox(listener(settings), let_in, settings.policy.control_plane) as box:
                box.engine.add_done_callback(lambda _: stop.set())
                _tell(f"all of it is in memory{f', HTTP at {box.http}' if box.http else ''}")
                if box.http:
                    shown = await _token(box.client) if let_in is not None and let_in.tokens else ""
                    _tell(f'start runs: curl {shown}{box.http}/v1/runs -d \'{{"workflow": "NAME", "input": null}}\'')
                await _develop(box.client, Here(box.client, targets, _tell_lost), folder, delay, stop)
                if box.engine.done():
                    box.engine.result()
        except asyncio.CancelledError:
            if not taken.at_once:
                raise


async def _token(client: AsyncClient) -> str:
    """A token as curl takes it. Nobody else can make the first one: only this process reaches what is stored."""
    made = await client.create_token("admin", name="dev", by="dagnats dev")
    return f"-H 'Authorization: Bearer {made.text}' "


# -- the loop --------------------------------------------------------------------------------------------------


async def _develop(client: AsyncClient, crew: Crew, folder: Path, delay: int, stop: asyncio.Event) -> None:
    """Run the code, and run it again when it changes, until `stop`."""
    import asyncio

    from dagnats.cli.source import Sources
    from dagnats.cli.ticker import tick

    sources = Sources(Path())
    _tell(f"watching {counted(len(sources), 'file')} in {folder}")
    work = asyncio.gather(tick(client.connection.ports.log), _follow(crew, sources, delay / 1_000))
    stopping = asyncio.create_task(stop.wait(), name="dev: stop")
    try:
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        _tell("shutting down...")
    finally:
        for task in (work, stopping):
            task.cancel()
        await asyncio.gather(work, stopping, return_exceptions=True)
        await crew.stop()


async def _follow(crew: Crew, sources: Sources, delay_s: float) -> None:
    import asyncio

    _tell("building...")
    is_up = await replaced(crew, sources, delay_s)
    _tell("started" if is_up else "not started: it waits for a change")
    while True:
        await asyncio.sleep(delay_s)
        if not sources.have_changed():
            continue
        await _settle(sources)
        _tell("change detected, rebuilding...")
        was_up, is_new = is_up, await replaced(crew, sources, delay_s)
        is_up = is_up or is_new
        _tell(_outcome(was_up=was_up, is_new=is_new))


async def replaced(crew: Crew, sources: Sources, delay_s: float) -> bool:
    """Run the code as it is now. Code that changes meanwhile is given up: it may never end to be imported."""
    import asyncio

    while True:
        work = asyncio.create_task(crew.replace(), name="dev: replace")
        try:
            while not work.done() and not sources.have_changed():
                await asyncio.wait([work], timeout=delay_s)
            if work.done():
                return work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        _tell("change detected, rebuilding...")
        await _settle(sources)


async def _settle(sources: Sources) -> None:
    import asyncio

    await asyncio.sleep(_SETTLE_S)
    while sources.have_changed():  # noqa: ASYNC110  # files set no event
        await asyncio.sleep(_SETTLE_S)


def _outcome(*, was_up: bool, is_new: bool) -> str:
    if is_new:
        return "restarted" if was_up else "started"
    return "not restarted: what ran before goes on" if was_up else "not started: it waits for a change"


def _tell_lost(code: int) -> None:
    _tell(f"the handlers' process has ended with code {code}: it waits for a change")


def _tell(text: str) -> None:
    if current().json:
        emit_line({"dev": text})
    else:
        say(f"{paint('[dev]', 'cyan')} {text}")
