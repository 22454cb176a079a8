"""The newest of many inputs starts one run, once it is quiet."""

from __future__ import annotations

import msgspec

from dagnats.runtime.core.gate.debounce import Burst, Debounced, arrived, passed

ONE, TWO, THREE = msgspec.Raw(b"1"), msgspec.Raw(b"2"), msgspec.Raw(b"3")


def come(burst: Burst | None, input: msgspec.Raw, now_ns: int, timeout_ns: int = 0) -> Burst:
    return arrived(burst, input, now_ns, period_ns=10, timeout_ns=timeout_ns)


def test_the_newest_input_starts_a_run_when_it_is_quiet() -> None:
    burst = come(come(None, ONE, 100), TWO, 105)
    assert (burst.due_ns, burst.number) == (115, 2)
    assert passed(burst, 114) == Debounced(burst, None)
    assert passed(burst, 115) == Debounced(None, TWO)


def test_inputs_without_end_are_not_waited_for_longer_than_the_timeout() -> None:
    burst = come(None, ONE, 100, 15)
    burst = come(burst, TWO, 109, 15)
    burst = come(burst, THREE, 114, 15)
    assert burst.due_ns == 115
    assert passed(burst, 115) == Debounced(None, THREE)


def test_a_wake_up_for_nothing_starts_nothing() -> None:
    assert passed(None, 100) == Debounced(None, None)


def test_what_comes_later_begins_anew() -> None:
    burst, _ = passed(come(None, ONE, 100), 110)
    assert come(burst, TWO, 200, 15) == Burst(200, 210, 1, TWO)
