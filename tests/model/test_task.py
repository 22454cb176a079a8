"""Tasks on the wire, as a Go worker reads and writes them too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.errors import DecodeError
from dagnats.model.json import encode
from dagnats.model.task import Task, decode_task, encode_task

TEXTS = st.text("abé", max_size=4)
TASKS = st.builds(
    Task,
    task_id=TEXTS,
    run_id=TEXTS,
    step_id=TEXTS,
    attempt=st.integers(0, 99),
    input=st.builds(encode, st.none() | st.integers() | TEXTS),
    workflow_name=TEXTS,
    timeout_ms=st.integers(0, 10**12),
    heartbeat_ms=st.integers(0, 10**12),
    expires=st.integers(0, 10**15),
    deadline=st.integers(0, 10**15),
    traceparent=TEXTS,
    tries=st.integers(0, 99),
    consumed=st.dictionaries(TEXTS, st.integers(0, 2**62), max_size=2),
)


@given(TASKS)
def test_a_task_that_was_written_reads_as_it_was(task: Task) -> None:
    assert decode_task(encode_task(task)) == task


def test_a_task_on_the_wire_has_whole_milliseconds_and_no_limits_that_are_not_set() -> None:
    task = Task(task_id="r.s", run_id="r", step_id="s", attempt=1, input=encode(7))
    assert encode_task(task) == b'{"task_id":"r.s","run_id":"r","step_id":"s","attempt":1,"input":7}'
    limits: dict[str, Any] = {
        "timeout_ms": 30_000,
        "heartbeat_ms": 10_000,
        "expires": 1_790_000_060_000,
        "deadline": 1_790_003_600_000,
    }
    limited = Task(task_id="r.s", run_id="r", step_id="s", attempt=1, input=encode(7), **limits)
    assert json.loads(encode_task(limited)) == {**json.loads(encode_task(task)), **limits}


def test_a_go_engines_task_can_be_read() -> None:
    task = decode_task(
        b'{"task_id":"r.s","run_id":"r","step_id":"s","input":{"n":1},"attempt":2,"iteration":0,"metadata":{"k":"v"}}'
    )
    expected = Task(task_id="r.s", run_id="r", step_id="s", attempt=2, input=encode({"n": 1}), metadata={"k": "v"})
    assert task == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"run_id":"r"}',
        b'{"run_id":"r","step_id":"\xff"}',
        b'{"run_id":"r","step_id":"s","x":' + b"[" * 99_999,
    ],
)
def test_what_is_no_task_is_refused_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a task") as caught:
        decode_task(data)
    assert caught.value.data == data


def test_what_another_engine_writes_as_null_is_as_if_it_were_not_there() -> None:
    task = decode_task(b'{"run_id":"r","step_id":"s","metadata":null,"attempt":null,"input":null}')
    assert (task.metadata, task.attempt, bytes(task.input)) == ({}, 0, b"")
    with pytest.raises(DecodeError):
        decode_task(b'{"run_id":null,"step_id":"s"}')
