"""Everything that the API does, in one list. The command line does all of it, too."""

from __future__ import annotations

from typing import Any

from dagnats.client.document.event import ChunkDocument, EventDocument
from dagnats.client.document.letter import LetterDocument
from dagnats.client.document.listed import ListedRunDocument
from dagnats.client.document.queue import QueueDocument
from dagnats.client.document.run import RunDocument
from dagnats.client.document.workflow import VersionDocument, WorkflowLimitsDocument
from dagnats.client.installation import (
    CleanedDocument,
    DeedDocument,
    GuestDocument,
    MadeDocument,
    RevokedDocument,
    TakenDocument,
    TokenDocument,
    WaitpointDocument,
)
from dagnats.client.rehearsal import RehearsalDocument
from dagnats.client.trace import SpanDocument
from dagnats.model.trigger_type import TriggerTypeView
from dagnats.model.worker import WorkerEntry
from dagnats.runtime.api import (
    audit,
    letter,
    logs,
    many,
    order,
    portable,
    queue,
    run,
    server,
    start,
    token,
    trigger_type,
    waitpoint,
    workflow,
)
from dagnats.runtime.api.operation import Operation, Raw
from dagnats.runtime.blob import INLINE_BYTES
from dagnats.runtime.telemetry.entry import LogEntry

_RUN = "/runs/{run_id}"
_STEP = f"{_RUN}/steps/{{step}}"
_WORKFLOW = "/workflows/{workflow}"
_QUEUE = "/queues/{queue}"
_WAITPOINT = "/waitpoints/{run_id}/{step}"
_HELD = "/waitpoints/{token}"

