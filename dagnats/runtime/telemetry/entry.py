"""A line of the log of a process: what is told, by whom, and about which run."""

from __future__ import annotations

from typing import Literal

import msgspec

from dagnats.errors import DecodeError

Level = Literal["DEBUG", "INFO", "WARN", "ERROR"]
LEVELS: tuple[Level, ...] = ("DEBUG", "INFO", "WARN", "ERROR")


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line.

    Attributes:
        timestamp: RFC 3339, by the clock of the process.
        severity: How bad it is; others than ours may have other words.
        body: The text.
        service_name: The part of the system that says it: `worker`, `engine`, `api`, …
        trace_id, span_id: What it belongs to, or "".
        attributes: What it is about: `run_id`, `step_id`, `attempt`, `workflow`, `exception`, …
    """

    timestamp: str = ""
    severity: str = "INFO"
    body: str = ""
    service_name: str = ""
    trace_id: str = ""
    span_id: str = ""
    attributes: dict[str, str | int | float | bool | None] = {}

    @property
    def subject(self) -> str:
        """Where it is kept in the telemetry."""
        return f"logs.{self.service_name}.{self.severity}"


_decoder = msgspec.json.Decoder(LogEntry)


def encode_log(entry: LogEntry) -> bytes:
    """A line as it is kept."""
    return msgspec.json.encode(entry)


def decode_log(data: bytes) -> LogEntry:
    """A line from its bytes. Raises DecodeError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a line of a log: {error}", data=data) from None
