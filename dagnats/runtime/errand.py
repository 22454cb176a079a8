"""What a process of the pool does: one call of a handler after another, told through a pipe.

The worker sends a handler and an input, as two messages; the process answers with one byte that says what follows, and
that. Nothing of the user's is unpickled on either side but the handler's import path: values travel as JSON.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, cast

import msgspec

from dagnats.handling.handler import Handler
from dagnats.model.event import Failure
from dagnats.runtime.invocation import Again, AttemptFailed, perform, said

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import FrameType


READY = b"r"
_OUTPUT, _AGAIN, _FAILED = b"o", b"a", b"f"

_failure = msgspec.json.Decoder(Failure)


def serve(pipe: Connection) -> None:
    """Do what the pipe says, until it is closed. What a process of the pool runs."""
    _leave_signals_to_the_worker()
    threading.Thread(target=_end_with_the_worker, name="dagnats-parent", daemon=True).start()
    handlers: dict[bytes, Handler[..., Any]] = {}
    try:
        pipe.send_bytes(READY)
        while True:
            named, data = pipe.recv_bytes(), pipe.recv_bytes()
            answer = _answer(handlers, named, data)
            _flush()
            pipe.send_bytes(answer)
    except (EOFError, OSError):  # the worker is done with us, or gone
        return


def read_answer(answer: bytes) -> bytes | Again:
    """What a process has answered, on the worker's side. Raises AttemptFailed."""
    kind, rest = answer[:1], answer[1:]
    if kind == _FAILED:
        failure = _failure.decode(rest)
        raise AttemptFailed(failure.error, failure.failure_type, retry_after_ms=failure.retry_after_ms)
    return Again(rest) if kind == _AGAIN else rest


def _answer(handlers: dict[bytes, Handler[..., Any]], named: bytes, data: bytes) -> bytes:
    try:
        if named not in handlers:
            handlers[named] = _imported(named)
        result = perform(handlers[named], data)
    except AttemptFailed as failed:
        return _FAILED + msgspec.json.encode(failed.failure)
    except Exception as error:  # noqa: BLE001  # a mistake of ours must not look like a process that died
        return _FAILED + msgspec.json.encode(Failure(error=f"the worker failed: {said(error)}"))
    return _AGAIN + result.input if isinstance(result, Again) else _OUTPUT + result


def _imported(named: bytes) -> Handler[..., Any]:
    try:
        found = pickle.loads(named)
    except BaseException as error:
        raise AttemptFailed(f"a process cannot import the handler: {said(error)}") from error
    if not isinstance(found, Handler):
        raise AttemptFailed(f"a process finds no handler under that name, but {found!r}")
    return cast("Handler[..., Any]", found)


def _flush() -> None:
    """Let what the handler printed be seen, whatever ends this process."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue


def _leave_signals_to_the_worker() -> None:
    """Ctrl-C, and a service manager's SIGTERM, reach all processes; the worker says which of them end, and when.

    A function, not SIG_IGN: what the handler starts by itself would go on ignoring them.
    """

    def hear(_number: int, _frame: FrameType | None) -> None:
        """Go on."""

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)


def _end_with_the_worker() -> None:
    """End at once when the worker has, however it did: nobody would read the result."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
