"""Every rule a definition must keep: its slug, what it says, and a document that breaks it.

The slugs are stable: programs compare them. The table in the docs is made from this one, and every example is a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        slug: Its stable name, as problems carry it.
        says: What must be so.
        path: Where the example breaks it.
        example: A document that breaks it and no other rule; None when it would be too long to show.
        severity: `error`, or `warning` for what is allowed but probably not meant.
        dialect: The dialect it belongs to, or "" when it holds for every definition.
    """

    slug: str
    says: str
    path: str
    example: dict[str, Any] | str | None
    severity: Severity = "error"
    dialect: str = ""


def _step(step_id: str, *needs: str, **settings: Any) -> dict[str, Any]:
    return {"id": step_id, "task": "t", **({"depends_on": list(needs)} if needs else {}), **settings}


def _flow(*steps: Any, **settings: Any) -> dict[str, Any]:
    return {"name": "w", "steps": list(steps) or [_step("a")], **settings}


def _engine_run(kind: str, *needs: str, step_id: str = "x", **config: Any) -> dict[str, Any]:
    step: dict[str, Any] = {"id": step_id, **({"depends_on": list(needs)} if needs else {}), "type": kind}
    return {**step, "config": config} if config else step


_HTTP: dict[str, Any] = {"id": "h", "http": {"path": "/api/quote", "method": "GET"}}
_RETRY: dict[str, Any] = {"max_attempts": 1}
_EVENT: dict[str, Any] = {"event": "paid", "timeout": "1h"}

