"""Debouncing: of inputs that come in quick succession for a key, the newest starts one run, once it is quiet."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dagnats.model.event import NOTHING


class Burst(msgspec.Struct, frozen=True, array_like=True):
    """Inputs of one key that wait for the quiet.

    Attributes:
        first_ns: When the first came.
        due_ns: When the run starts, if nothing more comes.
        number: How many have come: it names the wake-up that counts.
        input: The newest.
    """

    first_ns: int
    due_ns: int
    number: int
    input: msgspec.Raw = NOTHING


class Debounced(NamedTuple):
    """What a debouncer has come to.

    Attributes:
        burst: What waits now; None for nothing.
        input: What to start a run with; None when it is not time yet.
    """

    burst: Burst | None
    input: msgspec.Raw | None


def arrived(burst: Burst | None, input: msgspec.Raw, now_ns: int, *, period_ns: int, timeout_ns: int) -> Burst:
    """Another input has come.

    Args:
        period_ns: How long it has to be quiet.
        timeout_ns: The longest time that the first one waits; 0 for as long as it takes.
    """
    first_ns = burst.first_ns if burst is not None else now_ns
    due_ns = now_ns + period_ns
    if timeout_ns:
        due_ns = min(due_ns, first_ns + timeout_ns)
    return Burst(first_ns, due_ns, burst.number + 1 if burst is not None else 1, input)


def passed(burst: Burst | None, now_ns: int) -> Debounced:
    """Time has passed: is it quiet?"""
    if burst is None or now_ns < burst.due_ns:
        return Debounced(burst, None)
    return Debounced(None, burst.input)
