"""Runs and events for tests of what is printed about them."""

from __future__ import annotations

from typing import Any

from dagnats.client import EventView, RunView, StepView

SECOND = 1_000_000_000
MS = 1_000_000
CREATED = 1_736_931_600 * SECOND  # 2025-01-15 09:00:00 UTC


def step(step_id: str, **fields: Any) -> StepView:
    """A step that has not run, but for `fields`."""
    defaults: dict[str, Any] = {
        "task": f"task.{step_id}",
        "status": "pending",
        "attempts": 0,
        "needs": (),
        "auxiliary": False,
        "serves": "",
        "output": None,
        "error": "",
        "worker_id": "",
        "queued_ns": 0,
        "started_ns": 0,
        "ended_ns": 0,
        "retry_at_ns": 0,
    }
    return StepView(id=step_id, **{**defaults, **fields})


def done(step_id: str, *, begin_ms: int, end_ms: int, **fields: Any) -> StepView:
    """A step that completed, between two moments of its run."""
    times = {"queued_ns": CREATED + begin_ms * MS, "ended_ns": CREATED + end_ms * MS}
    return step(step_id, **{"status": "completed", "attempts": 1, **times, **fields})


def run(*steps: StepView, **fields: Any) -> RunView:
    """A run of the workflow `code-review`, completed but for `fields`."""
    defaults: dict[str, Any] = {
        "run_id": "a1b2c3d4e5f6",
        "workflow": "code-review",
        "def_hash": "f00d",
        "status": "completed",
        "leaves": (steps[-1].id,) if steps else (),
        "input": None,
        "output": None,
        "error": "",
        "failed_step": "",
        "compensating": False,
        "created_ns": CREATED,
        "ended_ns": CREATED + 31 * MS,
        "seq": 9,
    }
    return RunView(steps=steps, **{**defaults, **fields})


def event(type: str, step_id: str = "", payload: Any = None, **fields: Any) -> EventView:
    """An event of that run."""
    defaults: dict[str, Any] = {
        "seq": 1,
        "time_ns": CREATED,
        "run_id": "a1b2c3d4e5f6",
        "attempt": 1 if step_id else 0,
        "trace_parent": "",
        "worker_id": "",
    }
    return EventView(type=type, step_id=step_id, payload=payload, **{**defaults, **fields})
