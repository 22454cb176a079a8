"""What was said, as the document a definition is read from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.dsl.schema import shape_of
from dagnats.model.step import WORKER_RUN

if TYPE_CHECKING:
    from dagnats.dsl.said import Said
    from dagnats.dsl.step import Step, StepRef
    from dagnats.dsl.workflow import Workflow

# A workflow and its steps are one noun told in several files: reading what was said is this file's work.
# pyright: reportPrivateUsage=false


def document_of(workflow: Workflow[Any, Any]) -> dict[str, Any]:
    """The document of a workflow, valid or not."""
    steps = [_step_document(step) for step in workflow._steps]
    return {"name": workflow.name, "version": workflow.version, "steps": steps, **_said(workflow)}


def _step_document(step: Step[Any, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {"id": step.id}
    if step.type in WORKER_RUN:
        document["task"] = step.task
    if step._after:
        document["depends_on"] = [_id(reference) for reference in step._after]
    document["type"] = step.type
    if step._condition is not None:
        document["skip_if"] = step._condition.document()
    references = {key: _id(reference) for key, reference in step._references.items()}
    return {**document, **_said(step), **references}


def _said(said: Said) -> dict[str, Any]:
    document = dict(said._settings)
    for path, declared in said._types.items():
        shape = shape_of(declared, "writing" if path == "output_schema" else "reading")
        if shape is not None:
            *parents, key = path.split(".")
            target = document
            for parent in parents:
                target[parent] = {**target[parent]}
                target = target[parent]
            target[key] = shape.schema
    return document


def _id(reference: StepRef) -> str:
    return reference if isinstance(reference, str) else reference.id
