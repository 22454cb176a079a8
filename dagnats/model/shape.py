"""Shape rules: which keys there are, and what their values may be. pydantic finds; this file says it in our words."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import ValidationError

from dagnats.model.condition import AllOf, AnyOf, Comparison, LiteralValue
from dagnats.model.definition import WorkflowDef
from dagnats.model.finding import Finding, did_you_mean, shown
from dagnats.model.identifier import DOT_PATH, EVENT, GROUP, HEADER, NAME, SCOPED, SUBJECT, TASK_TYPE, URL_PATH, near
from dagnats.model.reading import members
from dagnats.model.rule import RULES
from dagnats.model.scalar import OPTIONAL_TASK_TYPE, Part
from dagnats.model.step import STEP_CLASSES, StepDef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from dagnats.model.payload_schema import Location

_IGNORED = ("$schema", "aux_steps")
_TAGGED: dict[str, type[Part]] = {
    **{f"<{kind}>": step_class for kind, step_class in STEP_CLASSES.items()},
    "<any>": AnyOf,
    "<all>": AllOf,
    "<comparison>": Comparison,
    "<literal>": LiteralValue,
    "<reference>": LiteralValue,
}

# pydantic's kinds of error in our words: the rule's slug, and what is wrong after the value.
_KINDS = {
    "model_type": ("type", "is not an object"),
    "dict_type": ("type", "is not an object"),
    "string_type": ("type", "is not a string"),
    "tuple_type": ("type", "is not a list"),
    "bool_type": ("type", "is not true or false"),
    "int_type": ("type", "is not a whole number"),
    "float_type": ("type", "is not a number"),
    "int_from_float": ("type", "is not a whole number"),
    "none_required": ("config", "cannot be here: steps of this type have no `config`"),
    "greater_than": ("range", "is not more than {gt}"),
    "greater_than_equal": ("range", "is less than {ge}"),
    "less_than_equal": ("range", "is more than {le}"),
    "finite_number": ("range", "is not a finite number"),
    "string_too_short": ("range", "is shorter than {min_length} characters"),
    "string_too_long": ("range", "is longer than {max_length} characters"),
    "too_long": ("range", "has more than {max_length} entries"),
    "too_short": ("range", "needs at least one entry"),
}
_WORD = "letters, digits, '_' and '-'"
_TASK = f"{_WORD}, in parts joined by single dots"
_PATTERNS = {
    NAME: ("identifier", "", _WORD),
    rf"{NAME}|{SCOPED}": ("identifier", "", _WORD),
    GROUP: ("identifier", "", f"at most 64 {_WORD}"),
    TASK_TYPE: ("identifier", "", _TASK),
    OPTIONAL_TASK_TYPE: ("identifier", "task type", _TASK),
    EVENT: ("subject", "subject", "parts without spaces and wildcards, joined by single dots"),
    SUBJECT: ("subject", "subject", "parts joined by single dots; `*` is a whole part, `>` the last one"),
    DOT_PATH: ("dot-path", "dot path", "keys and array indexes joined by single dots, as in 'order.items.0.id'"),
    URL_PATH: ("url-path", "path", "begin with '/', without '*', '?', '#' and spaces"),
    HEADER: ("identifier", "header name", "letters, digits and '-'"),
}


def read_shape(document: dict[str, Any]) -> tuple[WorkflowDef | None, list[Finding]]:
    """The definition in `document` when every part of it has the right shape, and what has not."""
    findings = list(_ignored_findings(document))
    try:
        return WorkflowDef.model_validate(accepted(document)), findings
    except ValidationError as error:
        findings += _findings(error, document, ())
        return None, findings


def accepted(document: dict[str, Any]) -> dict[str, Any]:
    """`document` in the words of the model: aliases by their names, what is accepted and ignored left out."""
    value = {key: part for key, part in document.items() if key not in _IGNORED}
    if isinstance(value.get("steps"), list):
        value["steps"] = [_accepted_step(step) for step in value["steps"]]
    if isinstance(value.get("triggers"), list):
        value["triggers"] = [_accepted_trigger(trigger) for trigger in value["triggers"]]
    return value


def uses_loop(step: dict[str, Any]) -> bool:
    """Whether a step calls its `config` by the name `loop`, as agent loops may."""
    return step.get("type") == "agent_loop" and "loop" in step and "config" not in step


def _accepted_step(step: Any) -> Any:
    said = members(step)
    return {"config" if key == "loop" else key: part for key, part in said.items()} if uses_loop(said) else step


def _accepted_trigger(trigger: Any) -> Any:
    """Without the workflow's name, which the Go engine fills in; a graph of one workflow needs none."""
    if not isinstance(trigger, dict):
        return trigger
    return {key: part for key, part in members(trigger).items() if key != "workflow_id"}


def _ignored_findings(document: dict[str, Any]) -> Iterator[Finding]:
    schema = document.get("$schema", "")
    if not isinstance(schema, str):
        yield Finding(("$schema",), "type", f"{shown(schema)} is not a string")
    aux = document.get("aux_steps", {})
    if not isinstance(aux, dict) or not all(isinstance(flag, bool) for flag in cast("dict[str, Any]", aux).values()):
        yield Finding(("aux_steps",), "type", f"{shown(aux)} is not an object of booleans")


