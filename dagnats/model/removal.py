"""What is said before runs are removed, on `history._ops.retention`: whoever lists runs forgets these."""

from __future__ import annotations

import msgspec

from dagnats.errors import DecodeError

RETENTION = "_ops.retention"
"""The history that says it; no run's."""


class Removal(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="retention.removed"):
    """Runs that are removed, with everything of theirs.

    Attributes:
        timestamp: RFC 3339, by the engine's clock, for people.
        runs: Each with the sequence of its last event. What has a later one is not meant: the name was used again.
    """

    timestamp: str
    runs: tuple[tuple[str, int], ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Removal)


def encode_removal(removal: Removal) -> bytes:
    """`removal` as it is written to the log."""
    return _encoder.encode(removal)


def decode_removal(data: bytes) -> Removal:
    """The removal in `data`. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a removal: {error}", data=data) from None
