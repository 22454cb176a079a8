"""The JSON Schema of a type: what can be read into it, and what is written of it."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

import msgspec
import pytest
import typing_extensions
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    WrapSerializer,
    WrapValidator,
    computed_field,
    model_validator,
)

from dagnats.handling.codec import codec_for
from dagnats.handling.info import Compensation, FailureInfo

T = TypeVar("T")


def reads(declared: Any) -> dict[str, Any]:
    return codec_for(declared).schema("reading")


def writes(declared: Any) -> dict[str, Any]:
    return codec_for(declared).schema("writing")


class Colour(enum.Enum):
    """A docstring."""

    RED = "red"


class Line(BaseModel):
    """A docstring."""

    sku: str = Field(description="What is sold.")
    count: int = 1


class Order(BaseModel):
    """A docstring
    of two lines.
    """

    order_id: int = Field(alias="orderId")
    title: str
    lines: list[Line] = Field(default_factory=list[Line])
    colour: Colour | None = None


@dataclass
class Point:
    """A docstring."""

    x: int
    y: float = 0.0


class Row(typing_extensions.TypedDict):
    """A docstring."""

    name: str
    size: typing_extensions.NotRequired[int]


class Item(msgspec.Struct):
    """A docstring."""

    sku: str
    count: int = 1
    marks: list[str] = msgspec.field(default_factory=list[str])
    note: str | msgspec.UnsetType = msgspec.UNSET


class Sparse(msgspec.Struct, omit_defaults=True):
    sku: str
    count: int = 1


class Box(msgspec.Struct, Generic[T]):
    content: T
    title: Annotated[str, msgspec.Meta(title="Its name", description="For people.")] = ""


class Shelf(msgspec.Struct):
    row: Row
    item: Item
    point: Point
    colour: Colour


LINE = {
    "properties": {
        "count": {"default": 1, "type": "integer"},
        "sku": {"description": "What is sold.", "type": "string"},
    },
    "required": ["sku"],
    "type": "object",
}
LINE_WRITTEN = {**LINE, "required": ["sku", "count"]}


def test_a_model_is_read_by_alias_and_its_defaults_are_not_required() -> None:
    assert reads(Order) == {
        "$defs": {"Colour": {"enum": ["red"], "type": "string"}, "Line": LINE},
        "properties": {
            "colour": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}], "default": None},
            "lines": {"items": {"$ref": "#/$defs/Line"}, "type": "array"},
            "orderId": {"type": "integer"},
            "title": {"type": "string"},
        },
        "required": ["orderId", "title"],
        "type": "object",
    }


def test_everything_in_a_model_is_written() -> None:
    schema = writes(Order)
    assert schema["required"] == ["orderId", "title", "lines", "colour"]
    assert schema["$defs"]["Line"] == LINE_WRITTEN


@pytest.mark.parametrize(
    ("declared", "read", "written"),
    [
        (int, {"type": "integer"}, {"type": "integer"}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        (list[Line], {"$defs": {"Line": LINE}, "items": {"$ref": "#/$defs/Line"}, "type": "array"}, {}),
        (dict[str, float], {"additionalProperties": {"type": "number"}, "type": "object"}, None),
        (None, {"type": "null"}, None),
        (bytes, {"contentEncoding": "base64", "type": "string"}, None),
        (Any, {}, None),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}, None),
        (Colour, {"enum": ["red"], "type": "string"}, None),
        (decimal.Decimal, {"anyOf": [{"type": "number"}, {"type": "string"}]}, {"type": "string"}),
        (
            Point,
            {"properties": {"x": {"type": "integer"}, "y": {"default": 0.0, "type": "number"}}, "required": ["x"]},
            {"required": ["x", "y"]},
        ),
        (
            Row,
            {"properties": {"name": {"type": "string"}, "size": {"type": "integer"}}, "required": ["name"]},
            {"required": ["name"]},
        ),
        (
            Sparse,
            {
                "$defs": {
                    "Sparse": {
                        "properties": {"count": {"default": 1, "type": "integer"}, "sku": {"type": "string"}},
                        "required": ["sku"],
                        "type": "object",
                    }
                }
            },
            None,
        ),
    ],
)
def test_every_kind_of_type_has_a_schema(declared: Any, read: dict[str, Any], written: dict[str, Any] | None) -> None:
    """`written` None: the same as read; otherwise the keys that differ."""
    schema = reads(declared)
    assert {key: schema[key] for key in read} == read
    other = writes(declared)
    if written is None:
        assert other == schema
    else:
        assert {key: other[key] for key in written} == written


def test_a_struct_writes_all_but_what_it_leaves_out() -> None:
    required = writes(Shelf)["$defs"]
    assert required["Item"]["required"] == ["sku", "count", "marks"]
    assert required["Point"]["required"] == ["x", "y"]
    assert required["Row"]["required"] == ["name"]
    assert reads(Item)["$defs"]["Item"]["required"] == ["sku"]
    assert writes(Sparse)["$defs"]["Sparse"]["required"] == ["sku"]
    assert writes(Box[int])["$defs"]["Box_int_"]["required"] == ["content", "title"]


def _parts(schema: Any) -> Iterator[Any]:
    """A schema, and everything in it."""
    yield schema
    inside = cast("Any", schema).values() if isinstance(schema, dict) else schema
    for part in cast("list[Any]", inside) if isinstance(schema, dict | list) else ():
        yield from _parts(part)


def _objects(schema: Any) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", part) for part in _parts(schema) if isinstance(part, dict)]


@pytest.mark.parametrize(
    "declared", [Order, Point, Row, Shelf, Colour, FailureInfo[Order], Compensation[int], Box[int]]
)
def test_names_and_docstrings_of_classes_are_no_part_of_a_schema(declared: Any) -> None:
    for schema in (reads(declared), writes(declared)):
        texts = [part for part in _parts(schema) if isinstance(part, str)]
        assert not [text for text in texts if "docstring" in text or "Attributes:" in text]
        titles = {part["title"] for part in _objects(schema) if isinstance(part.get("title"), str)}
        assert titles <= {"Its name"}


def test_what_an_author_said_of_a_type_stays() -> None:
    class Named(BaseModel):
        """A docstring."""

        model_config = ConfigDict(title="A thing", json_schema_extra={"examples": [{"n": 1}]})
        n: int = Field(title="How many", description="For people.", examples=[3])

    assert reads(Named) == {
        "examples": [{"n": 1}],
        "properties": {"n": {"description": "For people.", "examples": [3], "title": "How many", "type": "integer"}},
        "required": ["n"],
        "title": "A thing",
        "type": "object",
    }
    assert reads(Box[int])["$defs"]["Box_int_"]["properties"]["title"] == {
        "default": "",
        "description": "For people.",
        "title": "Its name",
        "type": "string",
    }


def test_keys_are_sorted_at_every_depth() -> None:
    for schema in (reads(Order), writes(Shelf)):
        assert all(list(part) == sorted(part) for part in _objects(schema))


def test_a_type_that_holds_itself_has_a_schema() -> None:
    assert reads(Tree)["$defs"]["Tree"]["properties"]["left"]["anyOf"][0] == {"$ref": "#/$defs/Tree"}


class Tree(BaseModel):
    left: Tree | None = None


def test_a_codec_gives_the_same_schema_each_time() -> None:
    for declared in (Order, Item, bytes):
        codec = codec_for(declared)
        assert codec.schema("reading") is codec.schema("reading")


# -- what no schema can say is left open -------------------------------------------------------------------


def _checked(value: Any) -> Any:
    return value


class Hidden:
    pass


class Normalised(BaseModel):
    n: int

    @model_validator(mode="before")
    @classmethod
    def _anything(cls, value: Any) -> Any:
        return value


class ByName(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="forbid")
    order_id: int = Field(alias="orderId")
    n: int


class Choices(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: int = Field(validation_alias=AliasChoices("orderId", AliasPath("order", "id")))


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: int = Field(alias="orderId")


class Computed(BaseModel):
    n: int = 0

    @computed_field
    @property
    def double(self) -> int:
        return 2 * self.n


OPEN: list[tuple[Any, Callable[[Any], dict[str, Any]], dict[str, Any]]] = [
    (Annotated[int, BeforeValidator(_checked)], reads, {}),
    (Annotated[int, WrapValidator(lambda value, _: value)], reads, {}),
    (Annotated[Any, PlainValidator(_checked)], reads, {}),
    (Annotated[int, BeforeValidator(_checked, json_schema_input_type=str)], reads, {"type": "string"}),
    (Annotated[int, BeforeValidator(_checked)], writes, {"type": "integer"}),
    (Annotated[int, PlainSerializer(_checked)], writes, {}),
    (Annotated[int, PlainSerializer(lambda value: str(value))], writes, {}),  # without annotations
    (Annotated[int, WrapSerializer(lambda value, handler: handler(value))], writes, {}),
    (Annotated[int, PlainSerializer(_checked, return_type=str)], writes, {"type": "string"}),
    (Annotated[int, PlainSerializer(_checked)], reads, {"type": "integer"}),
    (Normalised, reads, {}),
]


@pytest.mark.parametrize(("declared", "look", "schema"), OPEN)
def test_what_a_function_reads_or_writes_is_open_unless_it_says(
    declared: Any, look: Callable[[Any], dict[str, Any]], schema: dict[str, Any]
) -> None:
    assert look(declared) == schema


def test_a_field_with_several_names_is_not_required_under_one_of_them() -> None:
    assert reads(ByName)["required"] == ["n"]
    assert reads(Choices)["required"] == []
    assert "additionalProperties" not in {**reads(ByName), **reads(Choices)}
    assert writes(ByName)["required"] == ["orderId", "n"]
    assert reads(Aliased)["required"] == ["orderId"]
    assert reads(Aliased)["additionalProperties"] is False


def test_computed_fields_are_written_and_not_read() -> None:
    assert list(reads(Computed)["properties"]) == ["n"]
    assert writes(Computed)["required"] == ["n", "double"]


def test_a_branch_without_a_schema_opens_the_union_instead_of_vanishing() -> None:
    assert reads(int | InstanceOf[Hidden]) == {"anyOf": [{"type": "integer"}, {}]}


class Odd(msgspec.Struct):
    value: Any = Hidden()


def test_a_struct_without_a_schema_is_open() -> None:
    assert (reads(Odd), writes(Odd)) == ({}, {})


@pytest.mark.parametrize(
    "declared",
    [datetime.datetime, datetime.timedelta, uuid.UUID, set[int], tuple[int, str], frozenset[str], dict[int, str]],
)
def test_builtin_types_read_as_pydantic_says(declared: Any) -> None:
    assert reads(declared) == TypeAdapter(declared).json_schema()
