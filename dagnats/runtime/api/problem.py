"""What went wrong with a request, as `application/problem+json` (RFC 9457): the only place that knows status codes."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dagnats.client.answer import TooEarly, TooLate
from dagnats.client.document import Document
from dagnats.client.fault import error_document
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
    RunError,
    UnavailableError,
)
from dagnats.runtime.blob import BlobLost
from dagnats.runtime.ports import StoreFull
from dagnats.runtime.token import hidden

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

log = logging.getLogger("dagnats.http")

_MEDIA_TYPE = "application/problem+json"

# The first kind that fits counts. What is left is somebody's mistake in what was asked.
STATUS: tuple[tuple[type[DagnatsError], int, str], ...] = (
    (NotFoundError, 404, "not-found"),
    (TooEarly, 409, "too-early"),
    (TooLate, 410, "gone"),
    (ConflictError, 409, "conflict"),
    (FullError, 507, "full"),
    (StoreFull, 507, "full"),
    (UnavailableError, 503, "unavailable"),
    (ResultTimeout, 408, "timeout"),
    (RefusedError, 400, "refused"),
    (RunError, 409, "run-ended"),
    (BlobLost, 410, "gone"),
    (DecodeError, 500, "unreadable"),  # of what is stored: what a request brings is no DecodeError
    (InputError, 422, "unfit"),
    (DefinitionError, 422, "unfit"),
    (DagnatsError, 400, "invalid"),
)


_AGAIN_S = {"unavailable": "1", "too-early": "5"}


class ProblemDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong."""

    rule: str
    message: str
    path: str = ""
    hint: str = ""


class Fault(DagnatsError):
    """A request that is not carried out.

    Args:
        status: The HTTP status.
        kind: A stable slug: programs compare this, never the text.
        detail: What is wrong, and what would be right.
        problems: All that is wrong, one by one.
        headers: For the response.
        error: What happened, for a program that knows our errors.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        error: DagnatsError | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.problems = tuple(problems)
        self.headers = dict(headers or {})
        self.error = error


def invalid(*problems: Problem, what: str = "the body") -> Fault:
    """Something in the body, or in `what`, is not as it has to be."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return Fault(400, "invalid", f"{what} has {count}", problems=problems)


_KIND = "dagnats.kind"


def kind_of(scope: Mapping[str, Any]) -> str:
    """What kind of no a request was answered with; "" for none."""
    return scope.get(_KIND, "")


async def on_error(request: Request, error: Exception) -> Response:
    """The response to a request that raised."""
    fault = _fault(error)
    request.scope[_KIND] = fault.kind
    return _response(fault)


async def on_bug(request: Request, error: Exception) -> Response:
    """The response to a request that met a mistake of ours."""
    log.error("%s %s failed unexpectedly", request.method, hidden(request.url.path), exc_info=error)
    return _response(Fault(500, "internal", "this is a fault of DagNats; its log has the details"))


def _fault(error: Exception) -> Fault:
    match error:
        case Fault():
            return error
        case HTTPException():
            slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
            return Fault(error.status_code, slug, error.detail, headers=error.headers)
        case DagnatsError():
            status, kind = next((status, kind) for known, status, kind in STATUS if isinstance(error, known))
            problems: tuple[Problem, ...] = getattr(error, "problems", ())
            detail = f"{getattr(error, 'title', error)}{f'; {error.hint}' if error.hint else ''}"
            headers = {"Retry-After": _AGAIN_S[kind]} if kind in _AGAIN_S else {}
            return Fault(status, kind, detail, problems=problems, headers=headers, error=error)
        case _:
            raise error


def _response(fault: Fault) -> Response:
    document: dict[str, Any] = {
        "type": f"urn:dagnats:{fault.kind}",
        "title": HTTPStatus(fault.status).phrase,
        "status": fault.status,
        "detail": str(fault),
        "problems": [_shown(problem) for problem in fault.problems],
    }
    if fault.error is not None:
        document["error"] = error_document(fault.error)
    return Response(msgspec.json.encode(document), fault.status, fault.headers, _MEDIA_TYPE)


def _shown(problem: Problem) -> dict[str, str]:
    said = {"path": problem.path, "rule": problem.rule, "message": problem.message, "hint": problem.hint}
    return {name: text for name, text in said.items() if text}
