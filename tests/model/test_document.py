"""Complete documents, as guides print them and as other programs write them: they load, and mean the same."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from document import GO_NAMES, NAMES, document
from independent import schema_errors

from dagnats.model.check import advice, check, load_definition
from dagnats.model.scalar import Part
from dagnats.model.shape import accepted


@pytest.mark.parametrize("name", NAMES)
def test_a_complete_document_fits_the_schema_and_loads(name: str) -> None:
    assert schema_errors(document(name)) == []
    assert check(document(name)) == []
    assert advice(load_definition(document(name))) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_fits_the_schema_and_loads_to_the_same(name: str) -> None:
    definition = load_definition(document(name))
    written = definition.to_json()
    assert schema_errors(_value(written)) == []
    assert load_definition(written) == definition
    assert load_definition(written).to_json() == written


@pytest.mark.parametrize("name", GO_NAMES)
def test_the_go_shape_loads_to_an_equal_definition(name: str) -> None:
    ours, theirs = load_definition(document(name)), load_definition(document(f"go/{name}"))
    assert theirs == ours
    assert theirs.identity == ours.identity


def test_one_document_uses_every_key_there_is() -> None:
    definition = load_definition(document("every-key"))
    unused = _unused(definition) - {"WorkflowDef.sticky"}  # it excludes worker groups; another document has it
    assert unused == set()
    assert load_definition(document("sticky")).sticky == "hard"


def test_the_document_with_every_key_is_written_as_it_was_read_but_for_what_is_derived() -> None:
    given = accepted(document("every-key"))
    written = _value(load_definition(given).to_json())
    assert list(written) == [key for key in document("every-key") if key != "aux_steps"]
    del written["$schema"], given["steps"][0]["type"]
    assert written == given


def _value(written: bytes) -> Any:
    return json.loads(written)


def _unused(definition: Part) -> set[str]:
    """Every field of every class in a definition that no object of that class sets."""
    objects: list[Any] = [definition]
    fields, used = set[str](), set[str]()
    for part in objects:  # grows while it is read
        if isinstance(part, tuple):
            objects += cast("tuple[Any, ...]", part)
        elif isinstance(part, Part):
            for name, field in type(part).model_fields.items():
                home = next(base for base in reversed(type(part).__mro__) if name in getattr(base, "model_fields", ()))
                value = getattr(part, name)
                fields.add(f"{home.__name__}.{name}")
                used |= {f"{home.__name__}.{name}"} if value != field.default else set()
                objects.append(value)
    return fields - used
