"""Everything that the API does, in one list. The command line does all of it, too."""

from __future__ import annotations

from typing import Any

from dagnats.client.document import (
    ChunkDocument,
    EventDocument,
    LetterDocument,
    ListedRunDocument,
    QueueDocument,
    RunDocument,
    VersionDocument,
    WorkflowLimitsDocument,
)
from dagnats.client.trace import SpanDocument
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.api import letter, logs, many, order, queue, run, server, start, workflow
from dagnats.runtime.api.operation import Operation, Raw
from dagnats.runtime.telemetry.entry import LogEntry

_RUN = "/runs/{run_id}"
_STEP = f"{_RUN}/steps/{{step}}"
_WORKFLOW = "/workflows/{workflow}"
_QUEUE = "/queues/{queue}"

# A path without names in it comes before those that would take its last part for a name.
OPERATIONS: tuple[Operation, ...] = (
    # -- workflows
    Operation("GET", "/workflows", workflow.all_workflows, "read", list[dict[str, Any]], old=True),
    Operation(
        "POST", "/workflows", workflow.register, "admin", workflow.RegisteredDocument, body=Raw, status=201, old=True
    ),
    Operation("GET", _WORKFLOW, workflow.show, "read", dict[str, Any], query=workflow.Which),
    Operation("GET", f"{_WORKFLOW}/versions", workflow.versions, "read", list[VersionDocument]),
    Operation("GET", f"{_WORKFLOW}/limits", workflow.limits, "read", WorkflowLimitsDocument),
    Operation("POST", f"{_WORKFLOW}/limits", workflow.limit, "operate", WorkflowLimitsDocument, body=workflow.RunLimit),
    Operation("POST", f"{_WORKFLOW}/pause", workflow.pause, "operate", workflow.HeldDocument, body=order.Note),
    Operation("POST", f"{_WORKFLOW}/resume", workflow.resume, "operate", workflow.HeldDocument, body=order.Note),
    # -- runs
    Operation("GET", "/runs", run.page, "read", list[ListedRunDocument], query=run.Page),
    Operation("GET", "/runs", run.page, "read", list[ListedRunDocument], query=run.OldPage, older=True),
    Operation(
        "POST",
        "/runs",
        start.start,
        "run",
        start.StartedDocument,
        query=start.Wait,
        body=start.Start,
        status=201,
        old=True,
    ),
    Operation("GET", "/runs/count", run.count, "read", run.CountDocument, query=run.Filter),
    Operation(
        "POST", "/runs/cancel", many.cancel_all, "operate", many.CancelledDocument, body=many.CancelAll, old=True
    ),
    Operation("POST", "/runs/retry", many.retry_all, "operate", many.RetriedManyDocument, body=many.RetryAll, old=True),
    Operation(
        "POST", "/runs/bulk", start.bulk, "run", start.StartedManyDocument, body=start.Bulk, status=201, old=True
    ),
    Operation("GET", _RUN, run.show, "read", RunDocument, old=True),
    Operation("GET", f"{_RUN}/output", run.output, "read", run.OutputDocument, query=start.Wait),
    Operation("GET", f"{_RUN}/events", run.events, "read", list[EventDocument], query=run.Since, streams=EventDocument),
    Operation("GET", f"{_RUN}/logs", logs.of_run, "read", list[LogEntry], query=logs.OfRun),
    Operation("GET", f"{_RUN}/trace", logs.spans, "read", list[SpanDocument]),
    Operation("GET", f"{_RUN}/diagnose", run.diagnose, "read", run.DiagnosisDocument),
    Operation("GET", f"{_RUN}/scheduled", run.scheduled, "read", run.ScheduledRunDocument, old=True),
    Operation("DELETE", f"{_RUN}/scheduled", order.cancel_scheduled, "operate", order.ToldDocument, old=True),
    Operation("POST", f"{_RUN}/cancel", order.cancel, "operate", order.ToldDocument, body=order.Note, old=True),
    Operation("POST", f"{_RUN}/pause", order.pause, "operate", order.ToldDocument, body=order.Note),
    Operation("POST", f"{_RUN}/resume", order.resume, "operate", order.ToldDocument, body=order.Note),
    Operation("POST", f"{_RUN}/retry", order.retry, "run", order.RetriedDocument, body=order.Retry),
    Operation("POST", f"{_RUN}/fork", order.fork, "run", order.ForkedDocument, body=order.Fork, status=201),
    Operation("POST", f"{_RUN}/signal/{{name}}", order.signal, "run", order.SignalledDocument, body=Raw, old=True),
    Operation("POST", f"{_RUN}/approve", order.approve, "run", order.StepToldDocument, body=order.Answer),
    Operation("POST", f"{_RUN}/reject", order.reject, "run", order.StepToldDocument, body=order.Answer),
    Operation(
        "POST",
        f"{_RUN}/approval/{{step}}",
        order.answer,
        "run",
        order.StepToldDocument,
        query=order.OldAnswer,
        body=order.Comment,
        old=True,
    ),
    # -- steps
    Operation("POST", f"{_STEP}/skip", order.skip, "operate", order.StepToldDocument, body=order.Note),
    Operation("POST", f"{_STEP}/fail", order.fail, "operate", order.StepToldDocument, body=order.Note),
    Operation("POST", f"{_STEP}/complete", order.complete, "run", order.StepToldDocument, body=Raw),
    Operation("GET", f"{_STEP}/stream", run.stream, "read", None, query=run.Offset, streams=ChunkDocument),
    # -- queues
    Operation("GET", "/queues", queue.all_queues, "read", list[QueueDocument]),
    Operation("POST", "/queues/repair", queue.repair, "operate", queue.RepairedDocument, body=queue.Repair),
    Operation("GET", _QUEUE, queue.show, "read", QueueDocument),
    Operation("POST", f"{_QUEUE}/pause", queue.pause, "operate", queue.PausedDocument, body=order.Note),
    Operation("POST", f"{_QUEUE}/resume", queue.resume, "operate", queue.PausedDocument, body=order.Note),
    Operation("POST", f"{_QUEUE}/limits", queue.limit, "operate", QueueDocument, body=queue.TaskLimit),
    # -- dead letters
    Operation("GET", "/dlq", letter.all_letters, "read", list[LetterDocument], query=letter.OfRun),
    Operation("POST", "/dlq/replay", letter.replay_all, "operate", letter.ReplayedDocument, body=letter.ReplayAll),
    Operation("GET", "/dlq/{seq}", letter.show, "read", LetterDocument),
    Operation("POST", "/dlq/{seq}/replay", letter.replay, "operate", letter.ReplayedDocument, body=letter.Replay),
    Operation("DELETE", "/dlq/{seq}", letter.discard, "operate", letter.DiscardedDocument),
    # -- the server
    Operation(
        "POST", "/events/{type}", server.publish, "run", server.PublishedDocument, query=server.EventId, body=Raw
    ),
    Operation("GET", "/workers", server.workers, "read", list[WorkerEntry]),
    Operation("GET", "/logs", logs.lines, "read", list[LogEntry], query=logs.Lines),
    Operation("GET", "/status", server.status, "read", server.StatusDocument),
    Operation("GET", "/verify", queue.verify, "operate", queue.VerifiedDocument),
)