# A path without names in it comes before those that would take its last part for a name.
OPERATIONS: tuple[Operation, ...] = (
    # -- workflows
    Operation("GET", "/workflows", workflow.all_workflows, "read", list[dict[str, Any]], concern="listed", old=True),
    Operation(
        "POST",
        "/workflows",
        workflow.register,
        "admin",
        workflow.RegisteredDocument,
        query=workflow.Registering,
        body=Raw,
        status=201,
        concern="definition",
        old=True,
    ),
    Operation(
        "POST",
        "/workflows/validate",
        workflow.validate,
        "read",
        workflow.ValidatedDocument,
        body=Raw,
        concern="listed",
    ),
    Operation(
        "POST",
        "/registrations",
        workflow.register_all,
        "admin",
        list[workflow.RegistrationDocument],
        body=workflow.Registrations,
        concern="definition",
    ),
    Operation("GET", _WORKFLOW, workflow.show, "read", dict[str, Any], query=workflow.Which),
    Operation("DELETE", _WORKFLOW, workflow.delete, "admin", workflow.DeletedDocument),
    Operation("GET", f"{_WORKFLOW}/versions", workflow.versions, "read", list[VersionDocument]),
    Operation("GET", f"{_WORKFLOW}/limits", workflow.limits, "read", WorkflowLimitsDocument),
    Operation("POST", f"{_WORKFLOW}/limits", workflow.limit, "operate", WorkflowLimitsDocument, body=workflow.RunLimit),
    Operation("POST", f"{_WORKFLOW}/pause", workflow.pause, "operate", workflow.HeldDocument, body=order.Note),
    Operation("POST", f"{_WORKFLOW}/resume", workflow.resume, "operate", workflow.HeldDocument, body=order.Note),
    # -- runs
    Operation("GET", "/runs", run.page, "read", list[ListedRunDocument], query=run.Page, concern="listed"),
    Operation(
        "GET", "/runs", run.page, "read", list[ListedRunDocument], query=run.OldPage, concern="listed", older=True
    ),
    Operation(
        "POST",
        "/runs",
        start.start,
        "run",
        start.StartedDocument,
        query=start.Wait,
        body=start.Start,
        status=201,
        concern="body",
        old=True,
    ),
    Operation("GET", "/runs/count", run.count, "read", run.CountDocument, query=run.Filter, concern="listed"),
    Operation(
        "POST",
        "/runs/cancel",
        many.cancel_all,
        "operate",
        many.CancelledDocument,
        body=many.CancelAll,
        concern="body",
        old=True,
    ),
    Operation(
        "POST",
        "/runs/retry",
        many.retry_all,
        "operate",
        many.RetriedManyDocument,
        body=many.RetryAll,
        concern="body",
        old=True,
    ),
    Operation(
        "POST",
        "/runs/bulk",
        start.bulk,
        "run",
        start.StartedManyDocument,
        body=start.Bulk,
        status=201,
        concern="body",
        old=True,
    ),
    Operation("GET", _RUN, run.show, "read", RunDocument, old=True),
    Operation("GET", f"{_RUN}/output", run.output, "read", run.OutputDocument, query=start.Wait),
    Operation("GET", f"{_RUN}/events", run.events, "read", list[EventDocument], query=run.Since, streams=EventDocument),
    Operation("GET", f"{_RUN}/logs", logs.of_run, "read", list[LogEntry], query=logs.OfRun),
    Operation("GET", f"{_RUN}/trace", logs.spans, "read", list[SpanDocument]),
    Operation("GET", f"{_RUN}/export", portable.export, "read", dict[str, Any], query=portable.Kin),
    Operation("POST", f"{_RUN}/rehearse", portable.rehearsal, "operate", RehearsalDocument, body=portable.Rehearse),
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
    Operation("GET", "/imports", portable.imports, "read", list[GuestDocument]),
    Operation("POST", "/imports", portable.take, "admin", list[TakenDocument], body=Raw, status=201),
    Operation("DELETE", "/imports/{imported}", portable.forget, "admin", portable.RemovedDocument),
    # -- steps
    Operation("POST", f"{_STEP}/skip", order.skip, "operate", order.StepToldDocument, body=order.Note),
    Operation("POST", f"{_STEP}/fail", order.fail, "operate", order.StepToldDocument, body=order.Note),
    Operation("POST", f"{_STEP}/complete", order.complete, "run", order.StepToldDocument, body=Raw),
    Operation("GET", f"{_STEP}/stream", run.stream, "read", None, query=run.Offset, streams=ChunkDocument),
    # -- waitpoints
    Operation(
        "GET",
        "/waitpoints",
        waitpoint.all_waitpoints,
        "read",
        list[WaitpointDocument],
        query=waitpoint.Open,
        concern="listed",
    ),
    Operation(
        "POST",
        f"{_HELD}/complete",
        waitpoint.bring,
        None,
        order.StepToldDocument,
        body=Raw,
        most_bytes=INLINE_BYTES,
    ),
    Operation(
        "POST",
        f"{_HELD}/reject",
        waitpoint.refuse,
        None,
        order.StepToldDocument,
        body=Raw,
        most_bytes=INLINE_BYTES,
    ),
    Operation("GET", _WAITPOINT, waitpoint.show, "read", WaitpointDocument),
    Operation(
        "POST",
        f"{_WAITPOINT}/complete",
        waitpoint.complete,
        "run",
        order.StepToldDocument,
        query=waitpoint.Why,
        body=Raw,
    ),
    Operation("POST", f"{_WAITPOINT}/cancel", waitpoint.cancel, "operate", order.StepToldDocument, body=order.Note),
    Operation("POST", f"{_WAITPOINT}/token", waitpoint.token, "run", waitpoint.WaitpointTokenDocument),
    # -- queues
    Operation("GET", "/queues", queue.all_queues, "read", list[QueueDocument]),
    Operation("POST", "/queues/repair", queue.repair, "operate", queue.RepairedDocument, body=queue.Repair),
    Operation("GET", _QUEUE, queue.show, "read", QueueDocument),
    Operation("POST", f"{_QUEUE}/pause", queue.pause, "operate", queue.PausedDocument, body=order.Note),
    Operation("POST", f"{_QUEUE}/resume", queue.resume, "operate", queue.PausedDocument, body=order.Note),
    Operation("POST", f"{_QUEUE}/limits", queue.limit, "operate", QueueDocument, body=queue.TaskLimit),
    # -- dead letters
    Operation("GET", "/dlq", letter.all_letters, "read", list[LetterDocument], query=letter.OfRun, concern="listed"),
    Operation(
        "POST",
        "/dlq/replay",
        letter.replay_all,
        "operate",
        letter.ReplayedDocument,
        body=letter.ReplayAll,
        concern="body",
    ),
    Operation("GET", "/dlq/{seq}", letter.show, "read", LetterDocument),
    Operation("POST", "/dlq/{seq}/replay", letter.replay, "operate", letter.ReplayedDocument, body=letter.Replay),
    Operation("DELETE", "/dlq/{seq}", letter.discard, "operate", letter.DiscardedDocument),
    # -- the server
    Operation(
        "POST", "/events/{type}", server.publish, "run", server.PublishedDocument, query=server.EventId, body=Raw
    ),
    Operation("GET", "/schema", workflow.schema, "read", dict[str, Any], concern="listed"),
    Operation("GET", "/workers", server.workers, "read", list[WorkerEntry]),
    Operation("GET", "/trigger-types", trigger_type.all_types, "read", list[TriggerTypeView]),
    Operation("GET", "/trigger-types/{trigger_type}", trigger_type.show, "read", TriggerTypeView),
    Operation("GET", "/status", server.status, "read", server.StatusDocument, query=server.Detail),
    Operation("GET", "/health/cluster", server.cluster, "read", server.ClusterDocument, old=True),
    Operation("GET", "/doctor", server.doctor, "read", server.CheckedDocument),
    Operation("POST", "/doctor", server.mend, "operate", server.CheckedDocument, body=server.Mend),
    Operation("POST", "/clean", server.clean, "admin", CleanedDocument, body=server.Clean),
    Operation("GET", "/logs", logs.lines, "read", list[LogEntry], query=logs.Lines, streams=LogEntry),
    Operation("GET", "/verify", queue.verify, "operate", queue.VerifiedDocument),
    # -- who may, and who did
    Operation("GET", "/tokens", token.listing, "admin", list[TokenDocument]),
    Operation("POST", "/tokens", token.create, "admin", MadeDocument, body=token.New, status=201),
    Operation("DELETE", "/tokens/{token}", token.revoke, "admin", RevokedDocument),
    Operation("GET", "/audit", audit.deeds, "admin", list[DeedDocument], query=audit.Deeds),
)
