"""Random definitions, valid and broken, as JSON values."""

from __future__ import annotations

import copy
from typing import Any, cast

from hypothesis import strategies as st

from dagnats.model.duration import format_duration, parse_duration

NAMES = st.text("abcXYZ019_-", min_size=1, max_size=5).map(lambda text: text.lstrip("_-") or "x")
TASKS = st.sampled_from(["t", "a.b", "_-.0.x", "inventory.reserve", "t" * 128])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_MICROS = st.sampled_from([0, 1, 999, 1_500, 2_000_000, 5_400_000_000, (2**63 - 1) // 1_000]) | st.integers(0, 10**12)
DURATIONS = _MICROS.map(lambda micros: micros * 1_000) | _MICROS.map(
    lambda micros: format_duration(parse_duration(micros * 1_000))
)

RETRIES = st.fixed_dictionaries(
    {"max_attempts": st.integers(0, 100_000)},
    optional={
        "strategy": st.sampled_from(["fixed", "linear", "exponential"]),
        "initial_delay": DURATIONS,
        "max_delay": DURATIONS,
        "multiplier": st.integers(1, 9) | st.floats(0.001, 1_000_000),
        "jitter": st.integers(0, 1) | st.floats(0, 1),
    },
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def valid_documents(draw: st.DrawFn, *, most_steps: int = 8) -> dict[str, Any]:
    """A JSON value that is a valid definition; steps depend on earlier ones, in any order of writing."""
    ids = draw(st.lists(NAMES, min_size=1, max_size=most_steps, unique=True))
    count_auxiliary = draw(st.integers(0, len(ids) - 1))
    auxiliary, main = ids[:count_auxiliary], ids[count_auxiliary:]
    used: set[str] = set()
    steps: list[dict[str, Any]] = []
    for at, step_id in enumerate(main):
        step: dict[str, Any] = {"id": step_id, "task": draw(TASKS)}
        needs = draw(st.lists(st.sampled_from(main[:at]), unique=True, max_size=3)) if at else []
        if needs or draw(st.booleans()):
            step["depends_on"] = needs
        for key in ("on_failure", "compensate"):
            if auxiliary and draw(st.booleans()):
                step[key] = draw(st.sampled_from(auxiliary))
                used.add(step[key])
        steps.append(_with_settings(draw, step))
    steps += [_with_settings(draw, {"id": step_id, "task": draw(TASKS)}) for step_id in auxiliary if step_id in used]
    top: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "$schema": TEXTS,
                "version": TEXTS,
                "default_retry": RETRIES,
                "timeout": DURATIONS,
                "aux_steps": st.dictionaries(NAMES, st.booleans(), max_size=2),
            },
        )
    )
    return {"steps": draw(st.permutations(steps)), "name": draw(NAMES), **top}


def _with_settings(draw: st.DrawFn, step: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "timeout": DURATIONS,
                "queue_timeout": DURATIONS,
                "heartbeat_timeout": DURATIONS,
                "type": st.just("normal"),
            },
        )
    )
    match draw(st.sampled_from(["none", "retry", "retries"])):
        case "retry":
            settings["retry"] = draw(RETRIES)
        case "retries":
            settings["retries"] = draw(st.integers(0, 9))
        case _:
            pass
    return {**step, **settings}


@st.composite
def mutated_documents(draw: st.DrawFn) -> Any:
    """A valid definition after a few random edits: values replaced, keys and entries added, taken or doubled."""
    document = copy.deepcopy(draw(valid_documents(most_steps=4)))
    for _ in range(draw(st.integers(1, 4))):
        objects, arrays = _containers(document)
        if arrays and draw(st.booleans()):
            array = draw(st.sampled_from(arrays))
            copies = st.sampled_from(array) if array else st.nothing()
            array.insert(draw(st.integers(0, len(array))), draw(JSON_VALUES | copies))
            continue
        holder = draw(st.sampled_from(objects))
        key = draw(st.sampled_from([*holder, "stepz", "²", "a.b[0]"]) | TEXTS)
        if draw(st.booleans()):
            holder.pop(key, None)
        else:
            holder[key] = draw(JSON_VALUES)
    return document


def _containers(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Every object and every array in a JSON value."""
    objects: list[dict[str, Any]] = []
    arrays: list[list[Any]] = []
    waiting: list[Any] = [document]
    for part in waiting:  # grows while it is read
        if isinstance(part, dict):
            objects.append(cast("dict[str, Any]", part))
            waiting += objects[-1].values()
        elif isinstance(part, list):
            arrays.append(cast("list[Any]", part))
            waiting += arrays[-1]
    return objects, arrays
