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


def enveloped(data: bytes, *, trigger: str, source: str, workflow: str, timestamp: str) -> bytes:
    """`data`, which is JSON, as the input of a run that a trigger starts.

    Args:
        trigger: Its kind: `external`.
        source: Its id.
        workflow: What it starts.
        timestamp: When it fired; RFC 3339.
    """
    said = {"trigger": trigger, "source": source, "workflow_id": workflow, "timestamp": timestamp}
    return msgspec.json.encode({**said, "data": msgspec.Raw(data)})
