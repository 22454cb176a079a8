"""Rules between the values of a definition, beyond its graph: what excludes, needs or bounds what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dagnats.model.finding import Finding, shown
from dagnats.model.identifier import REFERENCE
from dagnats.model.payload_schema import schema_problems
from dagnats.model.reading import duration, items, members, whole
from dagnats.model.scalar import is_json
from dagnats.model.trigger import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.model.payload_schema import Location
    from dagnats.model.reading import Entry, Reading

_WAYS = ("duration", "cron", "until_input_path")


def relation_findings(document: dict[str, Any], reading: Reading) -> Iterator[Finding]:
    """What is wrong between values that are right by themselves."""
    yield from _sticky_findings(document, reading)
    yield from _cancel_findings(document)
    yield from _trigger_findings(document)
    for key in ("input_schema", "output_schema"):
        yield from _schema_findings(document.get(key), (key,))
    for entry in reading.entries:
        yield from _retry_findings(entry)
        yield from _rate_findings(entry)
        yield from _condition_findings(reading, entry)
        check = _BY_TYPE.get(str(entry.step.get("type")))
        if check is not None:
            yield from check(reading, entry)


def _sticky_findings(document: dict[str, Any], reading: Reading) -> Iterator[Finding]:
    sticky = document.get("sticky")
    if sticky not in ("soft", "hard"):
        return
    if sticky == "hard" and duration(document.get("timeout", 0)) == duration(0):
        message = "a hard sticky workflow needs a `timeout`: its worker may never come back"
        yield Finding(("sticky",), "sticky-timeout", message)
    for entry in reading.entries:
        if entry.step.get("worker_group") is not None:
            message = f'step "{entry.name}" cannot have a `worker_group` in a sticky workflow: one of them must choose'
            yield Finding(("steps", entry.at, "worker_group"), "sticky-group", message)


def _cancel_findings(document: dict[str, Any]) -> Iterator[Finding]:
    for at, cancel in enumerate(items(document.get("cancel_on"))):
        right = members(members(cancel).get("match")).get("right")
        if isinstance(right, str) and right.startswith("step."):
            message = f"{shown(right)} cannot be known when the run starts: compare with `input.<path>` or a literal"
            yield Finding(("cancel_on", at, "match", "right"), "match-right", message)


def _schema_findings(schema: Any, location: Location) -> Iterator[Finding]:
    if not isinstance(schema, dict | bool) or not is_json(schema):
        return
    for inner, message in schema_problems(schema):
        yield Finding((*location, *inner), "schema", message)


# -- triggers ----------------------------------------------------------------------------------------------


def _trigger_findings(document: dict[str, Any]) -> Iterator[Finding]:
    name, seen = document.get("name"), dict[tuple[str, ...], int]()
    for at, value in enumerate(items(document.get("triggers"))):
        if not isinstance(value, dict):
            continue
        trigger = members(value)
        kinds = [kind for kind in KINDS if trigger.get(kind) is not None]
        if len(kinds) != 1:
            has = ", ".join(kinds) or "none"
            message = f"a trigger has exactly one of {', '.join(KINDS)}; this one has {has}"
            yield Finding(("triggers", at), "trigger-kind", message)
        if isinstance(name, str) and trigger.get("workflow_id", name) != name:
            message = f"{shown(trigger['workflow_id'])} is another workflow; leave it out, or write {shown(name)}"
            yield Finding(("triggers", at, "workflow_id"), "trigger-workflow", message)
        yield from _debounce_findings(at, trigger)
        for location, key in _claims(trigger):
            first = seen.setdefault(key, at)
            if first != at:
                message = f"{' '.join(key[1:])} is taken by triggers[{first}]"
                yield Finding(("triggers", at, *location), "duplicate-trigger", message)


def _claims(trigger: dict[str, Any]) -> Iterator[tuple[Location, tuple[str, ...]]]:
    """What only one trigger can have: where it is, and what it is."""
    http, webhook = members(trigger.get("http")), members(trigger.get("webhook"))
    claims: list[tuple[Location, tuple[Any, ...]]] = [
        (("id",), ("id", trigger.get("id"))),
        (("webhook", "path"), ("webhook", webhook.get("path"))),
        (("http", "path"), ("http", http.get("method"), http.get("path"))),
    ]
    yield from ((location, key) for location, key in claims if all(isinstance(part, str) for part in key))


def _debounce_findings(at: int, trigger: dict[str, Any]) -> Iterator[Finding]:
    debounce = trigger.get("debounce")
    if debounce is None:
        return
    if trigger.get("cron") is not None:
        message = "a cron trigger cannot be debounced: it fires at most once a minute"
        yield Finding(("triggers", at, "debounce"), "debounce", message)
    period, timeout = (duration(members(debounce).get(key, 0)) for key in ("period", "timeout"))
    if period and timeout and timeout < period:
        message = "`timeout` is shorter than `period`: a run would start before the firings can end"
        yield Finding(("triggers", at, "debounce", "timeout"), "debounce", message)


# -- steps -------------------------------------------------------------------------------------------------


def _retry_findings(entry: Entry) -> Iterator[Finding]:
    if entry.step.get("retry") is not None and entry.step.get("retries"):
        message = f'step "{entry.name}" has both `retry` and `retries`; keep `retry`'
        yield Finding(("steps", entry.at, "retries"), "two-retries", message)


def _rate_findings(entry: Entry) -> Iterator[Finding]:
    keyed = entry.step.get("keyed_rate_limit")
    if keyed is None:
        return
    if entry.step.get("rate_limit") is not None:
        message = f'step "{entry.name}" has both `rate_limit` and `keyed_rate_limit`; keep one'
        yield Finding(("steps", entry.at, "keyed_rate_limit"), "two-rate-limits", message)
    limit, units = whole(members(keyed).get("limit")), whole(members(keyed).get("units"))
    if limit is not None and units is not None and units > limit > 0:
        message = f"{units} is more than the limit of {limit}: no task could ever start"
        yield Finding(("steps", entry.at, "keyed_rate_limit", "units"), "rate-units", message)


def _condition_findings(reading: Reading, entry: Entry) -> Iterator[Finding]:
    if entry.name in reading.auxiliary:
        return  # it can have no condition at all
    dependencies = {target for _, target in entry.dependencies()}
    for location, target in _asked(entry.step.get("skip_if"), ("steps", entry.at, "skip_if")):
        if target in dependencies:
            continue
        if target not in reading.steps:
            message = f'step "{entry.name}" asks for the output of non-existent step "{target}"'
            yield Finding((*location, "step_id"), "unknown-step", message, reading.hint(target))
        else:
            message = f'step "{entry.name}" asks for the output of "{target}", which is not in its `depends_on`'
            yield Finding((*location, "step_id"), "condition-step", message)


def _asked(condition: Any, location: Location) -> Iterator[tuple[Location, str]]:
    """The comparisons in a condition: where each is, and whose output it asks for."""
    said = members(condition)
    for key in ("any", "all"):
        if key in said:
            for at, part in enumerate(items(said[key])):
                yield from _asked(part, (*location, key, at))
            return
    if isinstance(said.get("step_id"), str):
        yield location, said["step_id"]


def _map_findings(reading: Reading, entry: Entry) -> Iterator[Finding]:
    location: Location = ("steps", entry.at, "depends_on")
    listed = entry.step.get("depends_on", [])
    targets = list(dict.fromkeys(target for _, target in entry.dependencies()))
    if len(targets) != 1 and isinstance(listed, list) and all(isinstance(part, str) for part in items(listed)):
        message = f'map step "{entry.name}" needs one dependency, whose output is the array; it has {len(targets)}'
        yield Finding(location, "map-dependency", message)
    for target in targets:
        if target in reading.steps and target != entry.name and reading.steps[target].step.get("type") == "map":
            message = f'map step "{entry.name}" depends on map step "{target}"; put a step between them'
            yield Finding(location, "map-of-map", message)


def _sleep_findings(_: Reading, entry: Entry) -> Iterator[Finding]:
    config = entry.step.get("config")
    if not isinstance(config, dict):
        return
    told = members(config)
    ways = [way for way in _WAYS if told.get(way) is not None]
    location: Location = ("steps", entry.at, "config")
    if len(ways) != 1:
        has = ", ".join(ways) or "none"
        yield Finding(location, "sleep-form", f"a sleep has exactly one of {', '.join(_WAYS)}; this one has {has}")
    if "timezone" in told and "cron" not in ways:
        yield Finding((*location, "timezone"), "timezone", "only `cron` has a time zone")


def _wait_findings(reading: Reading, entry: Entry) -> Iterator[Finding]:
    right = members(members(entry.step.get("config")).get("match")).get("right")
    named = re.fullmatch(REFERENCE, right) if isinstance(right, str) else None
    target = named["step"] if named else None
    if target is None:
        return
    location = ("steps", entry.at, "config", "match", "right")
    if target == entry.name:
        yield Finding(location, "self-reference", f'step "{entry.name}" waits for its own output')
    elif target not in reading.steps:
        message = f'step "{entry.name}" compares with the output of non-existent step "{target}"'
        yield Finding(location, "unknown-step", message, reading.hint(target))


def _approval_findings(_: Reading, entry: Entry) -> Iterator[Finding]:
    form = members(entry.step.get("config")).get("form")
    yield from _schema_findings(form, ("steps", entry.at, "config", "form"))


_BY_TYPE = {
    "approval": _approval_findings,
    "map": _map_findings,
    "sleep": _sleep_findings,
    "wait_for_event": _wait_findings,
}
