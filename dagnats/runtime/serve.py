"""`serve`: a NATS server (its own, or one that is named), what DagNats needs on it, and the engine."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagnats.client.client import AsyncClient
from dagnats.config.policy import NOBODY
from dagnats.errors import UnavailableError
from dagnats.runtime.embedded import DEFAULT_OPTIONS, DEFAULT_SYNC, EmbeddedServer
from dagnats.runtime.engine import Engine
from dagnats.runtime.index.file import index_file
from dagnats.runtime.index.indexer import Indexer
from dagnats.runtime.index.inquiry import open_inquiries
from dagnats.runtime.index.source import Tap
from dagnats.runtime.jetstream.adapter import JetStream
from dagnats.runtime.local import LocalServer, remove_server_file, write_server_file
from dagnats.runtime.plane.charter import Charter
from dagnats.runtime.plane.office import open_plane
from dagnats.runtime.reload import Reloader, tell_loaded
from dagnats.runtime.retention import KEEP
from dagnats.runtime.telemetry.exporter import telemetry
from dagnats.runtime.telemetry.observer import Observer
from dagnats.runtime.triggers.registry import Registry
from dagnats.runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import Any

    from dagnats.config.policy import ControlPlane
    from dagnats.config.watch import Watch
    from dagnats.handling.handler import Handler
    from dagnats.runtime.api.access import Access
    from dagnats.runtime.api.door import Door
    from dagnats.runtime.api.listener import Address
    from dagnats.runtime.embedded import ServerOptions
    from dagnats.runtime.ports import Sync
    from dagnats.runtime.retention import Keep


@dataclass(frozen=True, slots=True)
class Serving:
    """What is up.

    Attributes:
        url: The NATS server.
        token: What lets a client in; "" when the server asks for none.
        folder: The embedded server's data; None with a server of one's own.
        sync: How often its writes are on disk: `always`, or an interval; "" when only its operator knows.
        http: Where HTTP is listened to; "" when it is not.
        task_types: What its own worker serves.
        namespace: What its names on the NATS server have before them; "" for nothing.
    """

    url: str
    token: str
    folder: Path | None
    sync: str
    http: str = ""
    task_types: tuple[str, ...] = ()
    namespace: str = ""


async def serve(
    *,
    folder: Path,
    port: int | None = None,
    url: str = "",
    token: str = "",
    namespace: str = "",
    sync: str = "",
    keep: Keep | None = KEEP,
    http: Address | None = None,
    access: Access | None = None,
    options: ServerOptions = DEFAULT_OPTIONS,
    handlers: Sequence[Handler[..., Any]] = (),
    control_plane: ControlPlane = NOBODY,
    configuration: Watch | None = None,
    ready: Callable[[Serving], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop` is set.

    Args:
        folder: Where the embedded server keeps its data.
        port: The embedded server's client port; None chooses (see `EmbeddedServer`).
        url: A NATS server of one's own; the embedded one is not started then.
        token: For that server.
        namespace: What our names on the NATS server have before them, so that others can share it; "" for nothing.
        sync: `always`, or an interval such as `100ms`: when writes are on disk. Sets the embedded server; of another
            one it says what its operator has set.
        keep: How long ended runs are kept; None for ever.
        http: Where to listen to HTTP; None for nowhere.
        access: What lets callers over HTTP in; without it, this machine is.
        options: What else is set of the embedded server.
        handlers: What we serve ourselves, in a worker beside the engine.
        control_plane: Which workflows may register and start others while they run; nobody's, unless said.
        configuration: Has workflows to register, and the policy in the place of `control_plane`; both may change.
        ready: Called once everything takes work.
        stop: Set it to end.

    Raises:
        ConflictError: The folder or a port is taken, or the server holds streams of another shape.
        UnavailableError: The server cannot be reached, or has ended by itself.
        DefinitionError: A workflow of the configuration runs one that nobody has registered.
        DagnatsError: There is no nats-server to embed; or others could reach `http`, and nothing is wanted of them.
    """
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(_door(http, access)) if http is not None else None
        embedded: EmbeddedServer | None = None
        if not url:
            sync = sync or DEFAULT_SYNC
            embedded = await stack.enter_async_context(
                EmbeddedServer(folder, port=port, sync_interval=sync, options=options)
            )
            url, token = embedded.url, embedded.token
        jetstream = await stack.enter_async_context(
            await JetStream.connect(url, token=token, name="dagnats serve", namespace=namespace)
        )
        most_bytes = embedded.most_bytes if embedded is not None else 0
        await jetstream.ports.server.prepare(sync=_policy(sync), most_bytes=most_bytes)
        observer = Observer(jetstream.ports, await stack.enter_async_context(telemetry(jetstream.ports)))
        meter = observer.meter
        index = Indexer(
            jetstream.ports, jetstream.feeds, stack.enter_context(index_file(folder, url, namespace)), meter=meter
        )
        feeds = Tap(jetstream.feeds, index.source)
        charter = Charter(control_plane)
        reloader: Reloader | None = None
        if configuration is not None:
            reloader = Reloader(configuration, AsyncClient(jetstream), charter, jetstream.ports.clock)
            await reloader.begin()
        engine = asyncio.create_task(
            Engine(observer.ports, feeds, keep=keep, granted=charter).run(alone=embedded is not None),
            name="engine",
        )
        stack.push_async_callback(_end, asyncio.create_task(observer.run(), name="telemetry"))
        stack.push_async_callback(_end, engine)
        stack.push_async_callback(_end, asyncio.create_task(index.run(), name="index"))
        stack.callback(open_inquiries(jetstream.ports.inquiries, index))
        stack.callback(open_plane(jetstream.ports, AsyncClient(jetstream), charter))
        announced = asyncio.create_task(Registry(jetstream.ports).run(), name="trigger types")
        stack.push_async_callback(_end, announced)
        if reloader is not None:
            stack.callback(tell_loaded(jetstream.ports.inquiries, reloader))
            stack.push_async_callback(_end, asyncio.create_task(reloader.run(), name="configuration"))
        worker = Worker(AsyncClient(jetstream), handlers) if handlers else None
        working = asyncio.create_task(worker.run(), name="worker") if worker is not None else None
        if worker is not None and working is not None:
            stack.push_async_callback(_drain, worker, working)
        if embedded is not None:
            write_server_file(folder, LocalServer(url=url, token=token, pid=os.getpid(), namespace=namespace))
            stack.callback(remove_server_file, folder)
        if door is not None:
            await door.open(jetstream, meter)
            stack.push_async_callback(door.close)
        await ready(
            Serving(
                url=url,
                token=token,
                folder=folder if embedded is not None else None,
                sync=sync,
                http=door.url if door is not None else "",
                task_types=worker.task_types if worker is not None else (),
                namespace=namespace,
            )
        )
        if door is not None:
            door.welcome()
        await _until(stop, [engine, *([working] if working is not None else [])], embedded)


def _door(http: Address, access: Access | None) -> Door:
    from dagnats.runtime.api.access import OPEN  # not at the top: without HTTP, nobody waits for a web framework
    from dagnats.runtime.api.door import Door

    return Door(http, access or OPEN)


def _policy(sync: str) -> Sync | None:
    if not sync:
        return None
    return "always" if sync == "always" else "interval"


async def _until(stop: asyncio.Event, ours: list[asyncio.Task[None]], embedded: EmbeddedServer | None) -> None:
    stopping = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(embedded.wait()) if embedded is not None else None
    tasks: set[asyncio.Task[object]] = {stopping, *ours, *([watching] if watching is not None else [])}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in ours if task in done]:
            task.result()
        if embedded is not None and watching in done:
            raise UnavailableError(f"nats-server has ended by itself:\n{embedded.last_words()}")
    finally:
        stopping.cancel()
        if watching is not None:
            watching.cancel()


async def _drain(worker: Worker, working: asyncio.Task[None]) -> None:
    """Let what runs finish, as far as the worker's patience goes; the engine still decides what comes of it."""
    worker.stop()
    try:
        await asyncio.wait([working])
    finally:  # somebody lost patience first
        await _end(working)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
