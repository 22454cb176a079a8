"""How the server stores, noted on `engine.settings` by whoever started it, and heard by everybody who writes."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from dagnats.errors import DagnatsError, UnavailableError
from dagnats.runtime.jetstream.channel import Message
from dagnats.runtime.jetstream.resources import ENGINE
from dagnats.runtime.ports import Sync

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_SUBJECT = "engine.settings"
_GET = f"$JS.API.DIRECT.GET.{ENGINE}.{_SUBJECT}"


class _Settings(msgspec.Struct):
    sync: Sync = "interval"


class Policy:
    """The server's policy, as far as we know it. Only speed depends on it: a wrong one loses nothing."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.sync: Sync = "interval"
        link.subscribe(_SUBJECT, self._on_message)
        link.on_up(self._ask)  # the server may have been started with another one

    async def read(self) -> None:
        """Take over what is noted; without JetStream, or a note, nothing changes."""
        with suppress(UnavailableError):
            self._on_message(await self._link.request(_GET))

    async def write(self, sync: Sync) -> None:
        """Note how the server stores."""
        await self.read()
        if self.sync != sync:
            await self._link.publish(_SUBJECT, msgspec.json.encode(_Settings(sync)))
            self.sync = sync

    def _ask(self) -> None:
        self._link.ask(_GET, b"", b"", self._told)

    def _told(self, answer: Message | DagnatsError) -> None:
        if isinstance(answer, Message):
            self._on_message(answer)

    def _on_message(self, message: Message) -> None:
        if message.status:
            return
        try:
            self.sync = msgspec.json.decode(message.data, type=_Settings).sync
        except msgspec.DecodeError as error:
            log.warning("%s is not understood: %s", _SUBJECT, error)
