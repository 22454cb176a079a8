"""The loader against a second opinion that shares no code with it: they accept the same documents."""

from __future__ import annotations

import json
from typing import Any

from drawn import mutated_documents, valid_documents
from hypothesis import assume, example, given, settings
from independent import embeds_more_than_shapes, is_valid, schema_errors

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.definition import WorkflowDef


def _loaded(data: dict[str, Any] | str) -> tuple[WorkflowDef | None, tuple[str, ...]]:
    try:
        return load_definition(data), ()
    except DefinitionError as error:
        return None, tuple(map(str, error.problems))


def _steps(**settings: Any) -> dict[str, Any]:
    return {"name": "w", "steps": [{"id": "a", "task": "t", **settings}, {"id": "b", "task": "t", "depends_on": ["a"]}]}


@given(mutated_documents())
@settings(max_examples=3 * settings().max_examples)
@example(_steps(depends_on=["b"]))
@example(_steps() | {"name": "w\n"})
@example(_steps(retries=1.0))
@example(_steps(timeout=1e9))
@example(_steps(timeout="1ns"))
@example(_steps(timeout="106752d"))
@example(_steps(retry={"max_attempts": 1, "multiplier": 0, "strategy": "exponential"}))
@example(_steps(retry={"max_attempts": 1, "multiplier": 0}))
@example(_steps(retry={"max_attempts": 1, "multiplier": False}))
@example(_steps(type="sleep", config={"cron": "0 9 * * *", "duration": None, "timezone": "UTC"}))
@example(_steps(type="sleep", config={"cron": None, "duration": "1s", "timezone": "UTC"}))
@example(_steps(type="respond", config={"status": 0.0}))
def test_a_broken_document_is_refused_by_both_or_by_none(document: Any) -> None:
    assume(not embeds_more_than_shapes(document))
    definition, problems = _loaded(json.dumps(document))
    assert (definition is not None) == is_valid(document)
    assert (definition is None) == bool(problems)
    assert _loaded(document) == (definition, problems)


@given(valid_documents())
def test_a_valid_document_is_accepted_by_both_and_so_is_what_is_written(document: dict[str, Any]) -> None:
    definition, problems = _loaded(document)
    assert definition is not None, problems
    assert schema_errors(document) == []
    assert schema_errors(json.loads(definition.to_json())) == []
