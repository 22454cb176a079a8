"""How long a retry waits."""

from __future__ import annotations

import decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.definition import RetryPolicy
from dagnats.model.event import Failure
from dagnats.runtime.core.retry import HOUR, LONGEST, MILLISECOND, retry_delay

SECOND = 1_000 * MILLISECOND


def _delay(retry: int, step_id: str = "s", run_id: str = "r", **policy: Any) -> int:
    made = RetryPolicy.model_validate({"max_attempts": 9, **policy})
    return retry_delay(made, Failure(), run_id=run_id, step_id=step_id, retry=retry)


def _seconds(**policy: Any) -> list[float]:
    return [_delay(retry, **policy) / SECOND for retry in (1, 2, 3, 4)]


def test_a_fixed_delay_stays() -> None:
    assert _seconds(strategy="fixed", initial_delay="3s") == [3, 3, 3, 3]


def test_a_linear_delay_grows_by_itself() -> None:
    assert _seconds(strategy="linear", initial_delay="3s") == [3, 6, 9, 12]


def test_an_exponential_delay_doubles_unless_told_otherwise() -> None:
    assert _seconds(strategy="exponential", initial_delay="3s") == [3, 6, 12, 24]
    assert _seconds(strategy="exponential", initial_delay="2s", multiplier=1.5) == [2, 3, 4.5, 6.75]
    assert _seconds(strategy="exponential", initial_delay="8s", multiplier=0.5) == [8, 4, 2, 1]


def test_a_multiplier_that_floats_cannot_say_exactly_is_taken_as_written() -> None:
    assert _delay(3, strategy="exponential", initial_delay="1s", multiplier=1.1) == 1_210_000_000


def test_a_fixed_or_linear_delay_ignores_the_multiplier() -> None:
    assert _seconds(strategy="fixed", initial_delay="3s", multiplier=9) == [3, 3, 3, 3]
    assert _seconds(strategy="linear", initial_delay="3s", multiplier=9) == [3, 6, 9, 12]


def test_no_delay_is_longer_than_the_policys_longest() -> None:
    assert _seconds(strategy="exponential", initial_delay="3s", max_delay="10s") == [3, 6, 10, 10]


@pytest.mark.parametrize("strategy", ["fixed", "linear", "exponential"])
def test_no_delay_is_shorter_than_a_millisecond(strategy: str) -> None:
    assert _delay(1, strategy=strategy) == MILLISECOND
    assert _delay(5, strategy=strategy, initial_delay="1us") == MILLISECOND
    assert _delay(1, strategy=strategy, initial_delay="1s", max_delay="1us") == MILLISECOND


@pytest.mark.parametrize("retry", [64, 1_024, 100_000])
def test_growth_saturates_at_a_year_and_never_overflows(retry: int) -> None:
    assert _delay(retry, strategy="exponential", initial_delay="1s") == LONGEST
    assert _delay(retry, strategy="exponential", initial_delay="1s", multiplier=1_000_000) == LONGEST
    assert _delay(retry, strategy="linear", initial_delay="300d") == LONGEST
    assert _delay(retry, strategy="exponential", initial_delay="1s", max_delay="1h") == HOUR
    assert _delay(retry, strategy="exponential", initial_delay="1s", multiplier=0.001) == MILLISECOND


def test_a_longer_cap_does_not_lift_the_limit_of_growth() -> None:
    assert _delay(99, strategy="exponential", initial_delay="1s", max_delay="10000d") == LONGEST


def test_jitter_spreads_delays_around_the_policys_and_agrees_with_itself() -> None:
    delays = [_delay(1, f"s{at}", initial_delay="10s", jitter=0.2) for at in range(200)]
    assert delays == [_delay(1, f"s{at}", initial_delay="10s", jitter=0.2) for at in range(200)]
    assert min(delays) >= 8 * SECOND
    assert max(delays) <= 12 * SECOND
    assert len(set(delays)) > 190
    assert min(delays) < 9 * SECOND < 11 * SECOND < max(delays)


def test_jitter_differs_by_run_step_and_retry() -> None:
    assert (
        len(
            {
                _delay(1, "s", "r", initial_delay="10s", jitter=1),
                _delay(2, "s", "r", initial_delay="10s", jitter=1),
                _delay(1, "t", "r", initial_delay="10s", jitter=1),
                _delay(1, "s", "q", initial_delay="10s", jitter=1),
            }
        )
        == 4
    )


def test_the_cap_and_the_floor_hold_after_jitter() -> None:
    for at in range(50):
        assert _delay(1, f"s{at}", initial_delay="10s", max_delay="10s", jitter=1) <= 10 * SECOND
        assert _delay(1, f"s{at}", initial_delay="1ms", jitter=1) >= MILLISECOND


def test_a_programs_own_decimal_context_changes_no_delay() -> None:
    expected = _delay(3, strategy="exponential", initial_delay="7s", multiplier=1.37, jitter=0.33)
    with decimal.localcontext(decimal.Context(prec=2, rounding=decimal.ROUND_UP)):
        assert _delay(3, strategy="exponential", initial_delay="7s", multiplier=1.37, jitter=0.33) == expected


@pytest.mark.parametrize(
    ("asked_ms", "waits"),
    [(-5, 100 * MILLISECOND), (0, 100 * MILLISECOND), (250, 250 * MILLISECOND), (3_600_001, HOUR), (10**15, HOUR)],
)
def test_retry_after_is_clamped_and_ignores_the_policys_delays(asked_ms: int, waits: int) -> None:
    policy = RetryPolicy.model_validate({"max_attempts": 9, "initial_delay": "7s", "max_delay": "8s", "jitter": 1})
    failure = Failure(failure_type="retry_after", retry_after_ms=asked_ms)
    assert retry_delay(policy, failure, run_id="r", step_id="s", retry=1) == waits


@given(
    strategy=st.sampled_from(["fixed", "linear", "exponential"]),
    initial=st.integers(0, 10**15).map(lambda micros: micros * 1_000),
    longest=st.integers(0, 10**15).map(lambda micros: micros * 1_000),
    multiplier=st.floats(1e-6, 1_000_000),
    jitter=st.floats(0, 1),
    retry=st.integers(1, 100_000),
)
def test_every_delay_is_between_a_millisecond_and_its_cap(
    strategy: str, initial: int, longest: int, multiplier: float, jitter: float, retry: int
) -> None:
    delay = _delay(
        retry, strategy=strategy, initial_delay=initial, max_delay=longest, multiplier=multiplier, jitter=jitter
    )
    assert MILLISECOND <= delay <= max(longest or LONGEST, MILLISECOND)
