"""How far the engine is, where operators look: `nats consumer info WORKFLOW_HISTORY orchestrator`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.runtime.jetstream.resources import HISTORY

if TYPE_CHECKING:
    from dagnats.runtime.jetstream.link import Link

_DURABLE = "orchestrator"
_CONFIG = {
    "name": _DURABLE,
    "durable_name": _DURABLE,
    "description": "The engine's position in the history.",
    "deliver_policy": "all",
    "filter_subject": "history.>",
    "ack_policy": "all",
    "ack_wait": 24 * 3600 * 1_000_000_000,
    "max_ack_pending": -1,
}


class JetStreamDial:
    """`ports.Dial`. A consumer that nobody reads: it is only reset, so that it points to where the engine is."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._made = False

    async def show(self, seq: int) -> None:
        # A reset of a consumer that does not exist is not answered at all: it is made first, and anew when in doubt.
        made, self._made = self._made, False
        if not made:
            await self._link.api(f"CONSUMER.CREATE.{HISTORY}.{_DURABLE}", {"stream_name": HISTORY, "config": _CONFIG})
        await self._link.api(f"CONSUMER.RESET.{HISTORY}.{_DURABLE}", {"seq": seq + 1})
        self._made = True
