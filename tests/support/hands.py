"""Handlers that run in processes: they have to be importable, and quickly."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from dagnats import Abort, Retry, handler


class Picky(ValueError):
    """Told to abort on."""


@handler("hands.double", process=True)
def double(number: int) -> int:
    return number * 2


@handler("hands.pid", process=True)
def pid() -> int:
    return os.getpid()


@handler("hands.exit", process=True)
def leave(code: int) -> None:
    os._exit(code)


@handler("hands.signal", process=True)
def die(number: int) -> None:
    os.kill(os.getpid(), number)


@handler("hands.abort", process=True, abort_on=(Picky,))
def abort(kind: str) -> None:
    if kind == "retry":
        raise Retry(after=timedelta(seconds=3))
    if kind == "picky":
        raise Picky("not this one")
    if kind == "exit":
        raise SystemExit(2)
    if kind == "value":
        raise ValueError("\udcff is no text")
    raise Abort("never again")


@handler("hands.lie", process=True)
def lie() -> int:
    return {"a set": {1}}  # pyright: ignore[reportReturnType]  # the mistake that is tested


@handler("hands.stay", process=True)
def stay(file: str) -> str:
    """Leave a trace, and stay until it is gone; nothing asks it to end but kill -9, and its signals do not either."""
    path = Path(file)
    path.write_text(str(os.getpid()))
    while path.exists():
        time.sleep(0.01)
    return "went by itself"


SIGNALS = (signal.SIGSEGV, signal.SIGKILL)
