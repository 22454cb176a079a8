"""What a trigger of the Go system gives to a run as its input: who started it and when, around the data itself."""

from __future__ import annotations

import msgspec


class _Envelope(msgspec.Struct):
    trigger: str
    data: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)


def data_within(payload: bytes) -> bytes:
    """The `data` of a trigger's envelope; a payload that is none is given back as it is.

    An envelope is an object with a string `trigger`, which is not empty, and with `data`, which may be null.
    """
    try:
        found = _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # whoever reads it says what is wrong with it
        return payload
    return bytes(found.data) if found.trigger else payload
