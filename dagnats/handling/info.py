"""What failure and compensation steps receive."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class FailureInfo(BaseModel, Generic[T]):
    """The input of an `on_failure` step. T is the failed step's input type.

    Attributes:
        failed_step: Which step failed for good.
        error: What its last attempt said.
        failure_type: `retriable`, `non_retriable` or `retry_after`.
        attempts: How often it was tried.
        input: What it had received.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    failed_step: str
    error: str
    failure_type: str
    attempts: int
    input: T


class Compensation(BaseModel, Generic[T]):
    """The input of a compensation step. T is the output type of the step it undoes.

    Attributes:
        original_step: The completed step to undo.
        original_output: What it had returned.
        trigger_step: The step whose failure is the reason; "" when it was the run's deadline.
        trigger_error: That failure.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    original_step: str
    original_output: T
    trigger_step: str
    trigger_error: str
