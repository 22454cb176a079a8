"""What was done by whom. What runs have asked of the control plane is in `history._ops.audit`, no run's history; what
people and programs have asked over HTTP is in a stream of its own.

Both say who asked, and for what, by names; never what is in a definition, an input or a token.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dagnats.errors import DecodeError
from dagnats.model.ops import OPS, OperatorEvent

AUDIT = f"{OPS}audit"
"""The history."""

Deed = Literal["register", "start", "budget"]


class Audited(OperatorEvent, frozen=True, kw_only=True, omit_defaults=True, tag="audit.recorded"):
    """One answer of the control plane. `reason` says why it was a no.

    Attributes:
        action: What was asked for.
        granted: What was answered.
        kind: Of a no: the kind of the error.
        run_id, step_id, attempt: Who asked; of a no without proof: who they said they were.
        workflow: The asking run's.
        root: The first run of its tree, which quotas are counted for.
        name: The workflow that was registered or started, in full; of a no: as it was asked for.
        identity: Of a registration: the definition's content hash.
        child_run_id: Of a start: the run.
    """

    action: Deed
    granted: bool
    kind: str = ""
    run_id: str = ""
    step_id: str = ""
    attempt: int = 0
    workflow: str = ""
    root: str = ""
    name: str = ""
    identity: str = ""
    child_run_id: str = ""


class Requested(OperatorEvent, frozen=True, kw_only=True, omit_defaults=True, tag="request.recorded"):
    """One order, and what became of it. `by` is who gave it: what it proved to be, not what it said.

    Attributes:
        action: The method and the path of a request, names in braces; or the words of a command.
        target: Those names, or what else it was about.
        run_id: The run that it was about, or that it started; "" for none.
        status: The answer's HTTP status; 0 for a command.
        kind: Of a no: which one.
        request_id: What the answer's header `X-Request-Id` says.
        address: Where it came from.
        skipped: How many before it were turned away and are not recorded, because there were too many.
    """

    action: str
    target: str = ""
    run_id: str = ""
    status: int = 0
    kind: str = ""
    request_id: str = ""
    address: str = ""
    skipped: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Audited)
_requested = msgspec.json.Decoder(Requested)


def encode_audited(audited: Audited) -> bytes:
    """`audited` as it is written to the log."""
    return _encoder.encode(audited)


def decode_audited(data: bytes) -> Audited:
    """The answer in `data`. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not an audited answer: {error}", data=data) from None


def encode_requested(requested: Requested) -> bytes:
    """`requested` as it is stored."""
    return _encoder.encode(requested)


def decode_requested(data: bytes) -> Requested:
    """The order in `data`. Raises DecodeError."""
    try:
        return _requested.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not a recorded order: {error}", data=data) from None
