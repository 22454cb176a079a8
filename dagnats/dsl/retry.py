"""Retry policies as values: `retry=Exponential(max_attempts=3)`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal, TypedDict

from dagnats.dsl.duration import duration_text

DurationLike = timedelta | str


class RetryFields(TypedDict, total=False):
    """A policy by its fields, as `with_retry` takes them."""

    strategy: Literal["fixed", "linear", "exponential"]
    initial_delay: DurationLike
    max_delay: DurationLike | None
    multiplier: float
    jitter: float


@dataclass(frozen=True, kw_only=True)
class _Retry:
    """Shared fields.

    Attributes:
        max_attempts: Retries after the first execution.
        initial_delay: Before the first retry: a timedelta, or a string such as `"1s"`.
        max_delay: No delay is longer; None means no cap.
        jitter: Share of the delay that is spread, 0 … 1; the same in every replay.
    """

    strategy: ClassVar[str]
    max_attempts: int
    initial_delay: DurationLike = "1s"
    max_delay: DurationLike | None = None
    jitter: float = 0.0

    def document(self) -> dict[str, Any]:
        """The policy as the definition writes it; values are checked at build."""
        policy: dict[str, Any] = {
            "max_attempts": self.max_attempts,
            "strategy": self.strategy,
            "initial_delay": duration_text(self.initial_delay),
        }
        if self.max_delay is not None:
            policy["max_delay"] = duration_text(self.max_delay)
        if self.jitter:
            policy["jitter"] = self.jitter
        return policy


@dataclass(frozen=True, kw_only=True)
class Fixed(_Retry):
    """The same delay before every retry."""

    strategy: ClassVar[str] = "fixed"


@dataclass(frozen=True, kw_only=True)
class Linear(_Retry):
    """`initial_delay · k` before retry k."""

    strategy: ClassVar[str] = "linear"


@dataclass(frozen=True, kw_only=True)
class Exponential(_Retry):
    """`initial_delay · multiplier^(k-1)` before retry k."""

    strategy: ClassVar[str] = "exponential"
    multiplier: float = 2.0

    def document(self) -> dict[str, Any]:
        return {**super().document(), "multiplier": self.multiplier}


RetryValue = Fixed | Linear | Exponential

_STRATEGIES = {"fixed": Fixed, "linear": Linear, "exponential": Exponential}


def retry_document(policy: RetryValue | None, fields: dict[str, Any]) -> dict[str, Any]:
    """The policy as the definition writes it: a policy value, or its fields.

    Raises:
        TypeError: It is no retry policy, or both were given, or the fields are not those of a policy.
    """
    if policy is None:
        policy = _policy(fields)
    elif fields:
        raise TypeError("a retry policy or its fields are expected, not both")
    if not isinstance(policy, _Retry):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"a retry policy is Fixed(…), Linear(…) or Exponential(…), not {policy!r}")
    return policy.document()


def _policy(fields: dict[str, Any]) -> RetryValue:
    strategy = fields.pop("strategy", "exponential")
    if strategy not in _STRATEGIES:
        raise TypeError(f"strategy is one of {', '.join(map(repr, _STRATEGIES))}, not {strategy!r}")
    if strategy != "exponential" and fields.pop("multiplier", 2.0) != 2.0:
        raise TypeError(f"only the exponential strategy has a multiplier, not {strategy!r}")
    return _STRATEGIES[strategy](**fields)
