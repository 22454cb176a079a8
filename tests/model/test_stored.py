"""What DagNats stores for itself beside the runs: waiters, and what is said before runs are removed."""

from __future__ import annotations

import pytest

from dagnats.errors import DecodeError
from dagnats.model.json import encode
from dagnats.model.removal import Removal, decode_removal, encode_removal
from dagnats.model.waiter import Waiter, decode_waiter, encode_waiter

NONE_OF_OURS = [b"", b"\xff", b"[]", b"{}", b"[" * 99_999]


def test_a_removal_names_runs_with_their_last_events() -> None:
    removal = Removal(timestamp="2026-11-21T10:54:00Z", runs=(("r1", 7), ("r2", 9)))
    written = encode_removal(removal)
    assert written == (b'{"type":"retention.removed","timestamp":"2026-11-21T10:54:00Z","runs":[["r1",7],["r2",9]]}')
    assert decode_removal(written) == removal


@pytest.mark.parametrize("data", NONE_OF_OURS)
def test_bytes_that_are_no_removal_are_refused_and_kept(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a removal") as refused:
        decode_removal(data)
    assert refused.value.data == data


def test_a_waiter_is_read_as_it_was_written() -> None:
    waiter = Waiter(id="r.1.0", run_id="r", step_id="s", attempt=1, event="it.came", right=encode({"n": 1}), until_ns=9)
    assert decode_waiter(encode_waiter(waiter)) == waiter


@pytest.mark.parametrize("data", NONE_OF_OURS)
def test_bytes_that_are_no_waiter_are_refused_and_kept(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a waiter") as refused:
        decode_waiter(data)
    assert refused.value.data == data
