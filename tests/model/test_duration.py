"""Durations: Go's spelling in and out, days and weeks in, and everything that is refused."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.duration import duration_nanos, format_duration, format_go_duration, parse_duration

LONGEST_MICROS = (2**63 - 1) // 1_000
durations = st.integers(0, LONGEST_MICROS).map(lambda micros: timedelta(microseconds=micros))
everyday_durations = st.builds(
    timedelta, hours=st.integers(0, 400), minutes=st.integers(0, 60), seconds=st.integers(0, 60)
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 500_000),
        ("30s", 30_000_000),
        ("1h30m", 5_400_000_000),
        ("1.5h", 5_400_000_000),
        ("1m0.5s", 60_500_000),
        ("7us", 7),
        ("7µs", 7),  # U+00B5
        ("7μs", 7),  # U+03BC
        ("2000ns", 2),
        ("7d", 7 * 86_400_000_000),
        ("2w", 14 * 86_400_000_000),
        ("30s30s", 60_000_000),
        ("01s", 1_000_000),
        ("9223372036854775us", 9_223_372_036_854_775),
    ],
)
def test_a_text_in_gos_form_is_a_duration(text: str, micros: int) -> None:
    assert parse_duration(text) == timedelta(microseconds=micros)


def test_an_integer_is_nanoseconds() -> None:
    assert parse_duration(1_500_000_000) == timedelta(seconds=1.5)
    assert parse_duration(0) == timedelta(0)


def test_a_timedelta_is_itself() -> None:
    assert parse_duration(timedelta(days=3, microseconds=1)) == timedelta(days=3, microseconds=1)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (True, "True is not a duration"),
        (1.5, "1.5 is not a duration"),
        (None, "None is not a duration"),
        ([], "[] is not a duration"),
        ("", "'' is not a duration"),
        ("10", "'10' is not a duration"),
        ("s", "'s' is not a duration"),
        ("10 s", "'10 s' is not a duration"),
        ("10s ", "'10s ' is not a duration"),
        ("10parsecs", "'10parsecs' is not a duration"),
        ("1s2", "'1s2' is not a duration"),
        ("٣s", "'٣s' is not a duration"),  # a digit, but not one of Go's
        ("1s" * 51, "is not a duration"),
        ("-5s", "'-5s' is negative"),
        (-1_000, "-1000 is negative"),
        (timedelta(seconds=-1), "is negative"),
        (1, "1 is not a whole number of microseconds"),
        ("1ns", "'1ns' is not a whole number of microseconds"),
        ("0.0001ns", "'0.0001ns' is not a whole number of microseconds"),
        (2**63, "is longer than the longest duration"),
        ("106752d", "'106752d' is longer than the longest duration"),
        (timedelta.max, "is longer than the longest duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_its_value(value: object, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(value)
    assert complaint in str(caught.value)


def test_a_refused_text_is_told_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=re.escape("such as '500ms', '30s', '1h30m' or '7d'")):
        parse_duration("soon")


@pytest.mark.parametrize(
    ("value", "canonical", "full"),
    [
        (timedelta(0), "0s", "0s"),
        (timedelta(microseconds=7), "7µs", "7µs"),
        (timedelta(microseconds=1_500), "1.5ms", "1.5ms"),
        (timedelta(milliseconds=20), "20ms", "20ms"),
        (timedelta(seconds=1.5), "1.5s", "1.5s"),
        (timedelta(seconds=10), "10s", "10s"),
        (timedelta(minutes=30), "30m", "30m0s"),
        (timedelta(minutes=1, seconds=30), "1m30s", "1m30s"),
        (timedelta(hours=1, minutes=30), "1h30m", "1h30m0s"),
        (timedelta(hours=1, seconds=5), "1h0m5s", "1h0m5s"),
        (timedelta(hours=10), "10h", "10h0m0s"),
        (timedelta(days=7), "168h", "168h0m0s"),
        (timedelta(hours=1, microseconds=1), "1h0m0.000001s", "1h0m0.000001s"),
    ],
)
def test_durations_are_written_as_go_writes_them(value: timedelta, canonical: str, full: str) -> None:
    assert format_duration(value) == canonical
    assert format_go_duration(value) == full


@given(durations | everyday_durations)
def test_reading_what_was_written_gives_the_same_duration(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value
    assert parse_duration(format_go_duration(value)) == value


@given(durations)
def test_nanoseconds_and_text_spell_the_same_duration(value: timedelta) -> None:
    assert parse_duration(duration_nanos(value)) == value


@given(durations | everyday_durations)
def test_the_canonical_form_is_a_fixpoint(value: timedelta) -> None:
    text = format_duration(value)
    assert format_duration(parse_duration(text)) == text
    assert not re.search(r"[hm]0[ms]$", text)


@given(st.text(alphabet="0123456789.-hmsndwuµ ", max_size=12))
def test_no_text_makes_anything_but_a_duration_or_a_value_error(text: str) -> None:
    try:
        value = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(value)) == value
