"""What runs have asked of the control plane, and what they were answered: in `history._ops.audit`, no run's history.

It says who asked, and for what, by names; never what is in a definition or an input.
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


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Audited)


def encode_audited(audited: Audited) -> bytes:
    """`audited` as it is written to the log."""
    return _encoder.encode(audited)


def decode_audited(data: bytes) -> Audited:
    """The answer in `data`. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"not an audited answer: {error}", data=data) from None
