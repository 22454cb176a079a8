"""What is said about a workflow as a whole: options and triggers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dagnats.dsl.expression import Match
from dagnats.dsl.limit import Debounce
from dagnats.dsl.retry import Fixed
from dagnats.dsl.workflow import Workflow
from tests.dsl.said import line, told, written

Use = Callable[[Any], object]


def _wf(**settings: Any) -> Workflow:
    wf = Workflow("w", **settings)
    wf.task("a", "t")
    return wf


def _options(wf: Workflow) -> dict[str, Any]:
    return {key: value for key, value in written(wf).items() if key != "steps"}


OPTIONS: list[tuple[Use, dict[str, Any]]] = [
    (lambda wf: wf.with_timeout(timedelta(minutes=10)), {"timeout": "10m"}),
    (
        lambda wf: wf.with_default_retry(Fixed(max_attempts=2)),
        {"default_retry": {"max_attempts": 2, "initial_delay": "1s"}},
    ),
    (
        lambda wf: wf.with_default_retry(max_attempts=2, strategy="fixed", initial_delay="5s"),
        {"default_retry": {"max_attempts": 2, "initial_delay": "5s"}},
    ),
    (lambda wf: wf.with_concurrency(5), {"concurrency": {"max_runs": 5}}),
    (
        lambda wf: wf.with_concurrency(max_runs=1, max_steps=9, key="customer"),
        {"concurrency": {"max_runs": 1, "max_steps": 9, "key": "customer"}},
    ),
    (lambda wf: wf.with_priority("tier", {"gold": -600}), {"priority": {"key": "tier", "rules": {"gold": -600}}}),
    (
        lambda wf: wf.with_priority("tier", {"b": 1, "a": 2}, default_offset=60),
        {"priority": {"key": "tier", "rules": {"a": 2, "b": 1}, "default_offset": 60}},
    ),
    (lambda wf: wf.with_sticky(), {"sticky": "soft"}),
    (lambda wf: wf.with_sticky("hard").with_timeout("1h"), {"timeout": "1h", "sticky": "hard"}),
    (lambda wf: wf.with_singleton(), {"singleton": {"mode": "skip"}}),
    (lambda wf: wf.with_singleton("cancel", key="id"), {"singleton": {"mode": "cancel", "key": "id"}}),
    (lambda wf: wf.with_labels({"team": "a"}, cost="b"), {"labels": {"cost": "b", "team": "a"}}),
    (lambda wf: wf.with_labels(team="a"), {"labels": {"team": "a"}}),
    (lambda wf: wf.with_failure_mode("drain"), {"failure_mode": "drain"}),
    (lambda wf: wf.with_idempotency_key("order.id"), {"idempotency_key": "order.id"}),
    (lambda wf: wf.compensate_on("cancel", "failure"), {"compensate_on": ["failure", "cancel"]}),
    (lambda wf: wf.compensate_on(), {"compensate_on": []}),
    (
        lambda wf: wf.cancel_on("a").cancel_on("b", match=wf.event["id"] == wf.input["id"], timeout="1h"),
        {
            "cancel_on": [
                {"event": "a"},
                {"event": "b", "match": {"left": "id", "op": "eq", "right": "input.id"}, "timeout": "1h"},
            ]
        },
    ),
    (
        lambda wf: wf.cancel_on("a", match=Match("kind", "in", {"value": ["x", "y"]})),
        {"cancel_on": [{"event": "a", "match": {"left": "kind", "op": "in", "right": {"value": ["x", "y"]}}}]},
    ),
    (
        lambda wf: wf.on_cron("0 9 * * 1-5"),
        {"triggers": [{"id": "w-cron", "cron": {"expression": "0 9 * * 1-5"}}]},
    ),
    (
        lambda wf: wf.on_cron("0 9 * * *", timezone="Europe/Berlin", backfill=True, id="daily", enabled=False),
        {
            "triggers": [
                {
                    "id": "daily",
                    "enabled": False,
                    "cron": {"expression": "0 9 * * *", "timezone": "Europe/Berlin", "backfill": True},
                }
            ]
        },
    ),
    (
        lambda wf: wf.on_subject("orders.>", debounce=Debounce("5s")),
        {"triggers": [{"id": "w-subject", "subject": {"subject": "orders.>"}, "debounce": {"period": "5s"}}]},
    ),
    (
        lambda wf: wf.on_webhook("/hooks/a", secret="s", debounce=Debounce("5s", timedelta(minutes=1), key="id")),
        {
            "triggers": [
                {
                    "id": "w-webhook",
                    "webhook": {"path": "/hooks/a", "secret": "s"},
                    "debounce": {"period": "5s", "timeout": "1m", "key": "id"},
                }
            ]
        },
    ),
    (
        lambda wf: wf.on_http("/api/a"),
        {"triggers": [{"id": "w-http", "http": {"path": "/api/a", "method": "POST"}}]},
    ),
    (
        lambda wf: wf.on_http(
            "/api/a",
            method="GET",
            timeout="1.5s",
            max_body_bytes=10,
            secret="0123456789abcdef",
            idempotency_header="Idempotency-Key",
            authentication={"name": "key", "type": "apiKey", "in": "header", "header_name": "X-Key"},
        ),
        {
            "triggers": [
                {
                    "id": "w-http",
                    "http": {
                        "path": "/api/a",
                        "method": "GET",
                        "timeout_ms": 1500,
                        "max_body_bytes": 10,
                        "secret": "0123456789abcdef",
                        "idempotency_header": "Idempotency-Key",
                        "authentication": {"name": "key", "type": "apiKey", "in": "header", "header_name": "X-Key"},
                    },
                }
            ]
        },
    ),
    (
        lambda wf: wf.on_external("kafka", {"topic": "orders"}).on_external("sqs"),
        {
            "triggers": [
                {"id": "w-external", "external": {"kind": "kafka", "config": {"topic": "orders"}}},
                {"id": "w-external-2", "external": {"kind": "sqs"}},
            ]
        },
    ),
    (
        lambda wf: wf.on_cron("0 9 * * *").on_webhook("/hooks/a").on_cron("0 10 * * *").on_cron("0 11 * * *"),
        {
            "triggers": [
                {"id": "w-cron", "cron": {"expression": "0 9 * * *"}},
                {"id": "w-webhook", "webhook": {"path": "/hooks/a"}},
                {"id": "w-cron-2", "cron": {"expression": "0 10 * * *"}},
                {"id": "w-cron-3", "cron": {"expression": "0 11 * * *"}},
            ]
        },
    ),
]


@pytest.mark.parametrize(("use", "document"), OPTIONS)
def test_an_option_is_written_as_it_was_said(use: Use, document: dict[str, Any]) -> None:
    wf = _wf()
    assert use(wf) is wf
    assert _options(wf) == document


def test_options_of_the_constructor_say_the_same_as_setters() -> None:
    said = _wf(timeout="10m", default_retry=Fixed(max_attempts=1), idempotency_key="id")
    built = _wf().with_timeout("10m").with_default_retry(Fixed(max_attempts=1)).with_idempotency_key("id")
    assert said.build() == built.build()
    assert said.version == "1"


def test_triggers_are_no_part_of_a_workflows_identity() -> None:
    assert _wf().build().identity == _wf().on_cron("0 9 * * *").build().identity
    assert _wf().build().identity != _wf().with_labels(team="a").build().identity


def test_every_wrong_value_is_told_at_the_line_that_said_it() -> None:
    # fmt: off
    wf = _wf(); at = line()  # noqa: E702
    wf.with_concurrency(-1)
    wf.with_priority("a..b", {"gold": 9999})
    wf.with_singleton("replace")  # pyright: ignore[reportArgumentType]  # the test's point
    wf.with_sticky("hard")
    wf.cancel_on("paid").cancel_on("a b")
    wf.on_cron("0 9 * * *").on_http("api/quote", timeout="soon")
    # fmt: on
    assert sorted(told(wf)) == [
        ("cancel_on[1].event", "subject", at + 5),
        ("concurrency.max_runs", "range", at + 1),
        ("priority.key", "dot-path", at + 2),
        ("priority.rules.gold", "range", at + 2),
        ("singleton.mode", "unknown-value", at + 3),
        ("sticky", "sticky-timeout", at + 4),
        ("triggers[1].http.path", "url-path", at + 6),
        ("triggers[1].http.timeout_ms", "type", at + 6),
    ]


WRONG_KINDS: list[tuple[Use, str]] = [
    (lambda wf: wf.with_timeout(30), "a duration is"),
    (lambda wf: wf.with_default_retry("often"), "a retry policy is"),
    (lambda wf: wf.with_labels("team"), "a mapping of texts is expected"),
    (lambda wf: wf.with_priority("a", ["b"]), "a mapping of texts is expected"),
    (lambda wf: wf.cancel_on("a", match="b"), "a match such as"),
    (lambda wf: wf.cancel_on("a", timeout=3), "a duration is"),
    (lambda wf: wf.on_subject("a", debounce="5s"), "Debounce(…) is expected, not '5s'"),
    (lambda wf: wf.on_webhook("/a", debounce=Debounce(5)), "a duration is"),  # pyright: ignore[reportArgumentType]  # the test's point
    (lambda wf: wf.on_http("/a", timeout=30), "a duration is"),
]


@pytest.mark.parametrize(("use", "complaint"), WRONG_KINDS)
def test_a_wrong_kind_of_argument_is_a_type_error_at_once(use: Use, complaint: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(_wf())
    assert complaint in str(caught.value)
