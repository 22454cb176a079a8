"""Snapshots: a run that was written is the run that is read."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.model.event import NOTHING, Outcome
from dagnats.model.json import NULL, encode
from dagnats.model.run import ENDED, Run, RunStatus, Saga, StepState, StepStatus, decode_run, encode_run

TEXTS = st.text("abé", max_size=4)
TIMES = st.integers(0, 2**63 - 1)
RAWS = st.just(NOTHING) | st.just(NULL) | st.builds(encode, st.integers() | TEXTS)
STATES = st.builds(
    StepState,
    status=st.sampled_from(get_args(StepStatus)),
    attempt=st.integers(0, 9),
    retries=st.integers(0, 9),
    waits_for=st.integers(-1, 9),
    queued_ns=TIMES,
    started_ns=TIMES,
    ended_ns=TIMES,
    worker_id=TEXTS,
    output=RAWS,
    error=TEXTS,
    failure_type=TEXTS,
    retry_at_ns=TIMES,
    deadline_ns=TIMES,
    heartbeat_due_ns=TIMES,
    serves=TEXTS,
)
SAGAS = st.builds(
    Saga,
    trigger_step=TEXTS,
    error=TEXTS,
    awaiting=st.lists(TEXTS, max_size=2),
    queue=st.lists(TEXTS, max_size=2),
    current=TEXTS,
    order=st.lists(TEXTS, max_size=2),
)
RUNS = st.builds(
    Run,
    run_id=TEXTS,
    workflow_id=TEXTS,
    def_hash=TEXTS,
    status=st.sampled_from(get_args(RunStatus)),
    seq=TIMES,
    time_ns=TIMES,
    clock_ns=TIMES,
    created_ns=TIMES,
    ended_ns=TIMES,
    input=RAWS,
    steps=st.dictionaries(TEXTS, STATES, max_size=3),
    early=st.dictionaries(TEXTS, RAWS.filter(bytes), max_size=2),
    remaining=st.integers(0, 9),
    deadline_ns=TIMES,
    deadlines=st.lists(st.tuples(TIMES, TEXTS, st.integers(0, 9)), max_size=3),
    wake_ns=TIMES,
    wake_seq=TIMES,
    saga=st.none() | SAGAS,
    ending=st.sampled_from(["", *get_args(RunStatus)]),
    outcome=st.builds(Outcome, output=RAWS, step_id=TEXTS, error=TEXTS),
    trace_parent=TEXTS,
    core_version=st.integers(0, 9),
)


@given(RUNS)
def test_a_snapshot_reads_as_the_run_it_was_made_of(run: Run) -> None:
    data = encode_run(run)
    again = decode_run(data)
    assert again == run
    assert encode_run(again) == data


@given(RUNS)
def test_a_run_has_ended_when_its_status_is_terminal(run: Run) -> None:
    assert run.ended == (run.status in ENDED)


def test_a_new_run_has_not_ended_and_shares_nothing_with_others() -> None:
    one, other = Run(run_id="a", workflow_id="w"), Run(run_id="b", workflow_id="w")
    assert not one.ended
    one.steps["s"] = StepState()
    one.deadlines.append((1, "", 0))
    assert other.steps == {}
    assert other.deadlines == []


@pytest.mark.parametrize("data", [b"", b"{}", b'{"run_id":"r","workflow_id":"w","status":"lost"}', b"[]"])
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_run(data)
