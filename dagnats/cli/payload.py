"""JSON that is typed, read from a file, or piped in."""

from __future__ import annotations

import sys
from pathlib import Path

from dagnats.cli.option import UsageError
from dagnats.cli.output import cut, one_line

_STDIN = "-"


def json_bytes(text: str, *, what: str = "the input") -> bytes:
    """The JSON that was typed, as it goes into the log; nothing typed is null.

    Raises:
        UsageError: It is no JSON.
    """
    return _checked(text.strip().encode(errors="surrogatepass"), what, cut(one_line(text), 60))


def input_bytes(text: str, file: Path | None) -> bytes:
    """The input that was typed, or that is in a file; `-` is what is piped in.

    Raises:
        UsageError: It is both, or no JSON.
    """
    if file is None:
        return json_bytes(text)
    if text.strip():
        raise UsageError(f"the input {cut(one_line(text), 60)} and --input-file {file} say two things", hint=_ONE)
    return _checked(_read(file).strip(), f"the input in {_name(file)}", "")


def lines_of(file: Path) -> list[bytes]:
    """The inputs in a file of JSON lines; empty lines are none.

    Raises:
        UsageError: A line is no JSON; it is named by its number.
    """
    numbered = enumerate(_read(file).splitlines(), 1)
    return [_checked(line.strip(), f"line {at} of {_name(file)}", "") for at, line in numbered if line.strip()]


_ONE = "leave one of them out"


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == _STDIN else file.read_bytes()


def _name(file: Path) -> str:
    return "what is piped in" if str(file) == _STDIN else str(file)


def _checked(data: bytes, what: str, shown: str) -> bytes:
    import msgspec

    if not data:
        return b"null"
    try:
        data.decode()
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(
            f"{what} must be JSON, and {shown or 'this'} is not: {error}",
            hint="a string needs quotes of its own: '\"World\"'",
        ) from None
    return data
