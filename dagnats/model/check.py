"""Reads a definition and finds everything that is wrong with it, at once.

Shape rules (pydantic) and graph rules report together: graph rules run on whatever ids and `depends_on` can be
read. A problem caused by another one is not repeated.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from dagnats.errors import DefinitionError, Problem
from dagnats.model.definition import MAX_BYTES, RetryPolicy, StepDef, WorkflowDef
from dagnats.model.identifier import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

_HINT_WORK = 40_000  # names compared for suggestions in one report: 0.3 s, however many are unknown
_INDEX = re.compile(r"[0-9]{1,9}")
# What the full language has and this version has not: no typing error, whatever it resembles.
_LATER = "it comes with a later version"
_LATER_KEYS: dict[type, frozenset[str]] = {
    WorkflowDef: frozenset(
        [
            "cancel_on",
            "compensate_on",
            "concurrency",
            "failure_mode",
            "idempotency_key",
            "input_schema",
            "labels",
            "output_schema",
            "priority",
            "singleton",
            "sticky",
            "triggers",
        ]
    ),
    StepDef: frozenset(
        [
            "config",
            "keyed_rate_limit",
            "max_task_concurrency",
            "metadata",
            "priority",
            "rate_limit",
            "required_capabilities",
            "skip_if",
            "worker_group",
        ]
    ),
    RetryPolicy: frozenset(),
}
_LATER_TYPES = (
    "agent",
    "agent_loop",
    "approval",
    "map",
    "planner",
    "respond",
    "sleep",
    "sub_workflow",
    "wait_for_event",
)
_KEY_ORDER = {
    key: at
    for at, key in enumerate(
        [
            *(key for key in WorkflowDef.model_fields if key not in StepDef.model_fields),
            *StepDef.model_fields,
            *RetryPolicy.model_fields,
        ]
    )
}


def load_definition(data: bytes | str | Mapping[str, Any]) -> WorkflowDef:
    """The definition in `data`: JSON text, or the value that was in it.

    Raises:
        DefinitionError: It is no valid definition; `problems` lists everything that is wrong.
    """
    value = _parse(data) if isinstance(data, bytes | str) else dict(data)
    if not isinstance(value, dict):
        raise DefinitionError([Problem("$", "type", f"a definition is a JSON object, not {_shown(value)}")])
    document = cast("dict[str, Any]", value)
    name = document["name"] if isinstance(document.get("name"), str) else ""
    problems = list(check(document))
    if problems:
        raise DefinitionError(problems, name=name)
    return WorkflowDef.model_validate(_without_accepted(document))


def check(document: dict[str, Any]) -> list[Problem]:
    """Everything that is wrong with `document`, in document order; empty when it is a valid definition."""
    problems = [*_shape_problems(document), *_graph_problems(document)]
    return sorted(problems, key=lambda problem: _order(problem.path))


# -- reading -----------------------------------------------------------------------------------------------


def _parse(data: bytes | str) -> Any:
    try:
        data = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError as error:
        raise DefinitionError([Problem("$", "json", f"this cannot be UTF-8: {error}")]) from None
    if len(data) > MAX_BYTES:
        raise DefinitionError(
            [Problem("$", "too-large", f"the definition has {len(data)} bytes; the limit is {MAX_BYTES}")]
        )
    try:
        value = json.loads(data, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can be escaped, but not written
        return value
    except RecursionError:
        raise DefinitionError([Problem("$", "json", "the JSON is nested too deep")]) from None
    except UnicodeError as error:
        raise DefinitionError([Problem("$", "json", f"this is not UTF-8: {error}")]) from None
    except ValueError as error:
        raise DefinitionError([Problem("$", "json", f"this is not JSON: {error}")]) from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} is written twice in one object")
    return dict(pairs)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number")


def _without_accepted(document: dict[str, Any]) -> dict[str, Any]:
    """`document` without the keys that are accepted and ignored: `$schema`, and the recomputed `aux_steps`."""
    return {key: value for key, value in document.items() if key not in ("$schema", "aux_steps")}


# -- shape -------------------------------------------------------------------------------------------------


def _shape_problems(document: dict[str, Any]) -> Iterator[Problem]:
    schema = document.get("$schema", "")
    if not isinstance(schema, str):
        yield Problem("$schema", "type", f"{_shown(schema)} is not a string")
    aux = document.get("aux_steps", {})
    if not isinstance(aux, dict) or not all(isinstance(flag, bool) for flag in cast("dict[str, Any]", aux).values()):
        yield Problem("aux_steps", "type", f"{_shown(aux)} is not an object of booleans")
    try:
        WorkflowDef.model_validate(_without_accepted(document))
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=True):
            # pydantic counts only the valid entries; the invalid ones have problems of their own.
            if detail["type"] != "too_short" or not detail["input"]:
                yield _shape_problem(detail)


# pydantic's kinds of error in our words: the rule's slug, and what is wrong after the value.
_KINDS = {
    "model_type": ("type", "is not an object"),
    "string_type": ("type", "is not a string"),
    "tuple_type": ("type", "is not a list"),
    "int_type": ("type", "is not a whole number"),
    "float_type": ("type", "is not a number"),
    "int_from_float": ("type", "is not a whole number"),
    "greater_than_equal": ("range", "is less than {ge}"),
    "greater_than": ("range", "is not more than {gt}"),
    "less_than_equal": ("range", "is more than {le}"),
    "finite_number": ("range", "is not a finite number"),
    "string_too_long": ("range", "is longer than {max_length} characters"),
    "too_long": ("range", "has more than {max_length} entries"),
    "too_short": ("range", "needs at least one entry"),
}


def _shape_problem(detail: ErrorDetails) -> Problem:
    location = detail["loc"]
    path = _path(location)
    value = _shown(detail["input"])
    kind = detail["type"]
    key = str(location[-1]) if location else "$"
    if kind == "missing":
        return Problem(path, "required", f"{key!r} is missing")
    if kind == "extra_forbidden":
        return Problem(path, "unknown-key", f"unknown key {key!r}", _key_hint(key, _model_at(location)))
    if kind == "literal_error":
        expected = detail.get("ctx", {}).get("expected", "")
        hint = _LATER if key == "type" and detail["input"] in _LATER_TYPES else ""
        return Problem(path, "unknown-value", f"{value} is not one of {expected}", hint)
    if kind == "string_pattern_mismatch":
        allowed = "letters, digits, '_' and '-'"
        if key == "task":
            allowed += ", in parts joined by single dots"
        return Problem(path, "identifier", f"{value} is not a valid {_noun(location)}: {allowed}")
    if kind == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        return Problem(path, "duration", message)
    rule, words = _KINDS.get(kind, ("type", f"is wrong: {detail['msg']}"))
    return Problem(path, rule, f"{value} {words.format(**detail.get('ctx', {}))}")


def _noun(location: Sequence[int | str]) -> str:
    if location == ("name",):
        return "workflow name"
    return "task type" if location[-1] == "task" else "step id"


def _model_at(location: Sequence[int | str]) -> type[WorkflowDef | StepDef | RetryPolicy]:
    """What the object around a key is."""
    model: type[WorkflowDef | StepDef | RetryPolicy] = WorkflowDef
    for name in location[:-1]:
        model = {"steps": StepDef, "retry": RetryPolicy, "default_retry": RetryPolicy}.get(str(name), model)
    return model


def _key_hint(key: str, model: type[WorkflowDef | StepDef | RetryPolicy]) -> str:
    if key in _LATER_KEYS[model]:
        return _LATER
    accepted = ("$schema", "aux_steps") if model is WorkflowDef else ()
    candidates = near(key, [*model.model_fields, *accepted])
    return f"did you mean {candidates[0]!r}?" if candidates else ""


# -- graph -------------------------------------------------------------------------------------------------


class _Reading:
    """What of the graph can be read from a document that may be broken anywhere."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.steps: list[tuple[int, str, dict[str, Any]]] = []
        self.index: dict[str, int] = {}
        self.repeated: list[tuple[int, str]] = []
        self._hint_work = 0
        steps = document.get("steps")
        entries: list[Any] = cast("list[Any]", steps) if isinstance(steps, list) else []
        for at, entry in enumerate(entries):
            step = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
            step_id = step.get("id")
            if not isinstance(step_id, str):
                continue
            if step_id in self.index:
                self.repeated.append((at, step_id))
                continue
            self.index[step_id] = at
            self.steps.append((at, step_id, step))

    def dependencies(self, step: dict[str, Any]) -> list[tuple[int, str]]:
        listed = step.get("depends_on")
        entries: list[Any] = cast("list[Any]", listed) if isinstance(listed, list) else []
        return [(at, entry) for at, entry in enumerate(entries) if isinstance(entry, str)]

    def references(self, step: dict[str, Any]) -> list[tuple[str, str]]:
        return [(key, step[key]) for key in ("on_failure", "compensate") if isinstance(step.get(key), str)]

    def unknown(self, path: str, step_id: str, verb: str, target: str) -> Problem:
        candidates: list[str] = []
        if self._hint_work < _HINT_WORK:  # a thousand wrong names have one cause; comparing them all takes minutes
            self._hint_work += len(self.index)
            candidates = near(target, self.index)
        hint = f"did you mean {candidates[0]!r}?" if candidates else ""
        return Problem(path, "unknown-step", f'step "{step_id}" {verb} non-existent step "{target}"', hint)


