"""What holds a run, and what is not as the log says, as documents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dagnats.client.diagnosis import Finding
from dagnats.client.difference import Difference
from dagnats.client.document import Document

if TYPE_CHECKING:
    from dagnats.client.diagnosis import Grade
    from dagnats.client.diagnosis import Kind as FindingKind
    from dagnats.client.difference import Cure, Kind


class FindingDocument(Document, frozen=True, kw_only=True):
    """One thing that holds a run. What its members mean: see `Finding`."""

    kind: str
    grade: str
    step_id: str | None
    seen: str
    why: str
    cure: str | None
    fix: str


def finding_document(found: Finding) -> FindingDocument:
    """A finding as JSON."""
    return FindingDocument(
        kind=found.kind,
        grade=found.grade,
        step_id=found.step_id or None,
        seen=found.seen,
        why=found.why,
        cure=found.cure or None,
        fix=found.fix,
    )


def finding_of(found: FindingDocument) -> Finding:
    """A finding from its JSON."""
    return Finding(
        kind=cast("FindingKind", found.kind),
        grade=cast("Grade", found.grade),
        seen=found.seen,
        why=found.why,
        cure=found.cure or "",
        step_id=found.step_id or "",
        fix=found.fix if found.fix in ("resume_run", "resume_workflow", "resume_queue") else "",
    )


class DifferenceDocument(Document, frozen=True, kw_only=True):
    """Something that is not as the log says."""

    run_id: str
    kind: str
    detail: str
    expected: str
    mendable: bool
    cure: str
    step_id: str


def difference_document(difference: Difference) -> DifferenceDocument:
    """A difference as JSON."""
    return DifferenceDocument(
        run_id=difference.run_id,
        kind=difference.kind,
        detail=difference.detail,
        expected=difference.expected,
        mendable=difference.mendable,
        cure=difference.cure,
        step_id=difference.step_id,
    )


def difference_of(told: DifferenceDocument) -> Difference:
    """A difference from its JSON."""
    return Difference(
        run_id=told.run_id,
        kind=cast("Kind", told.kind),
        detail=told.detail,
        expected=told.expected,
        cure=cast("Cure", told.cure),
        step_id=told.step_id,
    )
