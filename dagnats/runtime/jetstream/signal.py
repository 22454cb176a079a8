"""The newest signals of runs, in bucket signals under `<run>.<name>`: where Go workers look for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagnats.errors import RefusedError
from dagnats.runtime.jetstream.resources import SIGNALS
from dagnats.runtime.jetstream.store import entry_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dagnats.runtime.jetstream.link import Link

_KEY = re.compile(r"[-/_=A-Za-z0-9]+(\.[-/_=A-Za-z0-9]+)*")


class JetStreamSignals:
    """`ports.Signals`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def put(self, run_id: str, name: str, data: bytes) -> Awaitable[object]:
        if _KEY.fullmatch(name) is None:
            refused = self._link.loop.create_future()
            refused.set_exception(RefusedError(f"signal {name!r} cannot be a key of a bucket"))
            return refused
        return self._link.publish_surely(f"$KV.{SIGNALS}.{run_id}.{name}", data, {})

    async def newest(self, run_id: str, name: str) -> bytes | None:
        held = await entry_of(self._link, SIGNALS, f"{run_id}.{name}")
        return held.data if held is not None else None

    async def remove(self, run_id: str) -> None:
        await self._link.api(f"STREAM.PURGE.KV_{SIGNALS}", {"filter": f"$KV.{SIGNALS}.{run_id}.>"})