def _graph_problems(document: dict[str, Any]) -> Iterator[Problem]:
    reading = _Reading(document)
    for at, step_id in reading.repeated:
        first = reading.index[step_id]
        yield Problem(f"steps[{at}].id", "duplicate-step", f'step id "{step_id}" is used by steps[{first}] too')
    auxiliary = {target for _, _, step in reading.steps for _, target in reading.references(step)}
    for at, step_id, step in reading.steps:
        yield from _dependency_problems(reading, at, step_id, step, auxiliary)
        yield from _reference_problems(reading, at, step_id, step)
        if step_id in auxiliary:
            yield from _auxiliary_problems(at, step_id, step)
        if step.get("retry") is not None and step.get("retries"):
            yield Problem(
                f"steps[{at}].retries",
                "two-retries",
                f'step "{step_id}" has both `retry` and `retries`; keep `retry`',
            )
    if reading.steps and all(step_id in auxiliary for _, step_id, _ in reading.steps):
        yield Problem("steps", "nothing-to-run", "every step is named by an `on_failure` or `compensate`: none starts")
    yield from _cycle_problems(reading)


def _dependency_problems(
    reading: _Reading, at: int, step_id: str, step: dict[str, Any], auxiliary: set[str]
) -> Iterator[Problem]:
    seen: set[str] = set()
    for position, target in reading.dependencies(step):
        path = f"steps[{at}].depends_on[{position}]"
        if target in seen:
            yield Problem(path, "duplicate-dependency", f'step "{step_id}" names dependency "{target}" twice')
        elif target == step_id:
            yield Problem(path, "self-dependency", f'step "{step_id}" depends on itself')
        elif target not in reading.index:
            yield reading.unknown(path, step_id, "depends on", target)
        elif target in auxiliary and step_id not in auxiliary:
            message = (
                f'step "{step_id}" depends on "{target}", which only runs as a failure or compensation step'
                " and may never run"
            )
            yield Problem(path, "depends-on-auxiliary", message)
        seen.add(target)


