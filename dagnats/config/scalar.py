"""The smallest values of a configuration. Each reads what a file and what the environment can say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dagnats.model.duration import format_duration, parse_duration

OFF = "off"


def _period(value: Any) -> Any:
    """A duration above zero. A bare number has no unit, so it is none."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("it is no duration; write a number with a unit, such as '500ms', '30s', '1h30m' or '7d'")
    period = parse_duration(value)
    if not period:
        raise ValueError("it is zero; a duration is more than that")
    return period


def _unless_off(value: Any) -> Any:
    return None if value == OFF else value


def _sync(value: Any) -> Any:
    """`always`, or an interval in its canonical spelling; "" leaves it to the server."""
    if value in ("", "always"):
        return value
    return format_duration(_period(value))


def _no_truth(value: Any) -> Any:
    """`true` is no number, though Python counts it as 1."""
    if isinstance(value, bool):
        raise ValueError("it is no number")
    return value


def host_and_port(text: str) -> tuple[str, int]:
    """The two parts of a listen address: `:8080`, `0.0.0.0:8080`, `[::1]:8080`. No host means loopback.

    Raises:
        ValueError: It is no such address.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # an IPv6 address without its brackets
    if not colon or not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535 or not host.isprintable():
        raise ValueError("it is no address to listen on; one is ':8080', '127.0.0.1:8080' or '[::1]:8080'")
    return host or "127.0.0.1", int(port)


def _place(value: Any) -> Any:
    return str(Path(value).expanduser().absolute()) if isinstance(value, str) and value else value


Place = Annotated[str, BeforeValidator(_place)]
"""A file or a folder."""

Period = Annotated[timedelta, BeforeValidator(_period)]
Sync = Annotated[str, BeforeValidator(_sync)]
Age = Annotated[Period | None, BeforeValidator(_unless_off)]
Whole = Annotated[int, BeforeValidator(_no_truth)]
Count = Annotated[Annotated[Whole, Field(ge=1)] | None, BeforeValidator(_unless_off)]
"""A number above zero, or `off`."""
