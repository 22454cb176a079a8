"""Errors as they travel in an answer, and back: whoever asks over HTTP gets the error that NATS would have given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from dagnats.errors import (
    ConflictError,
    DagnatsError,
    DecodeError,
    DefinitionError,
    FullError,
    InputError,
    NotFoundError,
    Problem,
    RefusedError,
    ResultTimeout,
    RunCancelled,
    RunCompensated,
    RunError,
    RunFailed,
    UnavailableError,
)
from dagnats.runtime.blob import BlobLost


class ErrorDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error for a program that has the same errors. Its problems stand beside it.

    Attributes:
        name: The error's class.
        message: Its text, without the hint and the problems.
        hint: What to do.
        of: What else the class is made of.
    """

    name: str
    message: str
    hint: str = ""
    of: dict[str, Any] = {}


def error_document(error: DagnatsError) -> ErrorDocument:
    """An error, as far as it is of a class that both sides know: else of the root's."""
    message = str(getattr(error, "title", error))
    name = next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _MADE)
    return ErrorDocument(name=name, message=message, hint=error.hint, of=_parts(error))


def error_of(document: ErrorDocument, problems: Sequence[Problem]) -> DagnatsError:
    """The error again; one of a later version's classes is of the root's."""
    error = _MADE.get(document.name, _plain(DagnatsError))(document.message, document.of, problems)
    error.hint = document.hint
    return error


def _parts(error: DagnatsError) -> dict[str, Any]:
    match error:
        case NotFoundError():
            return {"kind": error.kind, "name": error.name}
        case DefinitionError():
            return {"name": error.name}
        case ResultTimeout():
            return {"run_id": error.run_id}
        case RunError():
            return {"run_id": error.run_id, "step": error.step, "error": error.error}
        case _:
            return {}


_Made = Callable[[str, Mapping[str, Any], Sequence[Problem]], DagnatsError]


def _plain(kind: type[DagnatsError]) -> _Made:
    return lambda message, of, problems: kind(message)


def _ended(kind: type[RunError]) -> _Made:
    return lambda message, of, problems: kind(
        str(of.get("run_id", "")), step=str(of.get("step", "")), error=str(of.get("error", ""))
    )


def _timeout(message: str, of: Mapping[str, Any], problems: Sequence[Problem]) -> DagnatsError:
    error = ResultTimeout(str(of.get("run_id", "")), timedelta())
    error.args = (message,)
    return error


_MADE: Mapping[str, _Made] = {
    "BlobLost": _plain(BlobLost),
    "ConflictError": _plain(ConflictError),
    "DagnatsError": _plain(DagnatsError),
    "DecodeError": _plain(DecodeError),
    "DefinitionError": lambda message, of, problems: DefinitionError(
        problems, name=str(of.get("name", "")), title=message
    ),
    "FullError": _plain(FullError),
    "InputError": lambda message, of, problems: InputError(message, problems),
    "NotFoundError": lambda message, of, problems: NotFoundError(str(of.get("kind", "")), str(of.get("name", ""))),
    "RefusedError": _plain(RefusedError),
    "ResultTimeout": _timeout,
    "RunCancelled": _ended(RunCancelled),
    "RunCompensated": _ended(RunCompensated),
    "RunFailed": _ended(RunFailed),
    "UnavailableError": _plain(UnavailableError),
}
