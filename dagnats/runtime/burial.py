"""Dead letters that always fit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dagnats.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.runtime.ports import DeadLetters

log = logging.getLogger("dagnats.dead_letters")

_KEPT_BYTES = 64 * 1024


async def bury(letters: DeadLetters, subject: str, data: bytes, headers: Mapping[str, str], *, id: str) -> None:
    """Keep a message nobody can act on. One that only just fitted before has no room for the reason: its
    beginning is kept then, and its size."""
    try:
        await letters.put(subject, data, headers=headers, id=id)
    except RefusedError as error:
        log.warning("a dead letter of %d bytes is cut: %s", len(data), error)
        cut = {**headers, "Dagnats-Dlq-Size": str(len(data))}
        await letters.put(subject, data[:_KEPT_BYTES], headers=cut, id=id)
