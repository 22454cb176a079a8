"""Contexts: what a handler knows about its attempt."""

from __future__ import annotations

import logging

import pytest

from dagnats.handling.context import Stop, SyncTaskContext, TaskContext


@pytest.mark.parametrize("kind", [TaskContext, SyncTaskContext])
def test_a_context_tells_which_attempt_it_is_about(kind: type[TaskContext | SyncTaskContext]) -> None:
    context = kind(run_id="r", step_id="s", workflow="w", task="t", attempt=2, worker_id="k")
    assert (context.run_id, context.step_id, context.workflow, context.task) == ("r", "s", "w", "t")
    assert (context.attempt, context.worker_id) == (2, "k")


def test_a_context_cannot_be_changed_and_equals_its_like() -> None:
    context = TaskContext(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="k")
    assert context == TaskContext(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="k")
    with pytest.raises(AttributeError):
        context.attempt = 2  # pyright: ignore[reportAttributeAccessIssue]  # the test's point


@pytest.mark.parametrize("kind", [TaskContext, SyncTaskContext])
def test_a_context_says_when_nobody_wants_the_result_any_more(kind: type[TaskContext | SyncTaskContext]) -> None:
    stop = Stop()
    context = kind(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="k", stop=stop)
    assert not context.is_cancelled
    stop.asked = True
    assert context.is_cancelled
    assert context == kind(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="k")


def test_the_logger_says_which_run_and_step_speaks(caplog: pytest.LogCaptureFixture) -> None:
    context = TaskContext(run_id="r1", step_id="charge", workflow="w", task="pay.charge", attempt=3, worker_id="k")
    with caplog.at_level(logging.INFO, logger="dagnats.task.pay.charge"):
        context.logger.info("charged %d", 5, extra={"cents": 900})
    (record,) = caplog.records
    assert record.name == "dagnats.task.pay.charge"
    assert record.getMessage() == "[run_id=r1 step=charge] charged 5"
    assert {key: getattr(record, key) for key in ("run_id", "step_id", "attempt", "cents")} == {
        "run_id": "r1",
        "step_id": "charge",
        "attempt": 3,
        "cents": 900,
    }
