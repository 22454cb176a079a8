"""What a running step says of itself, as it is stored."""

from __future__ import annotations

import msgspec
import pytest

from dagnats.model.pulse import Pulse, decode_pulse, encode_pulse


def test_a_pulse_survives_the_bucket_and_says_nothing_of_what_nobody_said() -> None:
    pulse = Pulse(attempt=2, at="2026-11-21T18:45:20Z", details=msgspec.Raw(b'{"page": 3}'), fraction=0.5)
    stored = encode_pulse(pulse)
    assert stored == b'{"attempt":2,"at":"2026-11-21T18:45:20Z","details":{"page": 3},"fraction":0.5}'
    read = decode_pulse(stored)
    assert read is not None
    assert (read.attempt, read.at, bytes(read.details), read.fraction) == (2, pulse.at, b'{"page": 3}', 0.5)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"attempt":"two"}', b'{"message":"\xff"}'])
def test_what_is_no_pulse_is_passed_over(data: bytes) -> None:
    assert decode_pulse(data) is None
