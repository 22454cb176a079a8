"""Runs, events, queues and the like as JSON documents: every member is always there, and instants are RFC 3339.

Payloads are JSON values, whatever their bytes were. The documents' types are what the API's description says of them.
Each noun's document is made and read back in one module, so that what is written there is what is understood here.
"""

from __future__ import annotations

import msgspec

from dagnats.model.instant import parse_rfc3339, rfc3339


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What all of them are."""


def instant(nanos: int) -> str | None:
    """An instant; None for the 0 that says there is none."""
    return rfc3339(nanos) if nanos else None


def nanos(instant: str | None) -> int:
    """Nanoseconds since 1970; 0 for none."""
    return parse_rfc3339(instant) if instant else 0
