"""A version of a workflow, and what operators have said of one, as documents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.document import Document
from dagnats.model.instant import rfc3339
from dagnats.model.ops import WorkflowLimited

if TYPE_CHECKING:
    from dagnats.client.registrar import Version


class VersionDocument(Document, frozen=True, kw_only=True):
    """A definition that was registered at some time."""

    hash: str
    registered_at: str
    newest: bool
    steps: int


def version_document(version: Version) -> VersionDocument:
    """A version as JSON."""
    return VersionDocument(
        hash=version.definition.identity,
        registered_at=rfc3339(version.registered_ns),
        newest=version.newest,
        steps=len(version.definition.steps),
    )


class WorkflowLimitsDocument(Document, frozen=True, kw_only=True):
    """What operators have said of a workflow; a limit is null where its definition, or the default, decides."""

    workflow: str
    paused: bool
    max_runs: int | None
    max_events: int | None
    max_depth: int | None
    by: str
    reason: str


def workflow_limits_document(limits: WorkflowLimited) -> WorkflowLimitsDocument:
    """A workflow's limits as JSON."""
    return WorkflowLimitsDocument(
        workflow=limits.workflow,
        paused=limits.paused,
        max_runs=limits.max_runs or None,
        max_events=limits.max_events or None,
        max_depth=limits.max_depth or None,
        by=limits.by,
        reason=limits.reason,
    )


def limits_of(told: WorkflowLimitsDocument) -> WorkflowLimited:
    """A workflow's limits from their JSON."""
    return WorkflowLimited(
        workflow=told.workflow,
        max_runs=told.max_runs or 0,
        paused=told.paused,
        max_events=told.max_events or 0,
        max_depth=told.max_depth or 0,
        by=told.by,
        reason=told.reason,
    )
