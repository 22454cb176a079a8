"""Whether what one type writes can be read by another: only a proven no is told."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from dagnats.dsl.fit import misfits
from dagnats.handling.codec import codec_for


def _told(written: Any, read: Any) -> str:
    """The first thing that does not fit; "" when nothing is proven."""
    found = misfits(codec_for(written).schema("writing"), codec_for(read).schema("reading"))
    return next(map(str, found), "")


class Order(BaseModel):
    id: str
    cents: int = 0


class Looser(BaseModel):
    id: str


class Stricter(BaseModel):
    id: str
    cents: int
    card: str


class Forbids(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str


class Allows(BaseModel):
    model_config = ConfigDict(extra="allow")
    id: str


class OtherCents(BaseModel):
    id: str
    cents: str


class Nested(BaseModel):
    orders: list[Order]


class NestedOther(BaseModel):
    orders: list[OtherCents]


class Aliased(BaseModel):
    order_id: str = Field(alias="orderId")


class ByField(BaseModel):
    order_id: str


class ReadElsewhere(BaseModel):
    order_id: str = Field(validation_alias="theirId")


@dataclass
class Point:
    id: str
    cents: int = 0


class Row(typing_extensions.TypedDict):
    id: str
    cents: typing_extensions.NotRequired[int]


class RowNeeds(typing_extensions.TypedDict):
    id: str
    cents: int


class Item(msgspec.Struct):
    id: str
    cents: int = 0


class Sparse(msgspec.Struct, omit_defaults=True):
    id: str
    cents: int = 0


class ItemForbids(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class Pair(msgspec.Struct, array_like=True):
    id: str
    cents: int


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class TextTree(BaseModel):
    value: str
    children: list[TextTree] = []


class Twig(BaseModel):
    value: int
    children: list[Twig] = []


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


FITS: list[tuple[Any, Any]] = [
    (int, int),
    (int, float),
    (int, float | None),
    (str, str | None),
    (str, int | str),
    (int | str, str | int | None),
    (None, None),
    (None, str | None),
    (bytes, bytes),
    (Any, Order),
    (Order, Any),
    (Order, object),
    (list[Any], list[int]),
    (dict[str, Any], Order),
    (dict[str, Any], Forbids),
    (dict[str, int], dict[str, float]),
    (dict[str, str], Order),
    (Order, dict[str, Any]),
    (Order, dict[str, int | str]),
    (Order, Order),
    (Order, Looser),
    (Order, Point),
    (Order, Row),
    (Order, Item),
    (Order, RowNeeds),
    (Point, Order),
    (Row, Order),
    (RowNeeds, Row),
    (Item, Order),
    (Item, RowNeeds),
    (Sparse, Order),
    (Looser, Order),
    (Looser, Forbids),
    (Looser, ItemForbids),
    (Allows, Stricter),
    (Allows, Order),
    (Nested, Nested),
    (Aliased, Aliased),
    (Tree, Tree),
    (Tree, Twig),
    (list[Tree], list[Twig]),
    (Tree, dict[str, Any]),
    (Cat, Pet),
    (Pet, Pet),
    (Pet, Cat | Dog),
    (tuple[int, str], tuple[int, str]),
    (tuple[int, str], list[int | str]),
    (list[int], tuple[int, int]),
    (tuple[int, ...], list[int]),
    (tuple[int], tuple[int, str]),  # how many there are is a bound, and bounds are not known
    (Pair, tuple[str, int]),
    (Literal["a"], str),
    (Literal["a"], Literal["a", "b"]),
    (Literal[1], int),
    (Literal[1], float),
    (Literal[True], bool),
    (bool, Literal[True, False]),
    (None, Literal[None, "a"]),
    (Colour, str),
    (Literal["red"], Colour),
    (Level, int),
    (str, HttpUrl),
    (str, datetime.datetime),
    (int, datetime.datetime),  # pydantic reads a number as a time
    (float, datetime.timedelta),
    (bool, int),  # pydantic reads true as 1
    (int, Annotated[int, Field(ge=10)]),
    (str, Annotated[str, Field(pattern="^a")]),
]


@pytest.mark.parametrize(("written", "read"), FITS)
def test_what_fits_and_what_is_unknown_is_silent(written: Any, read: Any) -> None:
    assert _told(written, read) == ""


MISFITS: list[tuple[Any, Any, str]] = [
    (str, int, "it is string, not integer"),
    (float, int, "it is number, not integer"),
    (int, str, "it is integer, not string"),
    (int, bool, "it is integer, not boolean"),
    (str | None, str, "it is null, not string"),
    (None, str, "it is null, not string"),
    (Order | None, Order, "it is null, not object"),
    (int | str, int, "it is string, not integer"),
    (str, int | None, "it is string, not integer or null"),
    (str, Order | None, "it is string, not object or null"),
    (Order, str, "it is object, not string"),
    (list[int], Order, "it is array, not object"),
    (list[int], list[str], "[] is integer, not string"),
    (list[int | None], list[int], "[] is null, not integer"),
    (dict[str, int], dict[str, str], "* is integer, not string"),
    (dict[str, int], Looser, "id is integer, not string"),
    (Looser, Stricter, "cents is missing"),
    (Order, Stricter, "card is missing"),
    (Order, Forbids, "cents is not accepted"),
    (Point, ItemForbids, "cents is not accepted"),
    (Row, Forbids, "cents is not accepted"),
    (Row, RowNeeds, "cents may be missing"),
    (Sparse, RowNeeds, "cents may be missing"),
    (Order, OtherCents, "cents is integer, not string"),
    (Nested, NestedOther, "orders[].cents is integer, not string"),
    (Order, dict[str, int], "id is string, not integer"),
    (ByField, Aliased, "orderId is missing"),
    (ReadElsewhere, ReadElsewhere, "theirId is missing"),
    (Tree, TextTree, "value is integer, not string"),
    (Pet, Cat, 'kind may be "dog", not "cat"'),
    (Order, Pet, "kind is missing"),
    (Looser, Stricter | None, "cents is missing"),
    (list[int], list[str] | None, "[] is integer, not string"),
    (str, Literal["a"] | None, 'it is string, not "a" or null'),
    (tuple[int, str], tuple[int, int], "[1] is string, not integer"),
    (tuple[int, str], list[int], "[1] is string, not integer"),
    (list[str], tuple[str, int], "[1] is string, not integer"),
    (tuple[str, ...], list[int], "[] is string, not integer"),
    (Pair, tuple[int, int], "[0] is string, not integer"),
    (Literal["a", "b"], Literal["a"], 'it may be "b", not "a"'),
    (Literal["a"], int, 'it may be "a", not integer'),
    (Literal[1], Literal[True], "it may be 1, not true"),
    (Literal["a"], Colour, 'it may be "a", not one of "red", "blue"'),
    (str, Colour, 'it is any string, not one of "red", "blue"'),
    (int, Literal["a"], 'it is any integer, not "a"'),
    (bool, Literal[True], "it may be false, not true"),
    (bool, Literal[False], "it may be true, not false"),
    (Literal["é"], Literal["a"], 'it may be "é", not "a"'),
    (str, Literal[1, 2, 3, 4, 5], "it is any string, not one of 1, 2, 3, 4, 5"),
    (None, Literal["a"], 'it may be null, not "a"'),
    (str, Literal[1, 2, 3, 4, 5, 6], "it is any string, not one of 1, 2, 3, 4, 5, …"),
]


@pytest.mark.parametrize(("written", "read", "reason"), MISFITS)
def test_a_proven_no_is_told_with_its_place_and_both_kinds(written: Any, read: Any, reason: str) -> None:
    assert _told(written, read) == reason


def test_everything_that_does_not_fit_is_told() -> None:
    found = misfits(codec_for(Looser).schema("writing"), codec_for(Stricter).schema("reading"))
    assert sorted(map(str, found)) == ["card is missing", "cents is missing"]


SCHEMAS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"type": "string"}, {"not": {}}, "it is string, not anything"),
    ({"type": ["string", "null"]}, {"type": "string"}, "it is null, not string"),
    ({"type": "string"}, {"type": ["integer", "null"]}, "it is string, not integer or null"),
    ({"type": "string"}, {"allOf": [{"type": "string"}, {"type": "integer"}]}, "it is string, not integer"),
    ({"allOf": [{"type": "string"}]}, {"type": "integer"}, ""),
    ({"type": "object", "properties": {"a": True}}, {"properties": {"a": False}}, ""),
    (
        {"type": "object", "properties": {"a": {"type": "null"}}},
        {"properties": {"a": False}},
        "a is null, not anything",
    ),
    ({"$ref": "#/$defs/A"}, {"type": "string"}, ""),
    ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, {"type": "string"}, ""),
    ({"$ref": "elsewhere"}, {"type": "string"}, ""),
    ({"const": {"a": 1}}, {"type": "string"}, ""),
    ({"enum": []}, {"type": "string"}, ""),
    ({"type": "object", "properties": {}}, {"required": ["a"]}, "a is missing"),
    ({"type": "object", "patternProperties": {"^a": {}}, "properties": {}}, {"required": ["a"]}, ""),
    (
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"patternProperties": {"^a": {}}, "additionalProperties": False},
        "",
    ),
    ({"type": "object", "additionalProperties": {"type": "string"}}, {"additionalProperties": False}, ""),
    (
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"additionalProperties": {"type": "integer"}},
        "a is string, not integer",
    ),
    ({"type": "array", "items": False}, {"type": "array", "items": {"type": "string"}}, ""),
    ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": False}, ""),
    ({}, {"enum": ["a"]}, ""),
]


@pytest.mark.parametrize(("written", "read", "reason"), SCHEMAS)
def test_schemas_that_nobody_generates_are_compared_too(
    written: dict[str, Any], read: dict[str, Any], reason: str
) -> None:
    assert next(map(str, misfits(written, read)), "") == reason
