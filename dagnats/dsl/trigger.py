"""What starts runs of a workflow by itself: `on_cron`, `on_subject`, `on_webhook`, `on_http`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, Self

from dagnats.dsl.builder import Builder
from dagnats.dsl.duration import duration_text
from dagnats.dsl.limit import Debounce
from dagnats.dsl.said import given
from dagnats.model.duration import parse_duration


class TriggerBuilder(Builder):
    """Adds triggers. Each has an id of its own: `<workflow>-<kind>` unless said, with a number from the second on."""

    def on_cron(
        self,
        expression: str,
        *,
        timezone: str | None = None,
        backfill: bool | None = None,
        id: str | None = None,
        enabled: bool | None = None,
    ) -> Self:
        """Start a run at every minute that a cron expression of five fields matches.

        Args:
            expression: Minute, hour, day of month, month, day of week.
            timezone: Its IANA time zone; UTC unless said.
            backfill: Whether minutes that were missed are made up for.
            id: The trigger's id.
            enabled: Whether it starts runs; it does unless said.
        """
        config = given(expression=expression, timezone=timezone, backfill=backfill)
        return self._trigger("cron", config, id, enabled)

    def on_subject(
        self, subject: str, *, debounce: Debounce | None = None, id: str | None = None, enabled: bool | None = None
    ) -> Self:
        """Start a run for every message on a NATS subject, wildcards included."""
        return self._trigger("subject", {"subject": subject}, id, enabled, debounce)

    def on_webhook(
        self,
        path: str,
        *,
        secret: str | None = None,
        debounce: Debounce | None = None,
        id: str | None = None,
        enabled: bool | None = None,
    ) -> Self:
        """Start a run for every POST to `path` (`/hooks/…`), and do not wait for it.

        With a `secret` requests must be signed with it. It stands in the definition: do not commit a real one.
        """
        return self._trigger("webhook", given(path=path, secret=secret), id, enabled, debounce)

    def on_http(
        self,
        path: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST",
        timeout: timedelta | str | None = None,
        max_body_bytes: int | None = None,
        secret: str | None = None,
        idempotency_header: str | None = None,
        authentication: Mapping[str, str] | None = None,
        debounce: Debounce | None = None,
        id: str | None = None,
        enabled: bool | None = None,
    ) -> Self:
        """Start a run for every request to `path` (`/api/…`), and answer with what its `respond` step says.

        Args:
            path: Where it listens.
            method: For which method.
            timeout: How long the caller waits; 30 s unless said.
            max_body_bytes: Longer bodies are refused; 1 MiB unless said.
            secret: Requests must be signed with it. It stands in the definition: do not commit a real one.
            idempotency_header: Requests with the same value in this header start one run.
            authentication: How callers authenticate, for the API's description.
            debounce: Many requests, one run.
            id: The trigger's id.
            enabled: Whether it starts runs; it does unless said.
        """
        config = given(
            path=path,
            method=method,
            timeout_ms=None if timeout is None else _milliseconds(timeout),
            max_body_bytes=max_body_bytes,
            secret=secret,
            idempotency_header=idempotency_header,
            authentication=authentication,
        )
        return self._trigger("http", config, id, enabled, debounce)

    def on_external(
        self,
        kind: str,
        config: Mapping[str, Any] | None = None,
        *,
        debounce: Debounce | None = None,
        id: str | None = None,
        enabled: bool | None = None,
    ) -> Self:
        """Start runs by a trigger type that a worker provides: see `trigger_type`."""
        settings = {"kind": kind, "config": {} if config is None else dict(config)}
        return self._trigger("external", settings, id, enabled, debounce)

    def _trigger(
        self, kind: str, config: dict[str, Any], id: str | None, enabled: bool | None, debounce: Debounce | None = None
    ) -> Self:
        triggers: list[dict[str, Any]] = self._settings.setdefault("triggers", [])
        number = 1 + sum(kind in trigger for trigger in triggers)
        name = id or (f"{self.name}-{kind}" if number == 1 else f"{self.name}-{kind}-{number}")
        limit = None if debounce is None else _debounce(debounce)
        triggers.append(given(id=name, enabled=enabled, **{kind: config}, debounce=limit))
        return self._mark(f"triggers[{len(triggers) - 1}]")


def _debounce(debounce: object) -> dict[str, Any]:
    if not isinstance(debounce, Debounce):
        raise TypeError(f"Debounce(…) is expected, not {debounce!r}")
    timeout = None if debounce.timeout is None else duration_text(debounce.timeout)
    return given(period=duration_text(debounce.period), timeout=timeout, key=debounce.key)


def _milliseconds(timeout: timedelta | str) -> int | str:
    """The unit of the definition. What cannot be read stays as it is; the build tells it."""
    text = duration_text(timeout)
    try:
        return parse_duration(text) // timedelta(milliseconds=1)
    except ValueError:
        return text
