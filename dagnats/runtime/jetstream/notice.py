"""Messages on core NATS: nothing stores them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dagnats.runtime.ports import Entry

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

log = logging.getLogger("dagnats.nats")

_RESPONSE = "dagnats.http.response."
_PLACE = "Dagnats-Place"

END = "dagnats.end."
"""Before a run: its last event, as soon as an engine has read it in the log."""


def ended(message: Message) -> Entry:
    """The entry that a message on `dagnats.end.<run>` tells of."""
    seq, time_ns = message.header(_PLACE.encode()).split()
    return Entry(int(seq), int(time_ns), message.subject[len(END) :], message.data)


class JetStreamNotices:
    """`ports.Notices`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def ask(self, subject: str, data: bytes) -> None:
        self._send(subject, data)

    def respond(self, run_id: str, data: bytes) -> None:
        self._send(_RESPONSE + run_id, data)

    def end(self, entry: Entry) -> None:
        place = f"NATS/1.0\r\n{_PLACE}: {entry.seq} {entry.time_ns}\r\n\r\n"
        self._send(END + entry.run_id, entry.data, place.encode())

    def _send(self, subject: str, data: bytes, headers: bytes = b"") -> None:
        refused = self._link.refusal(subject, data, headers)
        if refused is not None:
            log.warning("nothing is sent to %s: %s", subject, refused)
        elif not self._link.send(subject, data, headers=headers):
            log.warning("nothing is sent to %s: the connection to NATS is lost", subject)
