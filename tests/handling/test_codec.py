"""Codecs: every kind of type people annotate with, and what does not fit."""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, Optional, TypedDict, TypeVar

import msgspec
import pytest
import typing_extensions
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass

from dagnats.handling.codec import CodecError, UnsupportedType, codec_for, type_name
from dagnats.handling.info import Compensation, FailureInfo

T = TypeVar("T")


class Order(BaseModel):
    id: str
    cents: int = Field(alias="amountCents")


class Child(Order):
    gift: bool = True


@dataclass
class Point:
    x: int
    y: float = 0.0


@pydantic_dataclass
class Checked:
    n: int


class Row(typing_extensions.TypedDict):
    name: str
    size: int


class Item(msgspec.Struct):
    sku: str
    count: int = 1


class Box(msgspec.Struct, Generic[T]):
    content: T


class Shelf(msgspec.Struct):
    items: list[Item]
    spot: Point | None = None
    parent: Shelf | None = None
    price: float | None = None


class Mixed(msgspec.Struct):
    order: Order


class DeepMixed(msgspec.Struct):
    orders: dict[str, list[tuple[Order, int]]]


class Lost(BaseModel):
    part: Nowhere  # noqa: F821  # pyright: ignore[reportUndefinedVariable]  # the test's point


class Lock:
    pass


class Absent:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        raise ImportError("absent-validator is not installed")


class Plain(TypedDict):
    n: int


class Colour(enum.Enum):
    RED = "red"


ORDER = Order(id="42", amountCents=900)

CARRIED: list[tuple[Any, Any, bytes]] = [
    (Order, ORDER, b'{"id":"42","amountCents":900}'),
    (list[Order], [ORDER], b'[{"id":"42","amountCents":900}]'),
    (Order | None, None, b"null"),
    (Point, Point(1, 2.5), b'{"x":1,"y":2.5}'),
    (Checked, Checked(n=1), b'{"n":1}'),
    (Row, {"name": "a", "size": 1}, b'{"name":"a","size":1}'),
    (int, 5, b"5"),
    (float, 1.5, b"1.5"),
    (bool, True, b"true"),
    (str, 'é"', '"é\\""'.encode()),
    (list[int], [1, 2], b"[1,2]"),
    (dict[str, float], {"a": 1.0}, b'{"a":1.0}'),
    (tuple[int, str], (1, "a"), b'[1,"a"]'),
    (Colour, Colour.RED, b'"red"'),
    (None, None, b"null"),
    (type(None), None, b"null"),
    (Any, {"a": [1, None]}, b'{"a":[1,null]}'),
    (bytes, b"\xff\x00", b'"/wA="'),
    (Item, Item("a", 2), b'{"sku":"a","count":2}'),
    (list[Item], [Item("a")], b'[{"sku":"a","count":1}]'),
    (Item | None, None, b"null"),
    (Box[int], Box(3), b'{"content":3}'),
    (Annotated[Item, "a note"], Item("a"), b'{"sku":"a","count":1}'),
    (
        Shelf,
        Shelf([Item("a")], Point(1, 2.0)),
        b'{"items":[{"sku":"a","count":1}],"spot":{"x":1,"y":2.0},"parent":null,"price":null}',
    ),
    (
        FailureInfo[Order],
        FailureInfo(failed_step="s", error="e", failure_type="retriable", attempts=1, input=ORDER),
        b'{"failed_step":"s","error":"e","failure_type":"retriable","attempts":1,"input":{"id":"42","amountCents":900}}',
    ),
    (
        Compensation[int],
        Compensation(original_step="s", original_output=1, trigger_step="", trigger_error="e"),
        b'{"original_step":"s","original_output":1,"trigger_step":"","trigger_error":"e"}',
    ),
]


@pytest.mark.parametrize(("declared", "value", "data"), CARRIED)
def test_a_value_is_written_by_its_declared_type_and_read_back(declared: Any, value: Any, data: bytes) -> None:
    codec = codec_for(declared)
    assert codec.encode(value) == data
    assert codec.decode(data) == value


