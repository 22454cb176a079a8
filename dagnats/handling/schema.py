"""The JSON Schema of a type: what can be read into it, and what is written of it.

A schema becomes part of a definition's identity, so it says nothing that its author did not say: no titles made
from names, no docstrings, keys sorted. What a schema cannot say is left open (`{}`).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, cast, get_origin

import msgspec
from msgspec import inspect as struct_inspect
from pydantic import AliasChoices, AliasPath
from pydantic.json_schema import GenerateJsonSchema

from dagnats.model.scalar import by_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel, TypeAdapter
    from pydantic_core import core_schema

Direction = Literal["reading", "writing"]
Schema = dict[str, Any]

BASE64: Schema = {"type": "string", "contentEncoding": "base64"}
"""Top-level `bytes`."""


def pydantic_schema(adapter: TypeAdapter[Any], direction: Direction) -> Schema:
    """The schema of a type that pydantic carries."""
    mode = "validation" if direction == "reading" else "serialization"
    return by_key(adapter.json_schema(mode=mode, schema_generator=_Generator))


def struct_schema(declared: Any, direction: Direction) -> Schema:
    """The schema of a type that msgspec carries."""
    try:
        schema = msgspec.json.schema(declared)
    except TypeError:  # it holds a type that msgspec carries by a hook of its own
        return {}
    optional = _left_out(declared) if direction == "writing" else None
    for part in schema.get("$defs", {}).values():
        name = part.pop("title", "")
        part.pop("description", None)
        if optional is not None and "properties" in part:
            part["required"] = [key for key in part["properties"] if (name.partition("[")[0], key) not in optional]
    return by_key(schema)


class _Generator(GenerateJsonSchema):
    """pydantic's schema without what pydantic adds of its own accord."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}  # noqa: RUF012

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        return {}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:
        """We write every field of a model, those with a default too; only a TypedDict may lack a key."""
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)

    def function_before_schema(self, schema: Any) -> Schema:
        return self._unknown_before(schema, super().function_before_schema)

    def function_wrap_schema(self, schema: Any) -> Schema:
        return self._unknown_before(schema, super().function_wrap_schema)

    def _unknown_before(self, schema: Any, otherwise: Callable[[Any], Schema]) -> Schema:
        """A function that runs before the type's own check may read anything, unless it says what."""
        hidden = self.mode == "validation" and not schema.get("json_schema_input_schema")
        return {} if hidden else otherwise(schema)

    def ser_schema(self, schema: Any) -> Schema | None:
        """A function that writes may write anything, unless it says what."""
        hidden = schema["type"] in ("function-plain", "function-wrap") and not schema.get("return_schema")
        return {} if hidden else super().ser_schema(schema)

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        made = _of_class(super().model_schema(schema), schema["cls"])
        return _by_any_name(made, schema["cls"]) if self.mode == "validation" else made

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> Schema:
        return _of_class(super().dataclass_schema(schema), schema["cls"])

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> Schema:
        return _of_class(super().typed_dict_schema(schema), schema.get("cls"))

    def generate_inner(self, schema: Any) -> Schema:
        made = super().generate_inner(schema)
        if schema["type"] == "enum":  # pydantic adds title and docstring after `enum_schema`
            _of_class(self.get_schema_from_definitions(made["$ref"]) if "$ref" in made else made, schema["cls"])
        return made


def _of_class(schema: Any, kind: Any) -> Schema:
    """`schema`, changed: without the class's name as its title and the class's docstring as its description."""
    if schema.get("title") == getattr(kind, "__name__", None):
        schema.pop("title", None)
    if schema.get("description") == inspect.cleandoc(getattr(kind, "__doc__", None) or ""):
        schema.pop("description", None)
    return schema


def _by_any_name(schema: Schema, model: type[BaseModel]) -> Schema:
    """`schema` without demands on fields that can be read under several names: a schema knows but one of them."""
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    names: set[str] = set()
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if alias is not None and (by_name or not isinstance(alias, str)):
            names |= {name, *_first_keys(alias)}
    if names:
        schema["required"] = [key for key in schema.get("required", ()) if key not in names]
        schema.pop("additionalProperties", None)
    return schema


def _first_keys(alias: str | AliasPath | AliasChoices) -> Iterator[str]:
    """The keys of an object in which a value may be found."""
    if isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from _first_keys(choice)
    else:
        yield str(alias.path[0]) if isinstance(alias, AliasPath) else alias


def _left_out(declared: Any) -> set[tuple[str, str]]:
    """The fields that msgspec does not always write, as (class, key)."""
    found: set[tuple[str, str]] = set()
    for part in types_in(declared):
        if isinstance(part, struct_inspect.StructType):
            kind = get_origin(part.cls) or part.cls
            omits = kind.__struct_config__.omit_defaults
            found |= {(kind.__name__, field.encode_name) for field in part.fields if _may_lack(field, omits)}
        elif isinstance(part, struct_inspect.TypedDictType):
            found |= {(part.cls.__name__, field.encode_name) for field in part.fields if not field.required}
    return found


def types_in(declared: Any) -> Iterator[Any]:
    """Everything that msgspec sees in a type, fields included, each once."""
    seen: set[int] = set()
    waiting: list[Any] = [struct_inspect.type_info(declared)]
    for part in waiting:  # grows while it is read
        if isinstance(part, tuple):
            waiting += cast("tuple[Any, ...]", part)
        elif isinstance(part, struct_inspect.Type | struct_inspect.Field) and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += msgspec.structs.astuple(part)


def _may_lack(field: struct_inspect.Field, omits: bool) -> bool:
    """Whether a field may be left out: at its default, if those are omitted, or when it is `UNSET`."""
    default = (field.default, field.default_factory)
    return not field.required and (omits or default == (msgspec.NODEFAULT, msgspec.NODEFAULT))
