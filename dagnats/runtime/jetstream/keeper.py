"""Keeps tasks from a thread with a connection of its own: a handler that blocks the event loop does not lose its task.

Whether the handler still answers is another question, which its step's heartbeats answer: they come from the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError
from dagnats.runtime.jetstream.queue import JetStreamTaskDelivery
from dagnats.runtime.ports import LOOK_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dagnats.runtime.jetstream.link import Link
    from dagnats.runtime.ports import TaskDelivery

log = logging.getLogger("dagnats.nats")

_END_S = 2.0


class JetStreamKeeper:
    """`ports.TaskKeeper`.

    Args:
        dial: Opens the connection.
        held: The tasks that are being worked on; called in our thread.
        every_s: How often they are kept.
        look: Called in our thread, every `LOOK_S`.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Link]],
        held: Callable[[], Sequence[TaskDelivery]],
        every_s: float,
        look: Callable[[], None],
    ) -> None:
        self._dial = dial
        self._held = held
        self._every_s = every_s
        self._look = look
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="dagnats-keeper", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._end.set)
        await asyncio.to_thread(self._thread.join, _END_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._keep())

    async def _keep(self) -> None:
        link: Link | None = None
        due = self._loop.time() + self._every_s
        try:
            while not self._end.is_set():
                link = link or await self._dialled()
                self._look()
                if self._loop.time() >= due:
                    due = self._loop.time() + self._every_s
                    await self._tell(link)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._end.wait()
        except Exception:
            log.exception("tasks are no longer kept while a handler blocks the event loop")
        finally:
            if link is not None:
                await link.close()

    async def _dialled(self) -> Link | None:
        try:
            return await self._dial()
        except DagnatsError as error:
            log.debug("no connection to keep tasks with: %s", error)
            return None

    async def _tell(self, link: Link | None) -> None:
        if link is not None:
            for delivery in self._held():
                if isinstance(delivery, JetStreamTaskDelivery):
                    delivery.keep(link)
            await link.drain()