def _findings(error: ValidationError, document: dict[str, Any], outer: Location) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        if detail["type"] == "union_tag_not_found":
            yield from _other_step(detail, document)
        # pydantic counts only the valid entries; the invalid ones have findings of their own.
        elif detail["type"] != "too_short" or not detail["input"]:
            yield _finding(detail, (*outer, *detail["loc"]), document)


def _other_step(detail: ErrorDetails, document: dict[str, Any]) -> Iterator[Finding]:
    """What is wrong with a step of no known type, its `config` aside."""
    try:
        StepDef.model_validate(detail["input"])
    except ValidationError as error:
        for finding in _findings(error, document, detail["loc"]):
            if finding.location[2:3] != ("config",):
                yield finding


def _finding(detail: ErrorDetails, tagged: Location, document: dict[str, Any]) -> Finding:
    location = _as_written(tuple(part for part in tagged if part not in _TAGGED and part != "[key]"), document)
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(location[-1]) if location else "$"
    value = "the secret" if key == "secret" else shown(detail["input"])
    if kind == "missing":
        return Finding(location, "required", f"{key!r} is missing", _needs_hint(key, _part_at(tagged)))
    if kind == "extra_forbidden":
        return Finding(location, "unknown-key", f"unknown key {key!r}", _key_hint(key, _part_at(tagged)))
    if kind == "literal_error":
        expected = str(context["expected"])
        hint = _value_hint(detail["input"], expected) if isinstance(detail["input"], str) else ""
        return Finding(location, "unknown-value", f"{value} is not one of {expected}", hint)
    if kind == "string_pattern_mismatch":
        rule, noun, allowed = _PATTERNS[context["pattern"]]
        return Finding(location, rule, f"{value} is not a valid {noun or _noun(location)}: {allowed}")
    if kind == "value_error":  # only parse_duration raises plain ones
        return Finding(location, "duration", detail["msg"].removeprefix("Value error, "))
    if kind in RULES:
        return Finding(location, kind, f"{value} {detail['msg']}")
    rule, words = _KINDS.get(kind, ("type", f"is wrong: {detail['msg']}"))
    return Finding(location, rule, f"{value} {words.format(**context)}")


_NOUNS = {
    "allowed_tasks": "task type",
    "kind": "trigger type",
    "name": "workflow name",
    "task": "task type",
    "worker_group": "worker group",
    "workflow": "workflow name",
}


def _noun(location: Location) -> str:
    """What a name at this place names."""
    key = next(str(part) for part in reversed(location) if isinstance(part, str))
    return _NOUNS.get(key, "trigger id" if location[0] == "triggers" else "step id")


def _as_written(location: Location, document: dict[str, Any]) -> Location:
    if location[:1] == ("steps",) and location[2:3] == ("config",):
        step = document["steps"][location[1]]
        if uses_loop(step):
            return (*location[:2], "loop", *location[3:])
    return location


# -- hints -------------------------------------------------------------------------------------------------


def _part_at(tagged: Location) -> type[Part]:
    """The class of the object around a place."""
    part: type[Part] = WorkflowDef
    for name in tagged[:-1]:
        if name in _TAGGED:
            part = _TAGGED[name]
        elif isinstance(name, str) and name in part.model_fields:
            part = _part_in(part.model_fields[name].annotation) or part
    return part


def _part_in(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next(filter(None, map(_part_in, get_args(annotation))), None)


@lru_cache(maxsize=256)  # one wrong key is often in every step
def _key_hint(key: str, part: type[Part]) -> str:
    config = _part_in(part.model_fields["config"].annotation) if issubclass(part, StepDef) else None
    if config is not None and key in config.model_fields:
        return "it belongs into `config`"
    if part.__name__.endswith("Config") and key in StepDef.model_fields:
        return "it belongs to the step, beside `config`"
    if part is AnyOf and key == "all":
        return "put one of `any` and `all` into the other"
    if part is STEP_CLASSES["agent_loop"] and key == "loop":
        return "it is another name of `config`, which is there too; keep one"
    return did_you_mean(near(key, [*part.model_fields, *(_IGNORED if part is WorkflowDef else ())]))


@lru_cache(maxsize=256)
def _needs_hint(key: str, part: type[Part]) -> str:
    """What a missing object has to have: who writes Python has set nothing that is called `config`."""
    inner = _part_in(part.model_fields[key].annotation) if key == "config" else None
    names = [f"`{name}`" for name, field in inner.model_fields.items() if field.is_required()] if inner else []
    return f"it has {' and '.join(names)}" if names else ""


@lru_cache(maxsize=256)
def _value_hint(value: str, expected: str) -> str:
    if len(value) < 2:  # one sign is near to everything
        return ""
    return did_you_mean(near(value, expected.replace(" or ", ", ").replace("'", "").split(", ")))
