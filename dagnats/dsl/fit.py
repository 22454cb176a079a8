"""Whether what one step writes can be read by another: two JSON Schemas compared.

The answer has three values. A proven no is a problem, and its reasons are told; yes and unknown are both silent.
Unknown is what no schema can decide: formats, bounds, patterns, and whatever nobody declared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]
Way = tuple[str, ...]
"""The keys and indexes that lead to a value: `("lines", "[]", "price")`."""

_ANY: Schema = {}
_NEVER: Schema = {"not": {}}
_KIND = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
_READ_TOO = {"integer": ("number",), "boolean": ("integer", "number")}  # pydantic reads true as 1
_COUNTABLE = {"boolean": [False, True], "null": [None]}


@dataclass(frozen=True)
class Misfit:
    """Why something that is written cannot be read."""

    way: Way
    reason: str

    def __str__(self) -> str:
        way = ".".join(self.way).replace(".[", "[")
        return f"{way or 'it'} {self.reason}"


def misfits(written: Schema, read: Schema) -> Iterator[Misfit]:
    """What is proven not to be accepted by schema `read` in something of schema `written`.

    `written` says all there is: an object has no keys but those it names, unless it says otherwise.
    """
    return _Comparison(written.get("$defs", {}), read.get("$defs", {})).misfits(written, read, ())


class _Comparison:
    def __init__(self, written: Schema, read: Schema) -> None:
        self._written = written
        self._read = read
        self._fits: set[tuple[int, int]] = set()

    def misfits(self, written: Any, read: Any, way: Way) -> Iterator[Misfit]:
        written, read = _resolved(written, self._written), _resolved(read, self._read)
        pair = (id(written), id(read))
        if pair in self._fits:
            return
        self._fits.add(pair)  # at once: a type that holds itself fits unless something else speaks against it
        for found in self._compared(written, read, way):
            self._fits.discard(pair)
            yield found

    def _compared(self, written: Schema, read: Schema, way: Way) -> Iterator[Misfit]:
        if _branches(written):
            for branch in _branches(written):
                yield from self.misfits(branch, read, way)
            return
        for part in read.get("allOf", ()):
            yield from self.misfits(written, part, way)
        if _branches(read):
            yield from self._with_union(written, read, way)
        elif _values(written) is not None or _values(read) is not None:
            yield from _with_values(written, read, way)
        else:
            yield from self._with_kinds(written, read, way)

    def _with_union(self, written: Schema, read: Schema, way: Way) -> Iterator[Misfit]:
        found = [next(self.misfits(written, branch, way), None) for branch in _branches(read)]
        if None in found:
            return
        inside = [reason for reason in found if reason is not None and reason.way != way]
        if inside:  # the kind is right: what is wrong lies deeper
            yield inside[0]
        else:
            words = dict.fromkeys(_word(_resolved(branch, self._read)) for branch in _branches(read))
            yield Misfit(way, f"is {_word(written)}, not {' or '.join(words)}")

    def _with_kinds(self, written: Schema, read: Schema, way: Way) -> Iterator[Misfit]:
        kinds = _kinds(written)
        yield from (Misfit(way, f"is {kind}, not {_word(read)}") for kind in kinds if not _accepts(read, kind))
        if "object" in kinds:
            yield from self._objects(written, read, way)
        if "array" in kinds:
            yield from self._arrays(written, read, way)

    def _objects(self, written: Schema, read: Schema, way: Way) -> Iterator[Misfit]:
        given: Schema = written.get("properties", {})
        known: Schema = read.get("properties", {})
        for key in read.get("required", ()):
            if key not in given:
                yield from self._unnamed(written, known.get(key, _ANY), (*way, key))
            elif key not in written.get("required", ()):
                yield Misfit((*way, key), "may be missing")
        others = _ANY if "patternProperties" in read else read.get("additionalProperties", _ANY)
        for key, part in given.items():
            if key in known or others is not False:
                yield from self.misfits(part, known.get(key, others), (*way, key))
            else:
                yield Misfit((*way, key), "is not accepted")
        if others is not False:  # keys that are perhaps never written prove nothing
            yield from self.misfits(written.get("additionalProperties", _ANY), others, (*way, "*"))

    def _unnamed(self, written: Schema, read: Any, way: Way) -> Iterator[Misfit]:
        """A required key that `written` does not name: perhaps it is among those it has no names for."""
        others = written.get("additionalProperties", "properties" not in written)
        if others is False and "patternProperties" not in written:
            yield Misfit(way, "is missing")
        else:
            yield from self.misfits(others or _ANY, read, way)

    def _arrays(self, written: Schema, read: Schema, way: Way) -> Iterator[Misfit]:
        given, known = written.get("prefixItems", []), read.get("prefixItems", [])
        rest, others = written.get("items", _ANY), read.get("items", _ANY)
        for place in range(max(len(given), len(known))):
            part = given[place] if place < len(given) else rest
            wanted = known[place] if place < len(known) else others
            yield from self.misfits(part, wanted or _ANY, (*way, f"[{place}]"))
        yield from self.misfits(rest, others or _ANY, (*way, "[]"))


def _with_values(written: Schema, read: Schema, way: Way) -> Iterator[Misfit]:
    """Where at least one side lists its values."""
    given, taken = _values(written), _values(read)
    if given is None:
        kinds = _kinds(written)
        given = [value for kind in kinds for value in _COUNTABLE.get(kind, ())]
        endless = [kind for kind in kinds if kind not in _COUNTABLE]
        yield from (Misfit(way, f"is any {kind}, not {_word(read)}") for kind in endless)
    for value in given:
        if taken is None:
            fits = _accepts(read, _KIND.get(cast("type[Any]", type(value)), ""))
        else:
            fits = any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in taken)
        if not fits:
            yield Misfit(way, f"may be {_shown(value)}, not {_word(read)}")


def _accepts(read: Schema, kind: str) -> bool:
    """Whether some value of a JSON type may be accepted; "" is a type that is not known."""
    kinds = _kinds(read)
    if not kinds or not kind:
        return read != _NEVER
    if kind in kinds or any(wider in kinds for wider in _READ_TOO.get(kind, ())):
        return True
    return kind in ("integer", "number") and "format" in read  # pydantic reads numbers as times


def _resolved(schema: Any, definitions: Schema) -> Schema:
    """The schema that `schema` stands for, as an object."""
    for _ in range(100):  # a reference may lead to another one, and in a broken schema for ever
        if not isinstance(schema, dict):
            return _NEVER if schema is False else _ANY
        members = cast("Schema", schema)
        if "$ref" not in members:
            return members
        schema = definitions.get(str(members["$ref"]).removeprefix("#/$defs/"), _ANY)
    return _ANY


def _branches(schema: Schema) -> list[Any]:
    return [*schema.get("anyOf", ()), *schema.get("oneOf", ())]


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def _word(schema: Schema) -> str:
    """A schema in a word or two."""
    values = _values(schema)
    if values is not None:
        shown = ", ".join(map(_shown, values[:5]))
        return shown if len(values) == 1 else f"one of {shown}{', …' if len(values) > 5 else ''}"
    return " or ".join(_kinds(schema)) or "anything"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
