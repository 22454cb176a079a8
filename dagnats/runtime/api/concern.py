"""Which workflows a request is about: whoever is limited to some may ask for nothing that is about others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from dagnats.errors import DagnatsError, NotFoundError, UnavailableError
from dagnats.model.check import load_definition
from dagnats.model.json import compact
from dagnats.model.step import SubWorkflowStep

if TYPE_CHECKING:
    from dagnats.model.definition import WorkflowDef
    from dagnats.runtime.api.operation import Asked

Concern = Literal["workflow", "run", "letter", "body", "definition", "listed", "all"]
"""The workflow, the run or the dead letter that the path names; what the body names; the definition that the body is;
a list, which leaves out what its reader may not see; or what is everybody's."""


def concern_of(path: str) -> Concern:
    """What a path's names make of an operation that does not say."""
    for name, concern in _BY_NAME.items():
        if name in path:
            return concern
    return "all"


_BY_NAME: dict[str, Concern] = {"{run_id}": "run", "{workflow}": "workflow", "{seq}": "letter"}


async def expect_own(asked: Asked[Any, Any], concern: Concern) -> None:
    """Raise Fault 403 when it is about a workflow that the caller may have nothing to do with."""
    grant = asked.grant
    if not grant.workflows or concern == "listed":
        return
    names = await _names(asked, concern)
    if not names:
        grant.expect_unlimited()
    for name in names:
        grant.expect_workflow(name)


async def _names(asked: Asked[Any, Any], concern: Concern) -> list[str]:
    """The workflows that it is about; none for all."""
    match concern:
        case "workflow":
            return [asked.path["workflow"]]
        case "run":
            return [await _workflow_of(asked, asked.path["run_id"])]
        case "letter":
            letter = await asked.client.dead_letter(seq_of(asked.path["seq"]))
            return [await _workflow_of(asked, letter.run_id)]
        case "body":
            return await _named(asked)
        case "definition":
            # Its runs start others: whoever may not have those started may not have them started so.
            return [name for definition in _definitions(asked.body) for name in _those_of(definition)]
        case _:
            return []


def _definitions(body: Any) -> list[WorkflowDef]:
    """The definition that a body is, or those that it has."""
    several = getattr(body, "definitions", None)
    return (
        [load_definition(cast("bytes", body))]
        if several is None
        else [load_definition(compact(each)) for each in several]
    )


def _those_of(definition: WorkflowDef) -> list[str]:
    return [definition.name, *(step.config.workflow for step in definition.steps if isinstance(step, SubWorkflowStep))]


async def _named(asked: Asked[Any, Any]) -> list[str]:
    run_id = getattr(asked.body, "run_id", "")
    name = getattr(asked.body, "workflow", "") or getattr(asked.body, "workflow_id", "")
    if name:
        return [name]
    return [await _workflow_of(asked, run_id)] if run_id else []


async def _workflow_of(asked: Asked[Any, Any], run_id: str) -> str:
    """Raises NotFoundError."""
    return (await asked.client.handle(run_id).view()).workflow


async def is_own(asked: Asked[Any, Any], run_id: str) -> bool:
    """Whether a run is of a workflow that the caller may know of; of one that is gone nobody can say it."""
    try:
        return asked.grant.sees(await _workflow_of(asked, run_id))
    except UnavailableError:
        raise
    except DagnatsError:
        return False


_DIGITS = 15


def seq_of(text: str) -> int:
    """A dead letter's number, as a path has it. Raises NotFoundError."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise NotFoundError("dead letter", text, hint="a dead letter is named by its number")
    return int(text)
