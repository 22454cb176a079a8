"""The schemas of a run's input and output: declared, or derived from the first and last steps."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, create_model

from dagnats.dsl.workflow import Workflow
from dagnats.handling.context import SyncTaskContext
from dagnats.handling.handler import handler
from dagnats.handling.info import Compensation
from tests.dsl.said import line, told, written


class Order(BaseModel):
    """Edited often."""

    id: str
    cents: int = 0


class Receipt(BaseModel):
    order: Order
    receipt: str


class Item(msgspec.Struct):
    sku: str


def _schemas(wf: Workflow[Any, Any]) -> tuple[Any, Any]:
    document = written(wf)
    return document.get("input_schema"), document.get("output_schema")


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    """What an independent validator says."""
    validator: Any = Draft202012Validator(schema)
    return validator.is_valid(value)


@handler("take.order")
def take_order(order: Order) -> Receipt: ...
@handler("take.item")
def take_item(item: Item) -> list[Item]: ...
@handler("undo.order")
def undo_order(undo: Compensation[Receipt]) -> str: ...
@handler("take.nothing")
def take_nothing() -> int: ...
@handler("take.anything")
def take_anything(value: Any) -> Any: ...


ORDER = {
    "properties": {"cents": {"default": 0, "type": "integer"}, "id": {"type": "string"}},
    "required": ["id"],
    "type": "object",
}


def test_one_step_gives_the_run_its_input_and_output() -> None:
    wf = Workflow("w")
    wf.task("a", take_order)
    taken, given = _schemas(wf)
    assert taken == ORDER
    assert given["$defs"]["Order"] == {**ORDER, "required": ["id", "cents"]}
    assert given["required"] == ["order", "receipt"]


def test_tasks_known_by_their_string_say_nothing() -> None:
    wf = Workflow("w")
    wf.task("a", "elsewhere")
    wf.task("b", take_anything)
    wf.task("c", take_nothing).after("a")
    wf.task("d", "elsewhere").after("c")
    assert _schemas(wf) == (None, None)


def test_only_first_steps_take_the_input_and_only_last_ones_give_the_output() -> None:
    wf = Workflow("w")
    wf.task("a", take_order).with_compensation("undo")
    wf.task("b", take_anything).after("a")
    wf.task("c", take_nothing).after("b")
    wf.task("undo", undo_order)
    assert _schemas(wf) == (ORDER, {"type": "integer"})


def test_the_same_type_at_several_first_steps_is_written_once() -> None:
    wf = Workflow("w")
    wf.task("a", take_order)
    wf.task("b", take_order)
    wf.task("c", take_nothing)
    assert _schemas(wf)[0] == ORDER


def test_different_types_at_several_first_steps_must_all_fit() -> None:
    wf = Workflow("w")
    wf.task("a", take_order)
    wf.task("b", take_item)
    taken, _ = _schemas(wf)
    assert taken == {
        "$defs": {"Item": {"properties": {"sku": {"type": "string"}}, "required": ["sku"], "type": "object"}},
        "allOf": [ORDER, {"$ref": "#/$defs/Item"}],
    }
    assert _fits({"id": "1", "sku": "2"}, taken)
    assert not _fits({"id": "1"}, taken)


def test_several_last_steps_give_an_object_by_step_id() -> None:
    wf = Workflow("w")
    wf.task("a", take_order)
    wf.task("b", take_nothing)
    wf.task("c", "elsewhere")
    _, given = _schemas(wf)
    assert given["required"] == ["a", "b", "c"]
    assert (given["properties"]["b"], given["properties"]["c"]) == ({"type": "integer"}, {})
    receipt = {"order": {"id": "1", "cents": 1}, "receipt": "r"}
    assert _fits({"a": receipt, "b": 1, "c": "anything"}, given)
    assert not _fits({"a": receipt, "b": "x", "c": None}, given)


def test_definitions_of_one_name_are_told_apart() -> None:
    class Holder(BaseModel):
        order: Order

    def elsewhere() -> Any:
        class Order(BaseModel):
            number: int

        return create_model("Another", order=(Order | None, ...))

    def first() -> Holder: ...
    def second() -> Any: ...
    def third() -> Receipt: ...

    second.__annotations__["return"] = elsewhere()
    wf = Workflow("w")
    for function in (first, second, third):
        wf.task(function.__name__, handler(f"t.{function.__name__}")(function))
    _, given = _schemas(wf)
    assert set(given["$defs"]) == {"Order", "Order_2"}
    order = {"id": "1", "cents": 2}
    good = {"first": {"order": order}, "second": {"order": {"number": 1}}, "third": {"order": order, "receipt": "r"}}
    assert _fits(good, given)
    assert not _fits({**good, "second": {"order": order}}, given)


@pytest.mark.parametrize("recover", [False, True])
def test_a_last_step_that_may_not_run_gives_null_too(recover: bool) -> None:
    wf = Workflow("w")
    first = wf.task("first", take_nothing)
    middle = wf.task("middle", take_nothing).after(first)
    last = wf.task("last", take_nothing).after(middle)
    if recover:
        first.with_on_failure("sorry")  # then all that depends on it is skipped
        wf.task("sorry", "t")
    else:
        last.skip_if(middle.output["n"] == 0)
    assert _schemas(wf)[1] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_a_condition_in_the_middle_does_not_make_the_output_null() -> None:
    wf = Workflow("w")
    first = wf.task("first", take_nothing)
    wf.task("middle", "t").after(first).skip_if(first.output["n"] == 0)
    wf.task("last", take_nothing).after("middle")
    assert _schemas(wf)[1] == {"type": "integer"}


def test_maps_planners_and_children_give_what_they_give() -> None:
    wf = Workflow("w")
    wf.map("map", take_item, over=wf.task("list", "t"))
    assert _schemas(wf)[1]["items"]["items"] == {"$ref": "#/$defs/Item"}
    wf = Workflow("w")
    wf.planner("plan", take_order).with_max_steps(1)
    assert _schemas(wf) == (ORDER, None)
    wf = Workflow("w")
    wf.sub_workflow("child", Workflow("child", input=Order, output=int))
    assert _schemas(wf) == (ORDER, {"type": "integer"})


# -- declared ----------------------------------------------------------------------------------------------


def test_declared_types_count_instead() -> None:
    wf = Workflow("w", input=Order, output=str | None)
    wf.task("a", "elsewhere")
    assert _schemas(wf) == (ORDER, {"anyOf": [{"type": "string"}, {"type": "null"}]})
    wf = Workflow("w", input=int, output=object)
    wf.task("a", take_anything)
    assert _schemas(wf) == ({"type": "integer"}, {})


def test_a_json_schema_can_be_declared() -> None:
    wf = Workflow("w", input={"type": "object", "title": "Mine"}, output={"type": "string"})
    wf.task("a", take_order)
    assert _schemas(wf) == ({"title": "Mine", "type": "object"}, {"type": "string"})


class Early(BaseModel):
    late: Late


EARLY = Workflow("early", input=Early)
EARLY.task("a", "t")


class Late(BaseModel):
    n: int


def test_a_declared_type_may_refer_to_what_is_defined_later() -> None:
    assert _schemas(EARLY)[0]["$defs"]["Late"]["required"] == ["n"]


def test_a_declared_type_that_cannot_be_carried_is_told_at_its_line() -> None:
    wf = Workflow("w", input=type("Lock", (), {}), output={"type": 5})
    wf.task("a", "t")
    at = line() - 2
    assert told(wf) == [("output_schema.type", "schema", at), ("input_schema", "unsupported-type", at)]


def test_a_schemas_order_and_docstrings_change_no_identity() -> None:
    def build(document: str) -> Workflow[Any, Any]:
        names: dict[str, Any] = {"BaseModel": BaseModel}
        exec(f"class Order(BaseModel):\n    '''{document}'''\n    id: str\n    cents: int = 0", names)
        wf = Workflow("w", input=names["Order"])
        wf.task("a", "t")
        return wf

    assert build("One.").build().identity == build("Another.").build().identity


def test_the_schemas_are_ones_of_the_draft() -> None:
    wf = Workflow("w")
    wf.task("a", take_order)
    wf.task("b", take_item)
    for schema in _schemas(wf):
        Draft202012Validator.check_schema(schema)
        assert json.dumps(schema, sort_keys=True) == json.dumps(schema)


def test_a_handler_that_returns_nothing_and_may_end_by_a_call_gives_what_nobody_knows() -> None:
    def speaking(ctx: SyncTaskContext) -> None:
        ctx.complete({"any": "thing"})

    def silent() -> None: ...

    functions: list[Any] = [speaking, silent]
    schemas: list[Any] = []
    for function in functions:
        workflow = Workflow("ending")
        workflow.step(function)
        schemas.append(workflow.build().output_schema)
    assert schemas == [None, {"type": "null"}]