_READING = (
    Rule("json", "The text is UTF-8 and JSON; no key stands twice in one object.", "$", '{"name": "w", "name": "v"}'),
    Rule("too-large", "A definition has at most 1 MiB.", "$", None),
)
_SHAPE = (
    Rule("type", "Every value has the kind that the key asks for.", "version", _flow(version=1)),
    Rule("required", "Every key that has no default is there.", "steps[0].task", _flow({"id": "a"})),
    Rule("unknown-key", "There are no other keys, at any depth.", "steps[0].timout", _flow(_step("a", timout="5s"))),
    Rule("unknown-value", "A choice is one of those there are.", "steps[0].type", _flow(_step("a", type="cron"))),
    Rule("range", "Numbers, lists and texts keep their bounds.", "steps[0].priority", _flow(_step("a", priority=10))),
    Rule(
        "identifier",
        "Names can be parts of subjects and keys: letters, digits, `_` and `-`; task types have dots too.",
        "steps[0].id",
        _flow(_step("load data")),
    ),
    Rule("duration", "Durations are texts such as `1h30m`, or whole nanoseconds.", "timeout", _flow(timeout="soon")),
    Rule("dot-path", "Dot paths have no empty parts.", "idempotency_key", _flow(idempotency_key="order..id")),
    Rule(
        "subject",
        "Event types and subjects are what NATS takes.",
        "triggers[0].subject.subject",
        _flow(triggers=[{"id": "s", "subject": {"subject": "orders. new"}}]),
    ),
    Rule(
        "url-path",
        "Paths of triggers begin with `/` and have no wildcards.",
        "triggers[0].webhook.path",
        _flow(triggers=[{"id": "s", "webhook": {"path": "hooks/deploy"}}]),
    ),
    Rule(
        "cron",
        "Cron expressions have five fields.",
        "steps[0].config.cron",
        _flow(_engine_run("sleep", cron="0 0 9 * * 1")),
    ),
    Rule(
        "timezone",
        "Time zones are names of the IANA database, and belong to `cron`.",
        "steps[0].config.timezone",
        _flow(_engine_run("sleep", cron="0 9 * * 1", timezone="Mars/Olympus")),
    ),
    Rule("config", "Only types that have a `config` are given one.", "steps[0].config", _flow(_step("a", config={}))),
    Rule(
        "schema",
        "Embedded schemas are JSON Schema, draft 2020-12, whole in themselves.",
        "input_schema.properties.id.type",
        _flow(input_schema={"type": "object", "properties": {"id": {"type": "text"}}}),
    ),
)
_GRAPH = (
    Rule("duplicate-step", "Step ids are unique.", "steps[1].id", _flow(_step("a"), _step("a"))),
    Rule(
        "duplicate-dependency",
        "`depends_on` names a step once.",
        "steps[1].depends_on[1]",
        _flow(_step("a"), _step("b", "a", "a")),
    ),
    Rule("self-dependency", "No step waits for itself.", "steps[0].depends_on[0]", _flow(_step("a", "a"))),
    Rule(
        "unknown-step",
        "Steps that are named exist.",
        "steps[1].depends_on[0]",
        _flow(_step("load"), _step("b", "laod")),
    ),
    Rule(
        "cycle",
        "No steps wait for each other in a circle.",
        "steps[0].depends_on",
        _flow(_step("a", "b"), _step("b", "a")),
    ),
    Rule(
        "self-reference",
        "No step is its own failure or compensation step, or compares with its own output.",
        "steps[1].on_failure",
        _flow(_step("a"), _step("b", on_failure="b")),
    ),
    Rule(
        "depends-on-auxiliary",
        "No step waits for one that only runs for another.",
        "steps[1].depends_on[0]",
        _flow(_step("a", on_failure="f"), _step("b", "f"), _step("f")),
    ),
    Rule(
        "auxiliary-step",
        "A step that only runs for another has no `depends_on`, `on_failure`, `compensate` or `skip_if`.",
        "steps[1].depends_on",
        _flow(_step("a", on_failure="f"), _step("f", "b"), _step("b")),
    ),
    Rule(
        "unreachable-auxiliary",
        "A compensation step can run: `compensate_on` is not empty.",
        "steps[0].compensate",
        _flow(_step("a", compensate="c"), _step("c"), compensate_on=[]),
    ),
    Rule(
        "nothing-to-run",
        "Not every step is one that only runs for another.",
        "steps",
        _flow(_step("a", on_failure="b"), _step("b", on_failure="a")),
    ),
)
_RELATION = (
    Rule(
        "two-retries",
        "A step has `retry` or `retries`.",
        "steps[0].retries",
        _flow(_step("a", retry=_RETRY, retries=2)),
    ),
    Rule(
        "two-rate-limits",
        "A step has `rate_limit` or `keyed_rate_limit`.",
        "steps[0].keyed_rate_limit",
        _flow(
            _step(
                "a",
                rate_limit={"limit": 1, "period": "1s"},
                keyed_rate_limit={"key": "id", "limit": 1, "period": "1s"},
            )
        ),
    ),
    Rule(
        "rate-units",
        "One task uses no more units than the limit has.",
        "steps[0].keyed_rate_limit.units",
        _flow(_step("a", keyed_rate_limit={"key": "id", "limit": 1, "period": "1s", "units": 2})),
    ),
    Rule(
        "condition-step",
        "`skip_if` asks for the output of a dependency.",
        "steps[1].skip_if.step_id",
        _flow(_step("a"), _step("b", skip_if={"step_id": "a", "field": "n", "op": "==", "value": 0})),
    ),
    Rule("map-dependency", "A map has one dependency.", "steps[0].depends_on", _flow(_step("a", type="map"))),
    Rule(
        "map-of-map",
        "A map does not depend on a map.",
        "steps[2].depends_on",
        _flow(_step("a"), _step("b", "a", type="map"), _step("c", "b", type="map")),
    ),
    Rule(
        "sleep-form",
        "A sleep has one of `duration`, `cron` and `until_input_path`.",
        "steps[0].config",
        _flow(_engine_run("sleep", duration="1h", cron="0 9 * * 1")),
    ),
    Rule(
        "match-right",
        "An event is compared with `input.<path>`, `step.<id>.output.<path>` or a literal; in `cancel_on`, not with a "
        "step's output.",
        "steps[0].config.match.right",
        _flow(_engine_run("wait_for_event", **_EVENT, match={"left": "id", "op": "eq", "right": "step.a"})),
    ),
    Rule("sticky-timeout", "A hard sticky workflow has a `timeout`.", "sticky", _flow(sticky="hard")),
    Rule(
        "sticky-group",
        "Steps of a sticky workflow have no `worker_group`.",
        "steps[0].worker_group",
        _flow(_step("a", worker_group="gpu"), sticky="soft"),
    ),
    Rule(
        "trigger-kind",
        "A trigger has one of `cron`, `subject`, `webhook`, `http` and `external`.",
        "triggers[0]",
        _flow(triggers=[{"id": "none"}]),
    ),
    Rule(
        "trigger-workflow",
        "A trigger belongs to the workflow it stands in.",
        "triggers[0].workflow_id",
        _flow(triggers=[{"id": "c", "workflow_id": "v", "cron": {"expression": "0 9 * * 1"}}]),
    ),
    Rule(
        "debounce",
        "`debounce.timeout` is not shorter than `period`; a cron trigger is not debounced.",
        "triggers[0].debounce.timeout",
        _flow(
            triggers=[
                {"id": "d", "webhook": {"path": "/hooks/d"}, "debounce": {"period": "1m", "timeout": "30s"}},
            ]
        ),
    ),
    Rule(
        "duplicate-trigger",
        "Triggers differ in their ids and paths.",
        "triggers[1].id",
        _flow(triggers=[{"id": "t", "subject": {"subject": "a"}}, {"id": "t", "subject": {"subject": "b"}}]),
    ),
)
_DIALECT = (
    Rule(
        "extension",
        "In the Go dialect, nothing is used that the Go engine has not.",
        "labels",
        _flow(labels={"team": "data"}),
        dialect="go",
    ),
)
_WARNING = (
    Rule(
        "no-effect",
        "Settings for workers stand on steps that workers run.",
        "steps[0].retry",
        _flow({**_engine_run("sleep", duration="1h"), "retry": _RETRY}),
        "warning",
    ),
    Rule(
        "unknown-workflow",
        "A child workflow exists. The server refuses what is only warned of here.",
        "steps[0].config.workflow",
        _flow(_engine_run("sub_workflow", workflow="elsewhere")),
        "warning",
    ),
    Rule(
        "missing-respond",
        "A workflow with an HTTP trigger has a `respond` step that runs when all goes well.",
        "triggers[0].http",
        _flow(triggers=[_HTTP]),
        "warning",
    ),
    Rule(
        "duplicate-respond",
        "Only one `respond` step runs.",
        "steps[1]",
        _flow(_engine_run("respond", step_id="yes"), _engine_run("respond", step_id="no"), triggers=[_HTTP]),
        "warning",
    ),
)

RULES = {rule.slug: rule for rule in (*_READING, *_SHAPE, *_GRAPH, *_RELATION, *_DIALECT, *_WARNING)}
"""Every rule, by its slug, in the order of the docs."""
