"""Values held against the JSON Schemas of a definition: a run's input, the answer to an approval."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import Problem
from dagnats.model.quick import quick_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jsonschema import ValidationError

_LONGEST = 200
_MOST_CAUSES = 4


def payload_problems(schema: Any, payload: bytes) -> tuple[Problem, ...]:
    """Everything in which a payload (raw JSON; empty reads as null) departs from a schema, in the payload's order.

    The schema was checked when its definition was registered. `format` is a remark, as draft 2020-12 has it.
    """
    try:
        value = msgspec.json.decode(payload or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return (Problem("$", "json", f"this cannot be read as JSON: {error}"),)
    try:
        said = msgspec.json.encode(schema)
        if _quick(said)(value):
            return ()
        found: list[ValidationError] = sorted(_validator(said).iter_errors(value), key=_place)
    except RecursionError:
        return (Problem("$", "input-schema", "this is nested too deep to be checked"),)
    return tuple(Problem(error.json_path, "input-schema", _cut(error.message), _cut(_causes(error))) for error in found)


@lru_cache(maxsize=64)
def _quick(schema: bytes) -> Callable[[Any], bool]:
    return quick_check(msgspec.json.decode(schema))


@lru_cache(maxsize=64)  # half a millisecond each; the same workflow is started again and again
def _validator(schema: bytes) -> Any:
    from jsonschema import Draft202012Validator  # 0.15 s: only for definitions that have a schema
    from jsonschema_specifications import REGISTRY

    # With a registry of its own it loads nothing over the network, whatever a reference says.
    return Draft202012Validator(msgspec.json.decode(schema), registry=REGISTRY)


def _place(error: ValidationError) -> tuple[tuple[bool, Any], ...]:
    """Where it is; indexes and keys do not compare with each other."""
    return tuple((isinstance(part, str), part) for part in error.absolute_path)


def _causes(error: ValidationError) -> str:
    """Of a value that fits none of several schemas: why it fits none."""
    causes = _unique(_leaf(cause) for cause in error.context or ())
    return "; or ".join(causes[:_MOST_CAUSES])


def _leaf(error: ValidationError) -> str:
    while error.context:
        error = error.context[0]
    below = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.relative_path)
    return f"{below.lstrip('.')}: {error.message}" if below else error.message


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
