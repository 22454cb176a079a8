"""A cancellation: what the engine tells all workers when results of a run no longer count."""

from __future__ import annotations

import msgspec

from dagnats.errors import DecodeError


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts to stop. Sent once and not stored: whoever misses it works for nobody, and no result is wrong.

    Attributes:
        run_id: Whose attempts.
        steps: (step id, attempt) of each.
    """

    run_id: str
    steps: tuple[tuple[str, int], ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Cancellation)


def encode_cancellation(cancellation: Cancellation) -> bytes:
    """`cancellation` as it is sent."""
    return _encoder.encode(cancellation)


def decode_cancellation(data: bytes) -> Cancellation:
    """The cancellation in `data`.

    Raises:
        DecodeError: It is none; the error carries the bytes.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a cancellation: {error}", data=data) from None
