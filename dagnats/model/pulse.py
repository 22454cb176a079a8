"""What a running step says of itself: how far it is, and what its next attempt may need to know."""

from __future__ import annotations

import msgspec

from dagnats.model.event import NOTHING


class Pulse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The newest word of a step.

    Attributes:
        attempt: Whose, by the number on the wire.
        at: When, in RFC 3339, by the worker's clock.
        details: What was given to `heartbeat`, raw JSON: by this attempt, or else by an earlier one.
        fraction: How much is done, from 0 to 1; None when nobody says.
        message: What is being done, for people.
    """

    attempt: int = 0
    at: str = ""
    details: msgspec.Raw = NOTHING
    fraction: float | None = None
    message: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Pulse)


def encode_pulse(pulse: Pulse) -> bytes:
    """`pulse` as it is stored."""
    return _encoder.encode(pulse)


def decode_pulse(data: bytes) -> Pulse | None:
    """The pulse in `data`; None when it is none of ours."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
