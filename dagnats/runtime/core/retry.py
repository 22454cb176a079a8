"""How long a retry waits. Integers and fixed-precision decimals: no float can make two engines disagree."""

from __future__ import annotations

import hashlib
from decimal import Context, Decimal
from typing import TYPE_CHECKING, assert_never

from dagnats.model.duration import duration_nanos

if TYPE_CHECKING:
    from dagnats.model.definition import RetryPolicy
    from dagnats.model.event import Failure

MILLISECOND = 1_000_000
HOUR = 3_600_000 * MILLISECOND
LONGEST = 365 * 24 * HOUR  # where growth saturates when the policy has no cap
_EXACT = Context(prec=40, traps=[])  # an overflow gives Infinity, which the cap then cuts
RETRY_AFTER = (100 * MILLISECOND, HOUR)  # the promise of the error handling guide


def retry_delay(policy: RetryPolicy, failure: Failure, *, run_id: str, step_id: str, retry: int) -> int:
    """Nanoseconds to wait before retry number `retry` (1, 2, …) of a step."""
    if failure.failure_type == "retry_after":
        shortest, longest = RETRY_AFTER
        return min(max(failure.retry_after_ms * MILLISECOND, shortest), longest)
    delay = _grown(policy, retry)
    if policy.jitter:
        spread = _EXACT.multiply(Decimal(str(policy.jitter)), _spread(run_id, step_id, retry))
        delay = _EXACT.add(delay, _EXACT.multiply(delay, spread))
    cap = duration_nanos(policy.max_delay) or LONGEST
    return max(int(min(delay, Decimal(cap))), MILLISECOND)


def _grown(policy: RetryPolicy, retry: int) -> Decimal:
    initial = Decimal(duration_nanos(policy.initial_delay))
    match policy.strategy:
        case "fixed":
            delay = initial
        case "linear":
            delay = _EXACT.multiply(initial, Decimal(retry))
        case "exponential":
            factor = _EXACT.power(Decimal(str(policy.multiplier)), retry - 1)
            delay = _EXACT.multiply(initial, factor) if initial else initial
        case _:
            assert_never(policy.strategy)
    return min(delay, Decimal(LONGEST))


def _spread(run_id: str, step_id: str, retry: int) -> Decimal:
    """A number in -1 … 1 that is the same in every replay."""
    digest = hashlib.sha256(f"{run_id}\0{step_id}\0{retry}".encode()).digest()
    return _EXACT.subtract(_EXACT.divide(Decimal(int.from_bytes(digest[:8])), Decimal(2**63)), Decimal(1))
