"""A worker's entry in the directory, as workers in any language make it."""

from __future__ import annotations

import pytest

from dagnats.errors import DecodeError
from dagnats.model.worker import WorkerEntry, decode_worker, encode_worker


def test_an_entry_survives_the_directory() -> None:
    entry = WorkerEntry(worker_id="go-17", task_types=("charge", "refund"), groups=("gpu",), language="go", max_tasks=4)
    assert decode_worker(encode_worker(entry)) == entry


def test_what_another_language_leaves_out_or_adds_does_no_harm() -> None:
    entry = decode_worker(b'{"worker_id":"go-17","task_types":["charge"],"uptime_s":12}')
    assert (entry.worker_id, entry.task_types, entry.groups, entry.pid) == ("go-17", ("charge",), (), 0)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b'{"worker_id":7}'])
def test_what_is_no_entry_is_refused_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a worker's entry") as refused:
        decode_worker(data)
    assert refused.value.data == data