@pytest.mark.parametrize(
    ("declared", "value"),
    [(float, 1), (int, True), (list[int], [1, 2]), (tuple[int, ...], (1, 2)), (dict[str, str | None], {"a": None})],
)
def test_values_of_jsons_own_types_are_written_as_pydantic_writes_them(declared: Any, value: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(declared)
    assert codec_for(declared).encode(value) == adapter.dump_json(value)


@pytest.mark.parametrize(("declared", "value"), [(int, "1"), (str | None, 1), (list[int], [1, "2"]), (bool, 1)])
def test_values_that_only_resemble_jsons_own_types_are_refused(declared: Any, value: Any) -> None:
    with pytest.raises(CodecError, match="does not fit"):
        codec_for(declared).encode(value)


def test_a_subclass_is_written_as_the_declared_class() -> None:
    assert codec_for(Order).encode(Child(id="1", amountCents=2)) == b'{"id":"1","amountCents":2}'


# -- reading -----------------------------------------------------------------------------------------------


def test_absent_input_reads_as_null() -> None:
    assert codec_for(Order | None).decode(b"") is None
    assert codec_for(Item | None).decode(b"") is None
    assert codec_for(Any).decode(b"") is None
    for declared in (Order, Item, bytes, int):
        with pytest.raises(CodecError):
            codec_for(declared).decode(b"")


def test_input_that_does_not_fit_names_every_place() -> None:
    with pytest.raises(CodecError) as caught:
        codec_for(list[Order]).decode(b'[{"id":5},{"id":"a","amountCents":"x"}]')
    assert [part.split(":")[0] for part in str(caught.value).split("; ")] == [
        "0.id",
        "0.amountCents",
        "1.amountCents",
    ]
    with pytest.raises(CodecError, match=r"^\$: "):
        codec_for(int).decode(b'"x"')


@pytest.mark.parametrize("data", [b'{"sku":5}', b"{}", b"nonsense", b'{"sku":"\xff"}'])
def test_input_that_is_no_struct_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        codec_for(Item).decode(data)


def test_a_models_own_strictness_decides_how_it_reads() -> None:
    assert codec_for(Order).decode(b'{"id":"1","amountCents":"900"}') == Order(id="1", amountCents=900)
    with pytest.raises(CodecError):
        codec_for(Item).decode(b'{"sku":"a","count":"2"}')


def test_either_alphabet_of_base64_is_read() -> None:
    assert codec_for(bytes).decode(b'"-_8="') == codec_for(bytes).decode(b'"+/8="') == b"\xfb\xff"


@pytest.mark.parametrize("data", [b'"a"', b'"!!!!"', b"5", b"nonsense", '"é"'.encode(), b'"\xff"'])
def test_what_is_no_base64_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError, match="not base64 in a JSON string"):
        codec_for(bytes).decode(data)


# -- writing -----------------------------------------------------------------------------------------------

MISFITS: list[tuple[Any, Any, str]] = [
    (int, "x", "got str, which does not fit int"),
    (str, None, "got None, which does not fit str"),
    (None, 5, "got int, which does not fit None"),
    (Order, None, "got None, which does not fit Order"),
    (Order, {"id": "1", "amountCents": 2}, "got dict, which does not fit Order"),
    (Order, Order.model_construct(id=5), "got Order, which does not fit Order"),
    (list[Order], [ORDER, None], "got list, which does not fit list"),
    (list[int], [1, "x"], "got list, which does not fit list[int]"),
    (dict[str, int], {"a": None}, "got dict, which does not fit dict[str, int]"),
    (int | str, 1.5, "got float, which does not fit int | str"),
    (Point, {"x": 1}, "got dict, which does not fit Point"),
    (Row, {"name": "a"}, "got dict, which does not fit Row: size"),
    (Any, object(), "got object, which does not fit Any"),
    (bytes, "text", "got str, which is not bytes"),
    (Item, None, "got None, which does not fit Item"),
    (Item, {"sku": 5}, "got dict, which does not fit Item"),
    (Item, Item(sku=5), "got Item, which does not fit Item"),  # pyright: ignore[reportArgumentType]  # the test's point
    (list[Item], [Item("a"), 5], "got list, which does not fit list"),
    (Item, object(), "got object, which does not fit Item"),
]


