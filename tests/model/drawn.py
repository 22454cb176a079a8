"""Random definitions, valid and broken, as JSON values. They use every key of the language."""

from __future__ import annotations

import copy
from typing import Any, cast

from hypothesis import strategies as st

from dagnats.model.duration import format_duration, parse_duration

NAMES = st.text("abcXYZ019_-", min_size=1, max_size=5).map(lambda text: text.lstrip("_-") or "x")
TASKS = st.sampled_from(["t", "a.b", "_-.0.x", "inventory.reserve", "t" * 128])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PATHS = st.sampled_from(["id", "order.items.0.sku", r"a\.b", r"a\\.b", "é ü", "-"])
EVENTS = st.sampled_from(["paid", "order.paid", "github:push", "a/b"])
GROUPS = st.sampled_from(["gpu", "_-", "g" * 64])
CRONS = st.sampled_from(["0 9 * * 1-5", "*/15 * * * *", "0 0 1,15 * 3", "30 4 1-7 * MON"])
ZONES = st.sampled_from(["", "UTC", "Europe/Berlin", "America/Denver"])
COUNTS = st.integers(0, 3) | st.just(2**31 - 1)
POSITIVE = st.integers(1, 3) | st.just(2**31 - 1)


def _spellings(micros: st.SearchStrategy[int]) -> st.SearchStrategy[int | str]:
    return micros.map(lambda count: count * 1_000) | micros.map(
        lambda count: format_duration(parse_duration(count * 1_000))
    )


def _up_to(micros: int) -> st.SearchStrategy[int | str]:
    return _spellings(st.sampled_from([1, 1_500, 2_000_000, 5_400_000_000, micros]))


