"""A waiter: what a run waits for among the events from outside, as it is stored."""

from __future__ import annotations

import msgspec

from dagnats.errors import DecodeError
from dagnats.model.event import NOTHING


class Waiter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Waits for the first event of a type that matches.

    Attributes:
        id: The action that asked for it.
        run_id: Who waits.
        step_id: The step, or `__cancel_{n}` for an event that cancels the run.
        attempt: Its attempt.
        event: The event's type.
        left: Dot path into the event's body; "" when every event of the type matches.
        op: How to compare.
        right: With what, raw JSON.
        since_ns: Events before this instant do not count.
        until_ns: Nor do events after this one; 0 for no end.
    """

    id: str
    run_id: str
    step_id: str
    attempt: int
    event: str
    left: str = ""
    op: str = ""
    right: msgspec.Raw = NOTHING
    since_ns: int = 0
    until_ns: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Waiter)


def encode_waiter(waiter: Waiter) -> bytes:
    """`waiter` as it is stored."""
    return _encoder.encode(waiter)


def decode_waiter(data: bytes) -> Waiter:
    """The waiter in `data`. Raises DecodeError when it is none."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a waiter: {error}", data=data) from None
