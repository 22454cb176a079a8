"""What only the Python side can see: steps of other workflows, handlers in conflict, types that cannot be carried."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagnats.dsl.waitpoint import WaitStep
from dagnats.errors import DefinitionError, Problem
from dagnats.handling.codec import UnsupportedType, codec_for
from dagnats.handling.source import shown_place, shown_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagnats.dsl.said import Said
    from dagnats.dsl.step import Step, StepRef
    from dagnats.dsl.workflow import Workflow
    from dagnats.handling.handler import Handler

# A workflow and its steps are one noun told in several files: reading what was said is this file's work.
# pyright: reportPrivateUsage=false


def wiring_problems(workflow: Workflow[Any, Any], names: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything of that kind. `names` are those of whoever builds: annotations may use them."""
    yield from _type_problems("", workflow)
    for at, step in enumerate(workflow._steps):
        yield from _foreign_problems(workflow, at, step)
        yield from _type_problems(f"steps[{at}].", step)
    yield from _handler_problems(workflow, names)


def _foreign_problems(workflow: Workflow[Any, Any], at: int, step: Step[Any, Any]) -> Iterator[Problem]:
    for path, reference in _references(step):
        if isinstance(reference, str) or reference._workflow is workflow:
            continue
        other = reference._workflow.name
        message = f'step "{step.id}" refers to step "{reference.id}" of another workflow, "{other}"'
        yield Problem(f"steps[{at}].{path}", "foreign-step", message, source=shown_place(step._place(path)))


def _references(step: Step[Any, Any]) -> Iterator[tuple[str, StepRef]]:
    yield from ((f"depends_on[{n}]", reference) for n, reference in enumerate(step._after))
    yield from step._references.items()
    if step._condition is not None:
        yield from (("skip_if", output.step) for output in step._condition.outputs())
    if isinstance(step, WaitStep) and step.match is not None and step.match.output is not None:
        yield "config.match.right", step.match.output.step


def _type_problems(prefix: str, said: Said) -> Iterator[Problem]:
    for path, declared in said._types.items():
        try:
            codec_for(declared)
        except UnsupportedType as error:
            source = shown_place(said._place(path))
            yield Problem(f"{prefix}{path}", "unsupported-type", f"the type {error}", source=source)


def _handler_problems(workflow: Workflow[Any, Any], names: Mapping[str, Any]) -> Iterator[Problem]:
    """Each handler once, at the first step that uses it."""
    serving: dict[str, Handler[..., Any]] = {}
    for at, step in enumerate(workflow._steps):
        handler = step.handler
        if handler is None:
            continue
        if handler.task not in serving:
            serving[handler.task] = handler
            yield from _told(at, handler.problems(names))
        elif serving[handler.task] is not handler:
            first = serving[handler.task]
            message = f'task type "{handler.task}" has two handlers: {first.__name__!r} and {handler.__name__!r}'
            yield Problem(f"steps[{at}].task", "handler-conflict", message, source=shown_place(step._created))
        yield from _continue_problems(at, step, handler)


def _told(at: int, problems: list[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield replace(problem, path=f"steps[{at}].task", source=shown_source(problem.source))


def _continue_problems(at: int, step: Step[Any, Any], handler: Handler[..., Any]) -> Iterator[Problem]:
    try:
        continues = handler.continue_type is not None
    except DefinitionError:  # told with the handler
        return
    if continues and step.type != "agent_loop":
        message = f'the handler of step "{step.id}" returns Continue, but the step is no loop'
        hint = "make it with agent_loop"
        yield Problem(f"steps[{at}].task", "continue-outside-loop", message, hint, shown_place(step._created))
