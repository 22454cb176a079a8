"""Acknowledgements that reach the message they mean, or none.

To the server an acknowledgement is for whatever lies in a place of the stream. One that has lost the end of a stream in
a power cut gives its places again: then the next message there would be gone, and nobody has done what it asks for.
Such a server was restarted. So what came over another connection than this one is acknowledged only after a look at its
place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.errors import DagnatsError
from dagnats.runtime.jetstream.namespace import bare_stream
from dagnats.runtime.jetstream.pull import stored_at
from dagnats.runtime.jetstream.read import TIME, time_ns_of

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.channel import Message
    from dagnats.runtime.jetstream.link import Link

DONE = b"+ACK"
DEAD = b"+TERM"
"""Nobody can do anything with it, and nobody else shall get it."""


def acknowledge(link: Link, message: Message, word: bytes = DONE, *, lazily: bool = False) -> None:
    """Have a message that a `Pull` of this link gave not come again.

    Args:
        lazily: See `Channel.publish`.
    """
    if message.generation == link.generation:
        link.send(message.reply, word, lazily=lazily)
    else:
        acknowledge_if_there(link, message.reply, word)


def acknowledge_if_there(link: Link, address: str, word: bytes = DONE) -> None:
    """The same of a message of which only the reply subject is known; it may have come over any connection.

    When NATS does not say whether it is there, nothing is acknowledged: it comes again.
    """
    stream, seq, time_ns = stored_at(address)
    generation = link.generation

    def told(found: Message | DagnatsError) -> None:
        if isinstance(found, DagnatsError) or not found.header(TIME):
            return
        # What was there may be lost with the connection over which it was seen.
        if time_ns_of(found) == time_ns and link.generation == generation:
            link.send(address, word, lazily=True)

    get = f"$JS.API.DIRECT.GET.{bare_stream(link.namespace, stream)}"
    link.ask(get, b'{"seq": %d}' % seq, b"", told)
