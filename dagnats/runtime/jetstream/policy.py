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


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is noted.

    Attributes:
        sync: When writes are on disk.
        most_bytes: How much the server stores at most; 0 where nobody has said.
        server: Of which start of the server that was said: the next one may have another limit.
    """

    sync: Sync = "interval"
    most_bytes: int = 0
    server: str = ""


class Policy:
    """The server's policy, as far as we know it. A wrong one loses nothing."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.settings = Settings()
        link.subscribe(_SUBJECT, self._on_message)
        link.on_up(self._ask)  # the server may have been started with another one

    @property
    def sync(self) -> Sync:
        """When writes are on disk."""
        return self.settings.sync

    async def read(self) -> None:
        """Take over what is noted; without JetStream, or a note, nothing changes."""
        with suppress(UnavailableError):
            self._on_message(await self._link.request(_GET))

    async def write(self, settings: Settings) -> None:
        """Note how the server stores."""
        await self.read()
        if self.settings != settings:
            await self._link.publish(_SUBJECT, msgspec.json.encode(settings))
            self.settings = settings

    def _ask(self) -> None:
        self._link.ask(_GET, b"", b"", self._told)

    def _told(self, answer: Message | DagnatsError) -> None:
        if isinstance(answer, Message):
            self._on_message(answer)

    def _on_message(self, message: Message) -> None:
        if message.status:
            return
        try:
            self.settings = msgspec.json.decode(message.data, type=Settings)
        except msgspec.DecodeError as error:
            log.warning("%s is not understood: %s", _SUBJECT, error)
