"""From what was said to a definition: one document, one check, problems told at the user's own lines."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats.dsl.document import document_of
from dagnats.dsl.edge import edge_problems
from dagnats.dsl.schema import input_schema, run_output
from dagnats.dsl.web import Web
from dagnats.dsl.wiring import wiring_problems
from dagnats.errors import DefinitionError, Problem
from dagnats.handling.source import caller_names, shown_place
from dagnats.model.check import load_definition
from dagnats.model.definition import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.workflow import Workflow
    from dagnats.model.definition import WorkflowDef

# A workflow and its steps are one noun told in several files: reading what was said is this file's work.
# pyright: reportPrivateUsage=false

_STEP = re.compile(r"steps\[(\d+)\]\.?(.*)")


def compile_workflow(workflow: Workflow[Any, Any]) -> WorkflowDef:
    """The definition that `workflow` says.

    Raises:
        DefinitionError: With every problem, each with the file and line of the builder call that caused it.
    """
    # What has no proper id is told by the check; nothing else can be said about such a graph.
    ids: list[object] = [step.id for step in workflow._steps]
    web = Web(workflow._steps if all(isinstance(step_id, str) for step_id in ids) else ())
    own = [*wiring_problems(workflow, caller_names()), *edge_problems(workflow, web)]
    document = document_of(workflow)
    output = run_output(web)
    derived = {"input_schema": input_schema(web), "output_schema": output and output.schema}
    for key, schema in derived.items():
        if schema is not None and key not in workflow._places:
            document[key] = schema
    try:
        definition = load_definition(document)
        problems = list(_size_problems(definition))
    except DefinitionError as error:
        foreign = tuple(f"{problem.path}." for problem in own if problem.rule == "foreign-step")
        problems = [
            replace(problem, source=_source(workflow, problem.path))
            for problem in error.problems
            # A step of another workflow is unknown here: that is one mistake, and told as such.
            if problem.rule not in ("unknown-step", "condition-step") or not f"{problem.path}.".startswith(foreign)
        ]
        raise DefinitionError([*problems, *own], name=workflow.name) from None
    if problems or own:
        raise DefinitionError([*problems, *own], name=workflow.name)
    return definition


def _source(workflow: Workflow[Any, Any], path: str) -> str:
    """The line that said what is at `path`."""
    found = _STEP.match(path)
    said, inside = (workflow, path) if found is None else (workflow._steps[int(found[1])], found[2])
    return shown_place(said._place(inside))


def _size_problems(definition: WorkflowDef) -> Iterator[Problem]:
    size = len(definition.to_json())
    if size > MAX_BYTES:
        message = f"the definition has {size} bytes; the limit is {MAX_BYTES}"
        yield Problem("$", "too-large", message)
