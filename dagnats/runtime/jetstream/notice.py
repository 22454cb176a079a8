"""Messages on core NATS: nothing stores them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_RESPONSE = "dagnats.http.response."


class JetStreamNotices:
    """`ports.Notices`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def ask(self, subject: str, data: bytes) -> None:
        self._send(subject, data)

    def respond(self, run_id: str, data: bytes) -> None:
        self._send(_RESPONSE + run_id, data)

    def _send(self, subject: str, data: bytes) -> None:
        refused = self._link.refusal(subject, data, b"")
        if refused is not None:
            log.warning("nothing is sent to %s: %s", subject, refused)
        elif not self._link.send(subject, data):
            log.warning("nothing is sent to %s: the connection to NATS is lost", subject)
