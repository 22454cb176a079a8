"""Instants: nanoseconds to RFC 3339 and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.instant import parse_rfc3339, rfc3339, second_text, table_time, written_ns

# From the year 1000 to 9999: four digits, so that the text is RFC 3339.
ODD = "2025-01-15T09:00:00.1x3456789Z"
"""As long as what we write."""

instants = st.integers(-30_610_224_000 * 10**9, 253_402_300_799 * 10**9)


@given(instants)
def test_reading_what_was_written_gives_the_same_instant(nanos: int) -> None:
    assert parse_rfc3339(rfc3339(nanos)) == nanos


def test_an_instant_is_written_in_utc_with_nanoseconds() -> None:
    assert rfc3339(1_736_931_600_000_000_001) == "2025-01-15T09:00:00.000000001Z"


def test_an_instant_for_people_has_no_fraction() -> None:
    assert table_time(1_736_931_600_999_999_999) == "2025-01-15 09:00:00"
    assert second_text(1_736_931_600_999_999_999) == "2025-01-15T09:00:00Z"


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.123456789Z", 123_456_789),
        ("1970-01-01T00:00:00.1234567899Z", 123_456_789),
        ("1970-01-01T01:00:00.000000007+01:00", 7),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_offsets_and_fractions_are_read_exactly(text: str, nanos: int) -> None:
    assert parse_rfc3339(text) == nanos


@pytest.mark.parametrize("text", ["", "yesterday", "2025-01-15", "2025-01-15T09:00:00", "2025-13-01T00:00:00Z", ODD])
def test_what_is_no_instant_with_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_rfc3339(text)


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.+Z-]{0,24}", fullmatch=True))
def test_no_text_makes_anything_but_an_instant_or_a_value_error(text: str) -> None:
    try:
        nanos = parse_rfc3339(text)
    except ValueError:
        return
    assert isinstance(nanos, int)


def test_what_somebody_else_wrote_is_an_instant_or_nothing() -> None:
    assert written_ns("1970-01-01T00:00:01Z") == 1_000_000_000
    assert written_ns("") == written_ns("yesterday") == written_ns("2026-01-01T00:00:00") == 0
