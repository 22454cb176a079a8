"""Bodies of requests: of bounded size, and checked whole, so that all that is wrong is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from dagnats.errors import Problem
from dagnats.model.identifier import near
from dagnats.model.json import DEEPEST_PAYLOAD, TooDeep, shallow
from dagnats.runtime.api.problem import Fault, invalid

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

SMALL = 1024 * 1024
"""For bodies that carry no payload."""


class Body(BaseModel):
    """The members of a body. Ones nobody knows are passed over, as in all that is said between versions.

    A member of type `msgspec.Raw` is a payload: its bytes are taken as they are.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", arbitrary_types_allowed=True)


class Order(Body):
    """A body, or what follows the `?`, of which every member counts: an order whose `status` is misspelt is none."""

    model_config = ConfigDict(extra="forbid")


BodyT = TypeVar("BodyT", bound=Body)


async def read(request: Request, most: int) -> bytes:
    """The whole body. Raises Fault 413 when it has more than `most` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return b"".join(parts)


def _too_large(most: int) -> Fault:
    # The rest of it is not read: the connection cannot be used for anything else.
    return Fault(413, "too-large", f"the body has more than {most} bytes", headers={"Connection": "close"})


def members(data: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, unread. Raises Fault 400."""
    try:
        data.decode()  # raw members are taken over unread: this is where bad UTF-8 is found
        return msgspec.json.decode(shallow(data, DEEPEST_PAYLOAD + 1), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TooDeep) as error:
        raise invalid(Problem("$", "json", f"this is no JSON object that can be read: {error}")) from None


def checked(kind: type[BodyT], found: dict[str, msgspec.Raw]) -> BodyT:
    """A body's members as `kind` has them. Raises Fault 400 with everything that is wrong."""
    strict = kind.model_config.get("extra") == "forbid"
    values = {name: _value(kind, name, raw) for name, raw in found.items() if strict or name in kind.model_fields}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid(*(_problem(kind, each) for each in error.errors(include_url=False))) from None


def parameters(kind: type[BodyT], found: QueryParams) -> BodyT:
    """What follows the `?` as `kind` has it. Raises Fault 400 with everything that is wrong."""
    values: dict[str, Any] = {}
    for name, text in found.multi_items():
        if name in kind.model_fields and get_origin(kind.model_fields[name].annotation) is list:
            values.setdefault(name, []).append(text)
        elif name in values:
            raise invalid(Problem(f"?{name}", "repeated", "it is said twice, and counts once"), what="the query")
        else:
            values[name] = text
    try:
        return kind.model_validate(values, strict=False)
    except ValidationError as error:
        problems = (_problem(kind, each) for each in error.errors(include_url=False))
        told = [Problem(f"?{each.path[2:]}", each.rule, each.message, each.hint) for each in problems]
        raise invalid(*told, what="the query") from None


def _value(kind: type[Body], name: str, raw: msgspec.Raw) -> Any:
    field = kind.model_fields.get(name)
    if field is not None and field.annotation is msgspec.Raw:
        return raw
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:  # a number like 1e999: no member takes it, and each says so
        return bytes(raw)


def _problem(kind: type[Body], error: ErrorDetails) -> Problem:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        return Problem(f"${path}", "unknown-member", f"nothing here is called {_cut(name)!r}", _meant(kind, name))
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] == "missing" else f", not {_cut(repr(error['input']))}"
    return Problem(f"${path}", error["type"].replace("_", "-"), f"{message}{given}")


def _meant(kind: type[Body], name: str) -> str:
    close = near(name, kind.model_fields)
    return f"did you mean {close[0]!r}?" if close else f"there is {', '.join(kind.model_fields) or 'nothing to say'}"


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
