"""`POST /v1/runs/cancel` and `/retry`: many runs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.client.bulk import Live, Mode
from dagnats.client.document import Document
from dagnats.runtime.api.body import Order
from dagnats.runtime.api.operation import Asked, Nothing
from dagnats.runtime.api.start import RefusedDocument, refused

if TYPE_CHECKING:
    from dagnats.client.bulk import Done


class CancelAll(Order):
    """Which runs of a workflow are cancelled: those in a status, started in a time."""

    workflow_id: str
    status: Live = "all"
    after: str | None = None
    before: str | None = None
    dry_run: bool = False
    by: str = ""
    reason: str = ""


class RetryAll(Order):
    """Which runs that have failed are tried again, and how."""

    workflow_id: str = ""
    mode: Mode
    after: str | None = None
    before: str | None = None
    dry_run: bool = False
    by: str = ""


class CancelledDocument(Document, frozen=True, kw_only=True):
    """Runs that were cancelled, or would be."""

    cancelled: tuple[str, ...]
    skipped: tuple[RefusedDocument, ...]
    total: int
    dry_run: bool


class RetriedRunDocument(Document, frozen=True, kw_only=True, omit_defaults=True):
    """A run that was tried again, and the new one that a rerun started."""

    original_run_id: str
    new_run_id: str = ""
    is_new: bool = True


class RetriedManyDocument(Document, frozen=True, kw_only=True):
    """Runs that were tried again, or would be."""

    retried: tuple[RetriedRunDocument, ...]
    skipped: tuple[RefusedDocument, ...]
    total: int
    dry_run: bool


async def cancel_all(asked: Asked[Nothing, CancelAll]) -> CancelledDocument:
    """Cancel every run of a workflow that has not ended."""
    said = asked.body
    done = await asked.client.cancel_all(
        said.workflow_id,
        status=said.status,
        after=said.after,
        before=said.before,
        dry_run=said.dry_run,
        by=said.by,
        reason=said.reason,
    )
    fine = _fine(done)
    return CancelledDocument(
        cancelled=tuple(each.run_id for each in fine), skipped=refused(done), total=len(fine), dry_run=said.dry_run
    )


async def retry_all(asked: Asked[Nothing, RetryAll]) -> RetriedManyDocument:
    """Try every run again that has failed. The same call again goes on with what is left."""
    said = asked.body
    done = await asked.client.retry_all(
        said.workflow_id, mode=said.mode, after=said.after, before=said.before, dry_run=said.dry_run, by=said.by
    )
    fine = _fine(done)
    retried = (
        RetriedRunDocument(original_run_id=each.run_id, new_run_id=each.new_run_id, is_new=each.is_new) for each in fine
    )
    return RetriedManyDocument(retried=tuple(retried), skipped=refused(done), total=len(fine), dry_run=said.dry_run)


def _fine(done: list[Done]) -> list[Done]:
    return [each for each in done if not each.problem]
