"""What is said about a workflow as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, Self, Unpack, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.duration import duration_text
from dagnats.dsl.expression import Match
from dagnats.dsl.retry import RetryFields, RetryValue, retry_document
from dagnats.dsl.said import given, text_map
from dagnats.dsl.waitpoint import match_document


class OptionBuilder(Builder):
    """Settings of the workflow. Every setter returns the workflow, so that settings chain."""

    def with_timeout(self, timeout: timedelta | str) -> Self:
        """The deadline of a whole run."""
        return self._set("timeout", duration_text(timeout))

    @overload
    def with_default_retry(self, policy: RetryValue, /) -> Self: ...
    @overload
    def with_default_retry(self, /, *, max_attempts: int, **fields: Unpack[RetryFields]) -> Self: ...

    def with_default_retry(self, policy: RetryValue | None = None, /, **fields: Any) -> Self:
        """For steps without a retry policy of their own: a policy value, or its fields."""
        return self._set("default_retry", retry_document(policy, fields))

    def with_concurrency(
        self, max_runs: int | None = None, max_steps: int | None = None, *, key: str | None = None
    ) -> Self:
        """Limit what goes on at the same time.

        Args:
            max_runs: Runs of this workflow.
            max_steps: Steps in flight in one run.
            key: Dot path into the run's input: `max_runs` then holds for each of its values.
        """
        return self._set("concurrency", given(max_runs=max_runs, max_steps=max_steps, key=key))

    def with_priority(self, key: str, rules: Mapping[str, int], *, default_offset: int | None = None) -> Self:
        """Order pending runs by a value in their input.

        Args:
            key: Dot path into the run's input.
            rules: Offset in seconds for each value, -600 to 600; a higher one starts earlier.
            default_offset: For every other value.
        """
        offsets = text_map(rules, {})
        return self._set("priority", given(key=key, rules=offsets, default_offset=default_offset))

    def with_sticky(self, mode: Literal["", "soft", "hard"] = "soft") -> Self:
        """Let the tasks of a run go to one worker: `soft` prefers it, `hard` needs it."""
        return self._set("sticky", mode)

    def with_singleton(self, mode: Literal["skip", "cancel"] = "skip", *, key: str | None = None) -> Self:
        """One active run at a time, or one for each value at `key`, a dot path into the run's input.

        `skip`: a new run does not start while one is active. `cancel`: the active one is cancelled.
        """
        return self._set("singleton", given(mode=mode, key=key))

    def with_labels(self, labels: Mapping[str, str] | None = None, /, **more: str) -> Self:
        """Texts copied to each run; lists filter by them."""
        return self._set("labels", text_map({} if labels is None else labels, more))

    def with_failure_mode(self, mode: Literal["fail_fast", "drain"]) -> Self:
        """`drain` lets independent branches finish before the run fails; `fail_fast` cancels them."""
        return self._set("failure_mode", mode)

    def with_idempotency_key(self, path: str) -> Self:
        """Dot path into the run's input: starts with the same value there give one run."""
        return self._set("idempotency_key", path)

    def compensate_on(self, *causes: Literal["failure", "cancel", "timeout"]) -> Self:
        """What makes completed steps be undone; failure and timeout unless said."""
        return self._set("compensate_on", list(causes))

    def cancel_on(self, event: str, *, match: Match | None = None, timeout: timedelta | str | None = None) -> Self:
        """Cancel the run when an event comes; may be said up to five times.

        Args:
            event: The event's type.
            match: Only events of which this is true: `wf.event["order_id"] == wf.input["id"]`.
            timeout: How long from the run's start such an event counts; always unless said.
        """
        entries: list[dict[str, Any]] = self._settings.setdefault("cancel_on", [])
        wanted = None if match is None else match_document(match)
        limit = None if timeout is None else duration_text(timeout)
        entries.append(given(event=event, match=wanted, timeout=limit))
        return self._mark(f"cancel_on[{len(entries) - 1}]")