def _reference_problems(reading: _Reading, at: int, step_id: str, step: dict[str, Any]) -> Iterator[Problem]:
    for key, target in reading.references(step):
        path = f"steps[{at}].{key}"
        if target == step_id:
            yield Problem(path, "self-reference", f'step "{step_id}" names itself as its {key} step')
        elif target not in reading.index:
            yield reading.unknown(path, step_id, f"names as {key}", target)


def _auxiliary_problems(at: int, step_id: str, step: dict[str, Any]) -> Iterator[Problem]:
    for key in ("depends_on", "on_failure", "compensate"):
        if step.get(key):
            message = f'step "{step_id}" runs only for another step, so it cannot have `{key}`'
            yield Problem(f"steps[{at}].{key}", "auxiliary-step", message)


def _cycle_problems(reading: _Reading) -> Iterator[Problem]:
    """One problem per knot of cycles, with one cycle's path. Kahn's algorithm first: linear, no recursion."""
    edges = {
        step_id: [target for _, target in reading.dependencies(step) if target in reading.index and target != step_id]
        for _, step_id, step in reading.steps
    }
    waiting = {step_id: len(targets) for step_id, targets in edges.items()}
    dependents: dict[str, list[str]] = {}
    for step_id, targets in edges.items():
        for target in targets:
            dependents.setdefault(target, []).append(step_id)
    ready = [step_id for step_id, count in waiting.items() if count == 0]
    while ready:
        done = ready.pop()
        del waiting[done]
        for dependent in dependents.get(done, ()):
            waiting[dependent] -= 1
            if waiting[dependent] == 0:
                ready.append(dependent)
    walked: set[str] = set()
    for start in waiting:
        cycle = _cycle_from(start, edges, waiting, walked)
        if cycle:
            # Edges point from a step to what it needs; people read the order in which steps would run.
            order = [cycle[0], *reversed(cycle)]
            path = f"steps[{reading.index[cycle[0]]}].depends_on"
            yield Problem(path, "cycle", f"the steps form a cycle: {_arrows(order)}")


def _cycle_from(start: str, edges: dict[str, list[str]], stuck: Mapping[str, int], walked: set[str]) -> list[str]:
    """The cycle reached from `start` along dependencies that are stuck themselves (each stuck step has one).

    Empty when the walk meets a step that an earlier walk passed: that walk has reported its cycle.
    """
    position: dict[str, int] = {}
    step_id = start
    while step_id not in position:
        if step_id in walked:
            return []
        walked.add(step_id)
        position[step_id] = len(position)
        step_id = next(target for target in edges[step_id] if target in stuck)
    return list(position)[position[step_id] :]


def _arrows(order: Sequence[str], most: int = 24) -> str:
    if len(order) <= most:
        return " → ".join(order)
    half = most // 2
    left_out = f"… {len(order) - most} more …"
    return " → ".join([*order[:half], left_out, *order[-half:]])


# -- words -------------------------------------------------------------------------------------------------


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "$"


def _order(path: str) -> list[tuple[int, int, str]]:
    parts = path.replace("[", ".").replace("]", "").split(".")
    return [(0, int(part), "") if _INDEX.fullmatch(part) else (1, _KEY_ORDER.get(part, -1), part) for part in parts]


def _shown(value: Any) -> str:
    """`value` as JSON, cut to what fits a line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # a value from Python, not from JSON
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "…"
