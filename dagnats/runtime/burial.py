"""Dead letters that always fit."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import TYPE_CHECKING

from dagnats.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagnats.runtime.ports import DeadLetters

log = logging.getLogger("dagnats.dead_letters")

_KEPT_BYTES = 64 * 1024
_UNSAFE = re.compile(r"[^A-Za-z0-9_.*>-]|^\.|\.$|\.\.")


async def bury(letters: DeadLetters, subject: str, data: bytes, headers: Mapping[str, str], *, id: str) -> None:
    """Keep a message nobody can act on. One that only just fitted before has no room for the reason: its
    beginning is kept then, and its size. Never raises RefusedError: what cannot be kept at all is logged."""
    subject, headers = _named(subject, headers)
    try:
        await letters.put(subject, data, headers=headers, id=id)
    except RefusedError as error:
        log.warning("a dead letter of %d bytes is cut: %s", len(data), error)
        cut = {**headers, "Dagnats-Dlq-Size": str(len(data))}
        try:
            await letters.put(subject, data[:_KEPT_BYTES], headers=cut, id=id)
        except RefusedError:
            log.exception("a dead letter on %s could not be kept; it begins with %r", subject, data[:200])


def _named(subject: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """The subject with nothing in it that a subject cannot have; then a header has what it was made of."""
    safe = _UNSAFE.sub("_", subject)
    if safe == subject:
        return subject, headers
    digest = hashlib.sha256(subject.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe}_{digest}", {**headers, "Dagnats-Dlq-Subject": repr(subject)}
