"""What operators say, as it is in the log."""

from __future__ import annotations

import pytest

from dagnats.errors import DecodeError
from dagnats.model.ops import (
    TICKS,
    Fact,
    GateTicked,
    QueueMeasured,
    RepairAsked,
    TaskLimited,
    WorkflowLimited,
    decode_fact,
    encode_fact,
    encode_repair,
    is_fact,
    queue_history,
    task_history,
    workflow_history,
)

FACTS = [
    TaskLimited(task="mail.send", concurrency=3, rate=2, period_ns=5, by="ann", reason="too hot"),
    TaskLimited(task="mail.send", paused=True),
    WorkflowLimited(workflow="order", max_runs=1, paused=True),
    GateTicked(due_ns=7),
    QueueMeasured(queue="mail.send.gpu", room=-1),
]


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_survives_the_log(fact: Fact) -> None:
    assert decode_fact(encode_fact(fact)) == fact


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b'{"type":"step.completed","run_id":"r"}',
        b'{"type":"task.limited"}',
        b'{"type":"task.limited","task":"t","concurrency":-1}',
        b'{"type":"task.limited","task":"t","rate":1}',
        b'{"type":"queue.measured","queue":"t","room":-2}',
    ],
)
def test_what_is_no_fact_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a fact about gates"):
        decode_fact(data)


def test_a_repair_says_who_asked_for_it_and_is_no_fact_about_gates() -> None:
    said = encode_repair(RepairAsked(by="ann", reason="a disk was swapped"))
    assert said == b'{"type":"repair.asked","by":"ann","reason":"a disk was swapped"}'
    with pytest.raises(DecodeError):
        decode_fact(said)


def test_a_rate_without_its_period_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        TaskLimited(task="t", period_ns=1)


def test_facts_have_histories_of_their_own() -> None:
    assert is_fact(task_history("mail.send"))
    assert is_fact(workflow_history("order"))
    assert is_fact(TICKS)
    assert is_fact(queue_history("mail.send.gpu"))
    assert not is_fact("_ops.retention")


def test_what_leaves_everything_to_the_definitions_is_idle() -> None:
    assert TaskLimited(task="t", by="ann").is_idle
    assert WorkflowLimited(workflow="w").is_idle
    assert not TaskLimited(task="t", paused=True).is_idle
    assert not WorkflowLimited(workflow="w", max_runs=1).is_idle
