"""What is asked of the control plane and what it answers, as JSON: a worker asks, whoever serves answers."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from dagnats.errors import ControlPlaneError, ControlPlaneKind, DeniedError
from dagnats.model.event import NOTHING

REGISTER = "plane.register"
START = "plane.start"
BUDGET = "plane.budget"

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asks.

    Attributes:
        id: The request's own: one that is asked again, the very same, is audited once.
        run_id, step_id, attempt: The attempt that asks.
        nonce: Its task's `dispatch_nonce`.
    """

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    run_id: _Id
    step_id: _Id
    attempt: Annotated[int, msgspec.Meta(ge=1)]
    nonce: Annotated[str, msgspec.Meta(max_length=64)]


class Registration(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Register a definition, under the name that the control plane gives it."""

    definition: msgspec.Raw


class Opening(Request, frozen=True, kw_only=True, omit_defaults=True):
    """Start a run.

    Attributes:
        workflow: Which workflow: in full, or as the step's own runs call it.
        call: Which start of the step's this is: the same one starts the same run.
        input: JSON.
    """

    workflow: _Id
    call: _Id
    input: msgspec.Raw = NOTHING


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is answered.

    Attributes:
        kind: Why it was not done; "" when it was.
        error: The same in words.
        hint: What to do about it.
        name: The full name under which a workflow is registered.
        run_id: The run that was started.
        active_runs, max_active_runs, registered_defs, max_registered_defs: See `Budget`.
    """

    kind: ControlPlaneKind | None = None
    error: str = ""
    hint: str = ""
    name: str = ""
    run_id: str = ""
    active_runs: int = 0
    max_active_runs: int = 0
    registered_defs: int = 0
    max_registered_defs: int = 0


R = TypeVar("R", bound=Request)

_ERRORS = {error.kind: error for error in ControlPlaneError.__subclasses__()}

_decode = msgspec.json.Decoder(Answer).decode


def read_request(decoder: msgspec.json.Decoder[R], data: bytes) -> R:
    """The request in `data`. Raises DeniedError."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeniedError(f"this is no request to the control plane: {error}") from None


def read_answer(data: bytes) -> Answer:
    """The answer in `data`. Raises ControlPlaneError when it says no."""
    answer = _decode(data)
    if answer.kind is not None:
        raise _ERRORS[answer.kind](answer.error, hint=answer.hint)
    return answer


def refusal(error: ControlPlaneError) -> bytes:
    """A no, as it is answered."""
    return msgspec.json.encode(Answer(kind=error.kind, error=str(error), hint=error.hint))