_MICROS = st.sampled_from([0, 1, 999, 1_500, 2_000_000, 5_400_000_000, (2**63 - 1) // 1_000]) | st.integers(0, 10**12)
DURATIONS = _spellings(_MICROS)
TIMES = _up_to(10**12)
_DAY = 86_400_000_000

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
TEXT_MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
_PROPERTIES: st.SearchStrategy[Any] = st.fixed_dictionaries({"type": st.just("string")}, optional={"title": TEXTS})
PAYLOAD_SCHEMAS: st.SearchStrategy[Any] = st.booleans() | st.fixed_dictionaries(
    {},
    optional={
        "$schema": st.just("https://json-schema.org/draft/2020-12/schema"),
        "type": st.sampled_from(["object", "string", ["integer", "null"]]),
        "title": st.sampled_from(["", "An order", "Id"]),
        "properties": st.dictionaries(NAMES, _PROPERTIES, max_size=2),
        "required": st.lists(NAMES, max_size=2, unique=True),
        "minimum": st.integers() | st.floats(-5, 5),
    },
)


def _object(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


RETRIES = _object(
    {"max_attempts": st.integers(0, 100_000)},
    strategy=st.sampled_from(["fixed", "linear", "exponential"]),
    initial_delay=DURATIONS,
    max_delay=DURATIONS,
    multiplier=st.integers(1, 9) | st.floats(0.001, 1_000_000),
    jitter=st.integers(0, 1) | st.floats(0, 1),
) | _object({"max_attempts": st.just(1), "multiplier": st.sampled_from([0, 0.0])}, strategy=st.just("fixed"))
RATES = _object({"limit": POSITIVE, "period": TIMES})
KEYED_RATES = _object({"key": PATHS, "limit": st.integers(3, 9), "period": TIMES}, units=st.integers(1, 3))


def _matches(right: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _object(
        {
            "left": PATHS,
            "op": st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in"]),
            "right": right | st.fixed_dictionaries({"value": JSON_VALUES}),
        }
    )


_INPUTS = st.sampled_from(["id", "input.id", "input.a.0.b", "input", "step", r"a\.b"])


def _configs(ids: list[str]) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    outputs = st.sampled_from([f"step.{step_id}.output.id" for step_id in ids] or ["id"])
    return {
        "agent_loop": _object(
            {"max_iterations": POSITIVE},
            max_duration=DURATIONS,
            loop_delay=DURATIONS,
            budget_warn_at=COUNTS,
            budget_force_at=COUNTS,
        ),
        "map": _object(
            {},
            max_items=st.integers(1, 10_000),
            max_parallel=st.integers(0, 10_000),
            on_item_failure=st.sampled_from(["fail", "collect"]),
        ),
        "planner": _object(
            {"max_steps": st.integers(1, 100)},
            max_depth=st.integers(0, 10),
            allowed_tasks=st.lists(TASKS, max_size=2),
        ),
        "sub_workflow": _object({"workflow": TASKS}, detach=st.booleans()),
        "sleep": _object({"duration": _up_to(365 * _DAY)}, cron=st.none())
        | _object({"cron": CRONS}, timezone=ZONES)
        | _object({"until_input_path": PATHS}),
        "wait_for_event": _object(
            {"event": EVENTS, "match": _matches(_INPUTS | outputs), "timeout": TIMES}, lookback=DURATIONS
        ),
        "approval": _object(
            {"timeout": _up_to(7 * _DAY), "subject": EVENTS},
            description=TEXTS,
            metadata=TEXT_MAPS,
            form=st.none() | PAYLOAD_SCHEMAS,
        ),
        "respond": _object(
            {},
            status=st.sampled_from([0, 200, 404, 599]),
            headers=st.dictionaries(st.sampled_from(["X-Id", "ETag", "a"]), TEXTS, max_size=2),
            body_from=PATHS,
            content_type=TEXTS,
        ),
    }


_WORKER_RUN = ("normal", "agent", "agent_loop", "map", "planner")
_SETTINGS = _object(
    {},
    timeout=DURATIONS,
    queue_timeout=DURATIONS,
    heartbeat_timeout=DURATIONS,
    max_task_concurrency=st.integers(0, 1000),
    metadata=TEXT_MAPS,
    priority=st.integers(-9, 9),
    required_capabilities=st.lists(st.just("control-plane"), max_size=1),
)

TRIGGERS = st.one_of(
    _object({"cron": _object({"expression": CRONS}, timezone=ZONES, backfill=st.booleans())}, subject=st.none()),
    _object({"subject": _object({"subject": EVENTS | st.sampled_from(["a.*.b", "orders.>", ">"])})}),
    _object({"webhook": _object({}, secret=TEXTS)}),
    _object(
        {
            "http": _object(
                {"method": st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])},
                timeout_ms=POSITIVE,
                max_body_bytes=POSITIVE,
                secret=st.none() | st.just("s" * 16),
                idempotency_header=st.just("Idempotency-Key"),
                authentication=st.none()
                | _object(
                    {"name": TEXTS, "type": st.sampled_from(["http", "apiKey", "oauth2", "openIdConnect"])},
                    **{"in": st.sampled_from(["", "query", "header", "cookie"])},
                    **dict.fromkeys(["scheme", "bearer_format", "header_name", "description"], TEXTS),
                ),
            )
        }
    ),
    _object({"external": _object({"kind": GROUPS}, config=st.dictionaries(TEXTS, JSON_VALUES, max_size=2))}),
)
DEBOUNCES = _object({"period": _up_to(3 * _DAY)}, timeout=st.sampled_from([0, "0s", "7d", 3 * _DAY * 1_000]), key=PATHS)
_TOP = _object(
    {},
    **{"$schema": TEXTS},
    version=TEXTS,
    default_retry=st.none() | RETRIES,
    concurrency=_object({}, max_runs=COUNTS, max_steps=st.integers(0, 1000), key=PATHS),
    input_schema=PAYLOAD_SCHEMAS,
    output_schema=PAYLOAD_SCHEMAS,
    idempotency_key=PATHS,
    priority=_object(
        {"key": PATHS, "rules": st.dictionaries(TEXTS, st.integers(-600, 600), min_size=1, max_size=3)},
        default_offset=st.integers(-600, 600),
    ),
    singleton=_object({"mode": st.sampled_from(["skip", "cancel"])}, key=PATHS),
    cancel_on=st.lists(_object({"event": EVENTS}, match=_matches(_INPUTS), timeout=DURATIONS), max_size=2),
    failure_mode=st.sampled_from(["fail_fast", "drain"]),
    compensate_on=st.lists(st.sampled_from(["failure", "cancel", "timeout"]), min_size=1, max_size=4),
    labels=TEXT_MAPS,
    aux_steps=st.dictionaries(NAMES, st.booleans(), max_size=2),
)


@st.composite
def valid_documents(draw: st.DrawFn, *, most_steps: int = 6) -> dict[str, Any]:
    """A JSON value that is a valid definition; steps depend on earlier ones, in any order of writing."""
    ids = draw(st.lists(NAMES, min_size=1, max_size=most_steps, unique=True))
    count_auxiliary = draw(st.integers(0, len(ids) - 1))
    auxiliary, main = ids[:count_auxiliary], ids[count_auxiliary:]
    sticky = draw(st.sampled_from(["", "", "soft", "hard"]))
    maps = set[str]()
    steps: list[dict[str, Any]] = []
    for at, step_id in enumerate(main):
        needs = draw(st.lists(st.sampled_from(main[:at]), unique=True, max_size=3)) if at else []
        may_map = len(needs) == 1 and needs[0] not in maps
        step = _step(draw, step_id, ids, may_map=may_map, sticky=bool(sticky))
        maps |= {step_id} if step.get("type") == "map" else set()
        if needs or draw(st.booleans()):
            step["depends_on"] = needs
        if needs and draw(st.booleans()):
            step["skip_if"] = draw(_conditions(needs))
        for key in ("on_failure", "compensate"):
            if auxiliary and draw(st.booleans()):
                step[key] = draw(st.sampled_from(auxiliary))
        steps.append(step)
    # An approval or a wait may name any step, so all of them are there; unused ones are simply steps of the graph.
    steps += [_step(draw, step_id, ids, may_map=False, sticky=bool(sticky)) for step_id in auxiliary]
    top = draw(_TOP) | {"timeout": draw(TIMES if sticky == "hard" else DURATIONS)}
    if sticky or draw(st.booleans()):
        top["sticky"] = sticky
    name = draw(NAMES)
    return {"steps": draw(st.permutations(steps)), "name": name, **top, "triggers": _triggers(draw, name)}


def _step(draw: st.DrawFn, step_id: str, ids: list[str], *, may_map: bool, sticky: bool) -> dict[str, Any]:
    configs = _configs([other for other in ids if other != step_id])
    kind = draw(st.sampled_from(["normal", "normal", "agent", *(key for key in configs if may_map or key != "map")]))
    step: dict[str, Any] = {"id": step_id}
    if kind != "normal" or draw(st.booleans()):
        step["type"] = kind
    if kind in _WORKER_RUN or draw(st.booleans()):
        step["task"] = draw(TASKS if kind in _WORKER_RUN else TASKS | st.just(""))
    if kind in configs and (kind not in ("map", "respond") or draw(st.booleans())):
        step["loop" if kind == "agent_loop" and draw(st.booleans()) else "config"] = draw(configs[kind])
    choices: list[dict[str, Any]] = [{}, {"retry": draw(RETRIES)}, {"retries": draw(st.integers(0, 9))}]
    choices.append({"retry": None, "retries": 1})
    limits: list[dict[str, Any]] = [{}, {"rate_limit": draw(RATES)}, {"keyed_rate_limit": draw(KEYED_RATES)}]
    step |= draw(_SETTINGS) | draw(st.sampled_from(choices)) | draw(st.sampled_from(limits))
    if not sticky and draw(st.booleans()):
        step["worker_group"] = draw(GROUPS)
    return step


def _conditions(needs: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    comparisons = _object(
        {
            "step_id": st.sampled_from(needs),
            "field": PATHS,
            "op": st.sampled_from(["==", "!=", "<", ">", "<=", ">="]),
            "value": SCALARS,
        }
    )
    return st.recursive(
        comparisons,
        lambda inner: (
            st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=2)})
            | st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=2)})
        ),
        max_leaves=3,
    )