@pytest.mark.parametrize(("declared", "value", "complaint"), MISFITS)
def test_a_result_that_does_not_fit_its_annotation_names_both_types(declared: Any, value: Any, complaint: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec_for(declared).encode(value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_result_that_holds_itself_is_refused() -> None:
    knot: list[Any] = []
    knot.append(knot)
    with pytest.raises(CodecError):
        codec_for(Any).encode(knot)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_are_refused(number: float) -> None:
    holders: list[tuple[Any, Any]] = [
        (float, number),
        (float | None, number),
        (Any, {"a": [1, (number,)]}),
        (set[float], {number}),
        (Point, Point(1, number)),
        (Shelf, Shelf([], price=number)),
    ]
    for declared, value in holders:
        with pytest.raises(CodecError, match="cannot be written as JSON"):
            codec_for(declared).encode(value)


def test_null_beside_ordinary_numbers_is_fine() -> None:
    assert codec_for(list[float | None]).encode([1.5, None]) == b"[1.5,null]"


# -- types that cannot be carried --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (dict[str, Order | Item], "mixes msgspec and pydantic types (Item, Order)"),
        (Box[Order], "mixes msgspec and pydantic types (Box, Order)"),
        (list[Item | Checked], "mixes msgspec and pydantic types (Checked, Item)"),
        (Mixed, "Mixed cannot be carried as JSON: msgspec cannot read Order"),
        (DeepMixed, "DeepMixed cannot be carried as JSON: msgspec cannot read Order"),
        (Item | Shelf, "all Struct types must be tagged"),
        (object(), "cannot be carried as JSON"),
        (Lock, "Lock cannot be carried as JSON"),
        (list["Nowhere"], "cannot be carried as JSON"),  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        (Lost, "Lost cannot be carried as JSON"),
        (Absent, "Absent cannot be carried as JSON: absent-validator is not installed"),
    ],
)
def test_a_type_that_cannot_be_carried_is_refused_with_the_reason(declared: Any, reason: str) -> None:
    with pytest.raises(UnsupportedType) as caught:
        codec_for(declared)
    assert reason in str(caught.value)


def test_a_typed_dict_of_pythons_own_is_refused_where_it_forgets_its_keys() -> None:
    if sys.version_info >= (3, 12):  # these keep what is needed
        assert codec_for(Plain) is not None
        return
    with pytest.raises(UnsupportedType, match=r"Please use `typing_extensions\.TypedDict` instead"):
        codec_for(Plain)


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        (None, "None"),
        (type(None), "None"),
        (int, "int"),
        (list[int], "list[int]"),
        (Any, "Any"),
        (str | None, "str | None"),
        (Optional[Order], "Order | None"),  # noqa: UP045  # the old spelling
        (list[Order | None], "list[Order | None]"),
        (dict[str, list[Item]], "dict[str, list[Item]]"),
        (tuple[Order, ...], "tuple[Order, ...]"),
        (Annotated[Order, Field(description="x")], "Order"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Callable[[int], str], "Callable[[int], str]"),
        (FailureInfo[Order], "FailureInfo[Order]"),
        (Box[int], "Box[int]"),
    ],
)
def test_a_type_is_named_as_its_author_wrote_it(declared: Any, name: str) -> None:
    assert type_name(declared) == name


def test_a_class_has_one_codec_however_many_ask_for_it() -> None:
    assert codec_for(Order) is codec_for(Order)
    assert codec_for(Item).schema("reading") is codec_for(Item).schema("reading")
    assert codec_for(Child) is not codec_for(Order)


def test_a_local_class_is_named_without_its_surroundings() -> None:
    class Inner:
        pass

    assert type_name(Inner) == "Inner"


def test_raw_json_is_handed_on_as_it_is() -> None:
    codec = codec_for(msgspec.Raw)
    data = b'{"a": 1.50, "a": 2}'
    assert bytes(codec.decode(data)) == codec.encode(msgspec.Raw(data)) == data
    assert bytes(codec.decode(b"")) == b"null"
    assert codec.schema("reading") == {}
    assert codec.encode(msgspec.Raw(b"")) == b"null"
    with pytest.raises(CodecError, match=r"got dict, which is not msgspec\.Raw"):
        codec.encode({"a": 1})


@pytest.mark.parametrize("data", [b"{no json", b"\xff", b'"\xff"', b'1}, {"a": 2', b"NaN", b"[" * 100_000])
def test_raw_json_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError, match=r"got msgspec\.Raw that is no JSON: "):
        codec_for(msgspec.Raw).encode(msgspec.Raw(data))
