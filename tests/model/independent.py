"""A second opinion: is a document a valid definition? Written without the loader's code, to be compared with it.

The shape is checked by `jsonschema` against the generated schema; what a schema cannot say is checked here, in short.
"""

from __future__ import annotations

import graphlib
import re
import zoneinfo
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

from croniter import croniter
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema_specifications import REGISTRY

from dagnats.model.schema import json_schema

_SECOND = 10**9
_NANOS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
    "d": 86400 * _SECOND,
    "w": 604800 * _SECOND,
}
_DAY = _NANOS["d"]
_DURATION_KEYS = {
    *("timeout", "queue_timeout", "heartbeat_timeout", "initial_delay", "max_delay", "period", "duration"),
    *("lookback", "loop_delay", "max_duration"),
}
_FREE_FORM = {"input_schema", "output_schema", "form", "metadata", "labels", "headers", "rules", "right", "value"}


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """As JSON Schema means it: `$` is the end of the text, not a place before a last newline. All ours are whole."""
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _is_whole(_: Any, value: Any) -> bool:
    """JSON Schema takes 3.0 for an integer; a definition does not."""
    return isinstance(value, int) and not isinstance(value, bool)


_untyped: Any = validators
_validator: Any = _untyped.extend(
    Draft202012Validator,
    validators={"pattern": _pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)(json_schema(), registry=REGISTRY)


def schema_errors(document: Any) -> list[str]:
    """What `jsonschema` finds in `document`."""
    return [error.message for error in _validator.iter_errors(document)]


def is_valid(document: Any) -> bool:
    """Whether `document` is a valid definition."""
    return bool(_validator.is_valid(document)) and _durations(document) and _consistent(document)


def embeds_more_than_shapes(document: Any) -> bool:
    """Whether embedded schemas may have what only their use shows: references, and patterns that are none."""
    return any(word in str(document) for word in ("$ref", "$dynamicRef", "pattern", "$id"))


def _nanos(value: int | str) -> Fraction:
    if isinstance(value, int):
        return Fraction(value)
    parts = re.findall(r"([0-9.]+)([^0-9.]+)", value)
    return sum((Fraction(number) * _NANOS[unit] for number, unit in parts), Fraction(0))


def _durations(part: Any, key: str = "") -> bool:
    if key in _DURATION_KEYS:
        return _nanos(part) % 1000 == 0 and _nanos(part) < 2**63
    inside = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
    parts = cast("list[Any]", part) if isinstance(part, list) else []
    named = ((name, inner) for name, inner in inside.items() if name not in _FREE_FORM and inner is not None)
    return all(_durations(inner, name) for name, inner in (*named, *(("", inner) for inner in parts)))


def _consistent(document: dict[str, Any]) -> bool:
    return all(_facts(document)) and all(_trigger_facts(document)) and _acyclic(document["steps"])


def _acyclic(steps: list[dict[str, Any]]) -> bool:
    try:
        graphlib.TopologicalSorter({step["id"]: step.get("depends_on", ()) for step in steps}).prepare()
    except graphlib.CycleError:
        return False
    return True


def _facts(document: dict[str, Any]) -> Iterator[bool]:
    steps = {step["id"]: step for step in document["steps"]}
    uses = [
        (step["id"], step[key]) for step in document["steps"] for key in ("on_failure", "compensate") if step.get(key)
    ]
    auxiliary = {target for _, target in uses}
    sticky = document.get("sticky", "")
    yield len(steps) == len(document["steps"])
    yield auxiliary <= steps.keys()
    yield all(step_id != target for step_id, target in uses)
    yield not auxiliary >= steps.keys()
    yield document.get("compensate_on") != [] or not any(step.get("compensate") for step in steps.values())
    yield sticky != "hard" or _nanos(document.get("timeout", 0)) > 0
    for cancel in document.get("cancel_on", ()):
        yield _right(cancel.get("match"), None)
    for step_id, step in steps.items():
        yield from _step_facts(step, steps, auxiliary)
        yield not (sticky and step.get("worker_group"))
        yield step_id not in auxiliary or not any(
            step.get(key) for key in ("depends_on", "on_failure", "compensate", "skip_if")
        )


def _step_facts(step: dict[str, Any], steps: dict[str, Any], auxiliary: set[str]) -> Iterator[bool]:
    needs = cast("list[str]", step.get("depends_on", []))
    yield len(set(needs)) == len(needs)
    yield set(needs) <= steps.keys() - {step["id"]}
    yield step["id"] in auxiliary or not auxiliary & set(needs)
    yield not (step.get("retry") and step.get("retries"))
    keyed = step.get("keyed_rate_limit")
    yield not (step.get("rate_limit") and keyed)
    yield not keyed or keyed.get("units", 1) <= keyed["limit"]
    yield all(_nanos(limit["period"]) > 0 for limit in (keyed, step.get("rate_limit")) if limit)
    yield _asked(step.get("skip_if")) <= set(needs)
    config: dict[str, Any] = step.get("config") or {}
    match step.get("type"):
        case "map":
            yield len(needs) == 1 and steps.get(needs[0], {}).get("type") != "map"
        case "sleep":
            yield _sleep(config)
        case "wait_for_event":
            yield _right(config["match"], steps.keys() - {step["id"]})
            yield _nanos(config["timeout"]) > 0
        case "approval":
            yield 0 < _nanos(config["timeout"]) <= 7 * _DAY
        case _:
            pass


def _asked(condition: Any) -> set[str]:
    if not condition:
        return set()
    parts = condition.get("any", condition.get("all"))
    return {condition["step_id"]} if parts is None else set[str]().union(*map(_asked, parts))


def _sleep(config: dict[str, Any]) -> bool:
    length, cron = config.get("duration"), config.get("cron")
    return (length is None or 0 < _nanos(length) <= 365 * _DAY) and (
        cron is None or _cron(cron, config.get("timezone", ""))
    )


def _cron(text: str, zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError):
        return False
    return len(text.split()) == 5 and croniter.is_valid(text)


def _right(match: Any, known: Any) -> bool:
    """`known` is the set of steps a reference may name; None when it may name none at all."""
    right: Any = match["right"] if match else {}
    if not isinstance(right, str):
        return True
    path = r"(\\[.\\]|[^.\\])+"
    step = re.fullmatch(rf"step\.([A-Za-z0-9_-]+)\.output(\.{path})+", right)
    if right.startswith("step."):
        return known is not None and step is not None and step[1] in known
    return re.fullmatch(rf"{path}(\.{path})*", right) is not None


def _trigger_facts(document: dict[str, Any]) -> Iterator[bool]:
    triggers = document.get("triggers", [])
    claims = [("id", trigger["id"]) for trigger in triggers]
    for trigger in triggers:
        yield trigger.get("workflow_id", document["name"]) == document["name"]
        http, webhook, cron = trigger.get("http"), trigger.get("webhook"), trigger.get("cron")
        claims += [("http", http["method"], http["path"])] if http else []
        claims += [("webhook", webhook["path"])] if webhook else []
        yield not cron or _cron(cron["expression"], cron.get("timezone", ""))
        debounce = trigger.get("debounce")
        if debounce:
            period, timeout = _nanos(debounce["period"]), _nanos(debounce.get("timeout", 0))
            yield not cron
            yield 0 < period <= 7 * _DAY and timeout <= 7 * _DAY
            yield timeout == 0 or timeout >= period
    yield len(set(claims)) == len(claims)