def _triggers(draw: st.DrawFn, workflow: str) -> list[dict[str, Any]]:
    triggers = draw(st.lists(TRIGGERS, max_size=2))
    for at, trigger in enumerate(triggers):
        trigger["id"] = f"{workflow[:9]}-{at}"
        for kind in ("webhook", "http"):
            if kind in trigger:
                trigger[kind] = {**trigger[kind], "path": f"/{kind}/{at}"}
        if "cron" not in trigger and draw(st.booleans()):
            trigger["debounce"] = draw(DEBOUNCES)
        trigger |= draw(_object({}, enabled=st.booleans(), workflow_id=st.just(workflow)))
    return triggers


@st.composite
def mutated_documents(draw: st.DrawFn) -> Any:
    """A valid definition after a few random edits: parts taken out, put in, doubled, or exchanged for others of it."""
    document = copy.deepcopy(draw(valid_documents(most_steps=3)))
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            _edit_graph(draw, document)
            continue
        parts = _parts(document)
        values = JSON_VALUES | st.sampled_from(parts).map(copy.deepcopy)  # ids at other places make cycles
        holders: list[Any] = [part for part in parts if isinstance(part, dict | list) and part]
        holder = draw(st.sampled_from(holders))
        if isinstance(holder, list):
            _edit_list(draw, cast("list[Any]", holder), values)
        else:
            _edit_object(draw, holder, values, parts)
    return document


