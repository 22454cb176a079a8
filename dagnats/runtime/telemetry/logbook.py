"""What the process logs, and what is noted without being shown, as lines of the telemetry."""

from __future__ import annotations

import logging
import re
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagnats.model.instant import rfc3339
from dagnats.runtime.telemetry.entry import Level, LogEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from dagnats.runtime.ports import Clock
    from dagnats.runtime.telemetry.exporter import Exporter

_ROOT = "dagnats"
_TASKS = "task"  # `dagnats.task.<type>`: what handlers log by `ctx.logger`
_SERVICES = {_TASKS: "worker", "http": "api"}
_OURS = str(Path(__file__).parent.parent)
_LONGEST = 8_192
_LONGEST_TRACEBACK = 16_384
_NAME = re.compile(r"[^A-Za-z0-9_-]")
_KNOWN = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime", "taskName"}
_TRACE = ("trace_parent",)


class Logbook(logging.Handler):
    """Makes lines of records. Where nobody takes them it does nothing."""

    def __init__(self, exporter: Callable[[], Exporter | None], clock: Clock) -> None:
        super().__init__()
        self._exporter = exporter
        self._clock = clock

    def emit(self, record: logging.LogRecord) -> None:
        exporter = self._exporter()
        if exporter is None:
            return
        try:
            entry = entry_of(record, rfc3339(self._clock.now_ns()))
        except Exception:  # noqa: BLE001  # a message that does not fit its arguments: the console has said so
            return
        exporter.tell(entry)


@contextmanager
def listened(exporter: Callable[[], Exporter | None], clock: Clock) -> Generator[None]:
    """Take in what is logged below `dagnats`, as far as its loggers are set to say it."""
    logger = logging.getLogger(_ROOT)
    if any(isinstance(handler, Logbook) for handler in logger.handlers):  # each record goes one way only
        yield
        return
    logbook = Logbook(exporter, clock)
    logger.addHandler(logbook)
    try:
        yield
    finally:
        logger.removeHandler(logbook)


def entry_of(record: logging.LogRecord, timestamp: str) -> LogEntry:
    """A record as a line."""
    told = {name: value for name, value in record.__dict__.items() if name not in _KNOWN}
    body = record.getMessage()
    if "run_id" in told and "step_id" in told:  # what the console shows before the text is in the attributes
        body = body.removeprefix(f"[run_id={told['run_id']} step={told['step_id']}] ")
    if record.exc_info and record.exc_info[1] is not None:
        told["exception"] = exception_text(record.exc_info[1])
    words = record.name.split(".")
    if len(words) > 2 and words[1] == _TASKS:
        told["task"] = ".".join(words[2:])
    service = words[1] if len(words) > 1 else _ROOT
    return line(_SERVICES.get(service, service), _level(record.levelno), body, told, timestamp)


def line(service: str, level: Level, body: str, told: Mapping[str, Any], timestamp: str) -> LogEntry:
    """A line from its parts.

    Args:
        service: Who says it.
        level: How bad it is.
        body: The text.
        told: What it is about; `trace_parent` is where it belongs.
        timestamp: When.
    """
    trace = str(told.get("trace_parent", "")).split("-")
    belongs = len(trace) >= 4
    return LogEntry(
        timestamp=timestamp,
        severity=level,
        body=_cut(body, _LONGEST),
        service_name=_NAME.sub("_", service) or _ROOT,
        trace_id=trace[1] if belongs else "",
        span_id=trace[2] if belongs else "",
        attributes={name: _plain(value) for name, value in told.items() if name not in _TRACE},
    )


def exception_text(error: BaseException) -> str:
    """An exception with its traceback, from where our own code has called; the end of it when it is long."""
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_OURS):
        inner = inner.tb_next
    text = "".join(traceback.format_exception(type(error), error, inner or error.__traceback__)).rstrip()
    return text if len(text) <= _LONGEST_TRACEBACK else f"…{text[-_LONGEST_TRACEBACK:]}"


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "ERROR"
    if number >= logging.WARNING:
        return "WARN"
    return "INFO" if number >= logging.INFO else "DEBUG"


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return _cut(text, _LONGEST_TRACEBACK + 1)


def _cut(text: str, most: int) -> str:
    text = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}…"
