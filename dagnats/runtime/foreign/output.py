"""What a command printed, or a server answered, as a step's output."""

from __future__ import annotations

import msgspec

from dagnats.errors import Abort
from dagnats.model.json import DEEPEST_PAYLOAD, NULL, TooDeep, encode, shallow


def output_of(data: bytes, whose: str) -> msgspec.Raw:
    """JSON stays as it is, other text becomes a JSON string without its last newline, nothing is null.

    Args:
        data: What came.
        whose: Who gave it, for the error.

    Raises:
        Abort: It is neither JSON nor UTF-8; once more would give the same.
    """
    stripped = data.strip()
    if not stripped:
        return NULL
    try:
        msgspec.json.decode(shallow(stripped, DEEPEST_PAYLOAD))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return encode(_text(data, whose))
    except TooDeep as error:
        raise Abort(f"{whose} cannot be an output: {error}") from None
    return msgspec.Raw(stripped)


def _text(data: bytes, whose: str) -> str:
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Abort(f"{whose} is neither JSON nor UTF-8 text (byte {error.start})") from None
