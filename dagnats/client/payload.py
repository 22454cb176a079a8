"""What users give as JSON, before it goes into the log: what nobody could read there would end the run."""

from __future__ import annotations

from typing import Any

import msgspec

from dagnats.errors import InputError, Problem
from dagnats.handling.codec import codec_for
from dagnats.runtime.blob import refuse


def accepted(data: bytes, *, what: str) -> bytes:
    """A payload from a user that can be taken over unread; nothing is null.

    Args:
        what: Its name in an error: `the signal's value`.

    Raises:
        InputError: It is no JSON.
        RefusedError: It is too large, is nested too deep, or has the key of references.
    """
    data = data or b"null"
    refuse(data, what=what)
    try:
        data.decode()
        _skim(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = Problem("$", "json", f"this cannot be read as JSON: {error}")
        raise InputError(f"{what} is no JSON", [problem]) from None
    return data


_skim = msgspec.json.Decoder(msgspec.Raw).decode


def json_bytes(value: Any) -> bytes:
    """Any value with a JSON form, as JSON. Raises CodecError when it has none."""
    return codec_for(type(value)).encode(value)
