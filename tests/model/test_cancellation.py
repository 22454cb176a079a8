"""Cancellations on the wire."""

from __future__ import annotations

import pytest

from dagnats.errors import DecodeError
from dagnats.model.cancellation import Cancellation, decode_cancellation, encode_cancellation


def test_a_cancellation_names_its_run_and_the_attempts_to_stop() -> None:
    cancellation = Cancellation(run_id="r1", steps=(("fetch", 1), ("load", 3)))
    assert encode_cancellation(cancellation) == b'{"run_id":"r1","steps":[["fetch",1],["load",3]]}'
    assert decode_cancellation(encode_cancellation(cancellation)) == cancellation


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b'{"steps":[]}', b'{"run_id":"r1","steps":[["a"]]}', b'{"run_id":"\xff"}']
)
def test_bytes_that_are_no_cancellation_are_refused_and_kept(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a cancellation") as refused:
        decode_cancellation(data)
    assert refused.value.data == data
