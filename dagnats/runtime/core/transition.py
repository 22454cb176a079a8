"""Which statuses may follow which. Every change of a status goes by these tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagnats.model.run import RunStatus, StepStatus

STEP: dict[StepStatus, frozenset[StepStatus]] = {
    "pending": frozenset({"queued", "running", "skipped", "cancelled"}),
    "queued": frozenset({"queued", "running", "completed", "failed", "cancelled", "skipped"}),
    "running": frozenset({"queued", "running", "completed", "failed", "cancelled", "skipped"}),
    "completed": frozenset(),
    "failed": frozenset({"recovered", "pending", "skipped"}),
    "skipped": frozenset({"pending"}),
    "cancelled": frozenset({"pending"}),
    "recovered": frozenset(),
}
"""A step's. `failed`, `skipped` and `cancelled` go back to `pending` only when their run is opened again."""

RUN: dict[RunStatus, frozenset[RunStatus]] = {
    "scheduled": frozenset({"pending", "running", "failed", "cancelled"}),
    "pending": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"completed", "failed", "cancelled", "compensated", "compensate_failed"}),
    "completed": frozenset(),
    "failed": frozenset({"running"}),
    "cancelled": frozenset({"running"}),
    "compensated": frozenset(),
    "compensate_failed": frozenset({"running"}),
}
"""A run's. One that has not completed can be opened again, unless everything was undone."""
