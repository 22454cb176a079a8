"""What a run waits for, by the engine alone: a time, an event, a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Self

from dagnats.dsl.builder import Builder
from dagnats.dsl.duration import duration_text
from dagnats.dsl.expression import Match
from dagnats.dsl.said import given, text_map
from dagnats.dsl.step import Step


class SleepStep(Step[Any, None]):
    """A wait for a time."""

    type: ClassVar[str] = "sleep"


class WaitStep(Step[Any, Any]):
    """A wait for an event. Its output is the event's body, or `{"timeout": true}`."""

    type: ClassVar[str] = "wait_for_event"
    match: Match | None = None

    def with_timeout(self, timeout: timedelta | str) -> Self:
        """How long to wait; then the step completes with `{"timeout": true}`."""
        return self._set("config.timeout", duration_text(timeout))

    def with_lookback(self, lookback: timedelta | str) -> Self:
        """Take an event that came this long before the wait began, too."""
        return self._set("config.lookback", duration_text(lookback))


class ApprovalStep(Step[Any, Any]):
    """A question to a person. Its output is `{"approved": true, …}`; rejected or expired, the step fails."""

    type: ClassVar[str] = "approval"

    def with_timeout(self, timeout: timedelta | str) -> Self:
        """How long to wait for the answer, at most 168 h; then the step fails."""
        return self._set("config.timeout", duration_text(timeout))


class WaitpointBuilder(Builder):
    """Adds steps of the types `sleep`, `wait_for_event` and `approval`."""

    def sleep(
        self,
        step_id: str,
        duration: timedelta | str | None = None,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        until_input_path: str | None = None,
    ) -> SleepStep:
        """Add a wait for a time: exactly one of `duration`, `cron` and `until_input_path`.

        Args:
            step_id: The step's id.
            duration: How long, at most 365 days.
            cron: Until the next minute that this expression matches, in `timezone`.
            timezone: The IANA time zone of `cron`; UTC unless said.
            until_input_path: Until the time at this dot path of the run's input.
        """
        length = None if duration is None else duration_text(duration)
        config = given(duration=length, cron=cron, timezone=timezone, until_input_path=until_input_path)
        return self._add(SleepStep(self, step_id)._set("config", config))

    def wait_for_event(
        self,
        step_id: str,
        event: str,
        *,
        match: Match,
        timeout: timedelta | str,
        lookback: timedelta | str | None = None,
    ) -> WaitStep:
        """Add a wait for an event that belongs to this run.

        Args:
            step_id: The step's id.
            event: The event's type.
            match: Which events of this type count: `wf.event["order_id"] == wf.input["id"]`.
            timeout: How long to wait; then the step completes with `{"timeout": true}`.
            lookback: Take an event that came this long before the wait began, too.
        """
        step = WaitStep(self, step_id)
        step._set("config", {"event": event, "match": match_document(match)})
        step.match = match
        step.with_timeout(timeout)
        return self._add(step if lookback is None else step.with_lookback(lookback))

    def approval(
        self,
        step_id: str,
        *,
        subject: str,
        timeout: timedelta | str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        form: Any = None,
    ) -> ApprovalStep:
        """Add a question to a person.

        Args:
            step_id: The step's id.
            subject: The NATS subject that is told about the question.
            timeout: How long to wait, at most 168 h; then the step fails.
            description: The question, for people.
            metadata: Passed on with the question.
            form: What the answer must be: a type, or a JSON Schema.
        """
        texts = None if metadata is None else text_map(metadata, {})
        config = given(subject=subject, description=description, metadata=texts)
        step = ApprovalStep(self, step_id)._set("config", config).with_timeout(timeout)
        return self._add(step if form is None else step._declare("config.form", form))


def match_document(match: object) -> dict[str, Any]:
    """A match as the definition writes it.

    Raises:
        TypeError: It is no match.
    """
    if not isinstance(match, Match):
        raise TypeError(f"a match such as `wf.event['id'] == wf.input['id']` is expected, not {match!r}")
    return match.document()
