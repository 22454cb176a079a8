"""From what was said to a definition: one document, one check, problems told at the user's own lines."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats.dsl.source import shown_source
from dagnats.errors import DefinitionError, Problem
from dagnats.model.check import check, load_definition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.step import Step, StepRef
    from dagnats.dsl.workflow import Workflow
    from dagnats.handling.handler import Handler
    from dagnats.model.definition import WorkflowDef

# A workflow and its steps are one noun told in several files: reading a step's settings is this file's work.
# pyright: reportPrivateUsage=false


def compile_workflow(workflow: Workflow) -> WorkflowDef:
    """The definition that `workflow` says.

    Raises:
        DefinitionError: With every problem, each with the file and line of the builder call that caused it.
    """
    document: dict[str, Any] = {
        "name": workflow.name,
        "version": workflow.version,
        "steps": [_step_document(step) for step in workflow._steps],
        **workflow._settings,
    }
    foreign = {problem.path: problem for problem in _foreign_steps(workflow)}
    problems = [
        replace(problem, source=_source(workflow, problem.path))
        for problem in check(document)
        if problem.rule != "unknown-step" or problem.path not in foreign
    ]
    problems += foreign.values()
    problems += _handler_problems(workflow)
    if problems:
        raise DefinitionError(problems, name=workflow.name)
    return load_definition(document)


def _step_document(step: Step[Any, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"id": step.id, "task": step.task}
    if step._after:
        document["depends_on"] = [_id(reference) for reference in step._after]
    references = {key: _id(reference) for key, reference in step._references.items()}
    return {**document, **step._settings, **references}


def _id(reference: StepRef) -> str:
    return reference if isinstance(reference, str) else reference.id


def _source(workflow: Workflow, path: str) -> str:
    found = re.match(r"steps\[(\d+)\](?:\.(\w+))?", path)
    if found is None:
        return workflow.source
    step = workflow._steps[int(found[1])]
    return step._sources.get(found[2] or "", step._created)


def _foreign_steps(workflow: Workflow) -> Iterator[Problem]:
    for at, step in enumerate(workflow._steps):
        said = [(f"depends_on[{n}]", reference) for n, reference in enumerate(step._after)]
        said += step._references.items()
        for path, reference in said:
            if isinstance(reference, str) or reference._workflow is workflow:
                continue
            other = reference._workflow.name
            message = f'step "{step.id}" refers to step "{reference.id}" of another workflow, "{other}"'
            yield Problem(f"steps[{at}].{path}", "foreign-step", message, source=step._sources[path.partition("[")[0]])


def _handler_problems(workflow: Workflow) -> Iterator[Problem]:
    serving: dict[str, Handler[..., Any]] = {}
    for at, step in enumerate(workflow._steps):
        handler = step._handler
        if handler is None:
            continue
        first = serving.setdefault(handler.task, handler)
        if first is not handler:
            message = f'task type "{handler.task}" has two handlers: {first.__name__!r} and {handler.__name__!r}'
            yield Problem(f"steps[{at}].task", "handler-conflict", message, source=step._created)
        yield from _codec_problems(at, handler)


def _codec_problems(at: int, handler: Handler[..., Any]) -> Iterator[Problem]:
    for codec in ("input_codec", "output_codec"):
        try:
            getattr(handler, codec)
        except DefinitionError as error:
            for problem in error.problems:
                yield replace(problem, path=f"steps[{at}].task", source=shown_source(problem.source))
