"""How an attempt ends when its handler says so by a call instead of returning: what Go workers' handlers do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, NamedTuple

from dagnats.errors import DagnatsError
from dagnats.model.duration import parse_duration

SHORTEST_RETRY = timedelta(milliseconds=100)
LONGEST_RETRY = timedelta(hours=1)
LONGEST_WAIT = timedelta(hours=1)
LONGEST_PAUSE = timedelta(days=30)


class Verdict(NamedTuple):
    """The end of an attempt, as its handler has said it.

    Attributes:
        kind: Which way.
        value: The output, or a `Continue`.
        error: Why it failed.
        after: When to try again, for `retry_after`.
    """

    kind: Literal["completed", "continued", "retriable", "non_retriable", "retry_after"]
    value: Any = None
    error: str | BaseException = ""
    after: timedelta = timedelta()


class Paused(BaseException):
    """Raised by `pause`: the attempt ends, and its handler begins anew later. Let it through.

    It is no Exception, so that `except Exception` in a handler does not swallow it.
    """

    def __init__(self, delay: timedelta) -> None:
        super().__init__(f"the step pauses for {delay}")
        self.delay = delay


class InWords(Exception):
    """A failure that is told by its words alone: its kind is a name of ours, and says nothing to people."""


class SaidTwice(DagnatsError, InWords):
    """A handler has said of its attempt's end what it, or its return, contradicts."""


def duration(value: timedelta | str, what: str) -> timedelta:
    """A duration as people give it. Raises ValueError for one that is not above zero."""
    length = parse_duration(value)
    if length <= timedelta(0):
        raise ValueError(f"{what} is {value!r}; it has to be above zero")
    return length


def resting(delay: timedelta | str) -> timedelta:
    """How long a step rests. Raises ValueError for more than 30 days."""
    length = duration(delay, "the delay")
    if length > LONGEST_PAUSE:
        raise ValueError(
            f"the delay is {delay!r}; a step rests 30 days at most: pause again when they are over, or let a `sleep`"
            " step wait"
        )
    return length


def waiting(timeout: timedelta | str | None) -> timedelta:
    """How long a handler waits for a signal. Raises ValueError for more than an hour."""
    within = LONGEST_WAIT if timeout is None else duration(timeout, "the timeout")
    if within > LONGEST_WAIT:
        raise ValueError(
            f"the timeout is {timeout!r}; a handler, which holds its slot meanwhile, waits an hour at most:"
            " let a step of its own wait longer"
        )
    return within
