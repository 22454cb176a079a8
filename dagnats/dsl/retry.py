"""Retry policies as values: `retry=Exponential(max_attempts=3)`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

from dagnats.dsl.duration import duration_text

DurationLike = timedelta | str


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


def retry_document(policy: RetryValue) -> dict[str, Any]:
    """The policy as the definition writes it.

    Raises:
        TypeError: It is no retry policy.
    """
    if not isinstance(policy, _Retry):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"a retry policy is Fixed(…), Linear(…) or Exponential(…), not {policy!r}")
    return policy.document()
