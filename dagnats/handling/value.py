"""Values between a handler and its context: written by what they are, read as what is asked for."""

from __future__ import annotations

from typing import Any

from dagnats.errors import Abort
from dagnats.handling.codec import CodecError, UnsupportedType, codec_for, type_name


def written(value: Any) -> bytes:
    """Any value with a JSON form. Raises Abort when it has none: it will not at the next attempt either."""
    try:
        return codec_for(type(value)).encode(value)
    except (CodecError, UnsupportedType) as error:
        raise Abort(f"what the context was given cannot be carried as JSON: {error}") from None


def read(data: bytes, type: Any, what: str) -> Any:
    """The value in some JSON.

    Args:
        what: Its name in an error: `the checkpoint`.

    Raises:
        Abort: It does not fit the type, and will not at the next attempt either.
    """
    try:
        return codec_for(type).decode(data)
    except CodecError as error:
        raise Abort(f"{what} does not fit {type_name(type)}: {error}") from None