def _edit_graph(draw: st.DrawFn, document: Any) -> None:
    """Give a step another dependency, another step that runs for it, or another type."""
    steps: list[dict[str, Any]] = [part for part in _parts(document) if isinstance(part, dict) and "id" in part]
    if not steps:
        return
    step, other = draw(st.sampled_from(steps)), draw(st.sampled_from(steps))
    key = draw(st.sampled_from(["depends_on", "depends_on", "on_failure", "compensate", "type", "worker_group"]))
    match key:
        case "depends_on":
            listed: Any = step.get("depends_on")
            step["depends_on"] = [*(listed if isinstance(listed, list) else ()), other["id"]]
        case "type":
            step["type"] = draw(st.sampled_from(["normal", "map", "respond"]))
        case "worker_group":
            step["worker_group"] = "gpu"
        case _:
            step[key] = other["id"]


def _edit_list(draw: st.DrawFn, holder: list[Any], values: st.SearchStrategy[Any]) -> None:
    at = draw(st.integers(0, len(holder) - 1))
    match draw(st.sampled_from(["insert", "replace", "remove"])):
        case "insert":
            holder.insert(at, draw(values))
        case "replace":
            holder[at] = draw(values)
        case _:
            del holder[at]


def _edit_object(draw: st.DrawFn, holder: dict[str, Any], values: st.SearchStrategy[Any], parts: list[Any]) -> None:
    if draw(st.booleans()):
        del holder[draw(st.sampled_from(list(holder)))]
        return
    used = [key for part in parts if isinstance(part, dict) for key in cast("dict[str, Any]", part)]
    holder[draw(st.sampled_from([*holder, *used, "²", "a.b[0]"]) | TEXTS)] = draw(values)


def _parts(document: Any) -> list[Any]:
    """Every value in a JSON value, itself included."""
    parts: list[Any] = [document]
    for part in parts:  # grows while it is read
        if isinstance(part, dict):
            parts += cast("dict[str, Any]", part).values()
        elif isinstance(part, list):
            parts += cast("list[Any]", part)
    return parts
