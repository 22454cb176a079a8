"""Bodies of requests: of bounded size, and checked whole, so that all that is wrong is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, ValidationError

from dagnats.errors import Problem
from dagnats.model.json import DEEPEST_PAYLOAD, TooDeep, shallow
from dagnats.runtime.api.problem import Fault, invalid

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails
    from starlette.requests import Request

SMALL = 1024 * 1024
"""For bodies that carry no payload."""


class Body(BaseModel):
    """The members of a body. Ones nobody knows are passed over, as in all that is said between versions.

    A member of type `msgspec.Raw` is a payload: its bytes are taken as they are.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", arbitrary_types_allowed=True)


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
    values = {name: _value(kind, name, raw) for name, raw in found.items() if name in kind.model_fields}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid(*(_problem(each) for each in error.errors(include_url=False))) from None


def _value(kind: type[Body], name: str, raw: msgspec.Raw) -> Any:
    if kind.model_fields[name].annotation is msgspec.Raw:
        return raw
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:  # a number like 1e999: no member takes it, and each says so
        return bytes(raw)


def _problem(error: ErrorDetails) -> Problem:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] == "missing" else f", not {_cut(repr(error['input']))}"
    return Problem(f"${path}", error["type"].replace("_", "-"), f"{message}{given}")


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}…"
