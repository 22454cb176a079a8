"""The newest signals of runs, in bucket signals under `<run>.<name>`: where Go workers look for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagnats.errors import RefusedError
from dagnats.runtime.jetstream.resources import SIGNALS

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
