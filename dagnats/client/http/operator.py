"""What operators do with many runs, dead letters, queues and workflows: the second half of `HttpClient`."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from dagnats.client import bulk
from dagnats.client.bulk import Done, Live, Mode
from dagnats.client.document.finding import DifferenceDocument, difference_of
from dagnats.client.document.letter import LetterDocument, letter_of
from dagnats.client.document.listed import ListedRunDocument, summary_of
from dagnats.client.document.queue import QueueDocument, queue_of
from dagnats.client.document.workflow import WorkflowLimitsDocument, limits_of
from dagnats.client.http.read import moment_text, read
from dagnats.client.http.wire import LONG_S, path_of
from dagnats.client.operator import expect_event, expect_meant
from dagnats.client.payload import accepted
from dagnats.client.queue import positive
from dagnats.client.run import json_bytes
from dagnats.client.start import new_id
from dagnats.client.verify import Verified
from dagnats.dsl.duration import duration_text
from dagnats.model.run import RunStatus
from dagnats.model.summary import MOST, RunPage, RunSummary, Tally
from dagnats.model.trigger_type import TriggerTypeView
from dagnats.model.worker import WorkerEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from dagnats.client.difference import Difference
    from dagnats.client.http.wire import Wire
    from dagnats.client.letter import DeadLetter
    from dagnats.client.moment import Moment
    from dagnats.client.queue import QueueView
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.ops import TaskLimited, WorkflowLimited

_CHUNK = 256


class _Tally(msgspec.Struct, frozen=True):
    workflow_id: str
    status: RunStatus
    count: int


class _Count(msgspec.Struct, frozen=True):
    by: list[_Tally]


class _Refused(msgspec.Struct, frozen=True):
    run_id: str
    message: str

    @property
    def done(self) -> Done:
        return Done(self.run_id, problem=self.message)


class _Cancelled(msgspec.Struct, frozen=True):
    cancelled: list[str]
    skipped: list[_Refused]


class _RetriedRun(msgspec.Struct, frozen=True):
    original_run_id: str
    new_run_id: str = ""
    is_new: bool = True


class _Retried(msgspec.Struct, frozen=True):
    retried: list[_RetriedRun]
    skipped: list[_Refused]


class _StartedMany(msgspec.Struct, frozen=True):
    run_ids: list[str]
    existing_run_ids: list[str]
    problems: list[_Refused]


class _Published(msgspec.Struct, frozen=True):
    seq: int


class _Replayed(msgspec.Struct, frozen=True):
    replayed: list[int]


class _Verified(msgspec.Struct, frozen=True):
    runs: int
    events: int
    moving: int
    differences: list[DifferenceDocument]


class _Repaired(msgspec.Struct, frozen=True):
    left: list[DifferenceDocument]


class HttpOperator(ABC):
    """Calls that concern more than one run. What they do: see `Operator`."""

    _wire: Wire

    @abstractmethod
    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name."""

    # -- many runs -------------------------------------------------------------------------------------------

    async def runs(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """The newest runs that fit, newest first. See `Operator.runs`."""
        which = _filter(workflow, status, labels, parent, error, prefix, after, before)
        found: list[RunSummary] = []
        while len(found) < limit:
            below = found[-1].seq if found else 0
            page = await self._page(which, below, limit - len(found))
            found += page.runs
            if not page.more or not page.runs:
                break
        return found

    async def page(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
        below: int = 0,
        limit: int = 50,
    ) -> RunPage:
        """One page of `runs`, and whether there are others behind it. See `Operator.page`."""
        return await self._page(_filter(workflow, status, labels, parent, error, prefix, after, before), below, limit)

    async def _page(self, which: dict[str, Any], below: int, limit: int) -> RunPage:
        told = await self._wire.get(path_of("runs"), {**which, "cursor": below, "limit": min(limit, MOST)})
        runs = tuple(map(summary_of, read(told, list[ListedRunDocument])))
        return RunPage(runs=runs, more="next" in told.links)

    async def count(
        self,
        *,
        workflow: str = "",
        status: RunStatus | Literal[""] = "",
        labels: Mapping[str, str] | None = None,
        parent: str = "",
        error: str = "",
        prefix: str = "",
        after: Moment | None = None,
        before: Moment | None = None,
    ) -> list[Tally]:
        """How many runs fit, by workflow and status. Takes arguments like `runs`."""
        which = _filter(workflow, status, labels, parent, error, prefix, after, before)
        found = read(await self._wire.get(path_of("runs", "count"), which), _Count)
        return [Tally(workflow=each.workflow_id, status=each.status, count=each.count) for each in found.by]

    async def cancel_all(
        self,
        workflow: str,
        *,
        status: Live = "all",
        after: Moment | None = None,
        before: Moment | None = None,
        dry_run: bool = False,
        by: str = "",
        reason: str = "",
        told: Callable[[int], None] | None = None,
    ) -> list[Done]:
        """Cancel every run of a workflow that has not ended. See `Operator.cancel_all`; `told` is called at the end."""
        said = {"workflow_id": workflow, "status": status, "dry_run": dry_run, "by": by, "reason": reason}
        said |= _times(after, before)
        found = read(await self._wire.post(path_of("runs", "cancel"), said, again=True, long=True), _Cancelled)
        return _told([*map(Done, found.cancelled), *(each.done for each in found.skipped)], told)

    async def retry_all(
        self,
        workflow: str = "",
        *,
        mode: Mode,
        after: Moment | None = None,
        before: Moment | None = None,
        dry_run: bool = False,
        by: str = "",
        told: Callable[[int], None] | None = None,
    ) -> list[Done]:
        """Try every run again that has failed. See `Operator.retry_all`; `told` is called at the end."""
        expect_meant(workflow, after, before)
        said = {"workflow_id": workflow, "mode": mode, "dry_run": dry_run, "by": by, **_times(after, before)}
        found = read(await self._wire.post(path_of("runs", "retry"), said, again=True, long=True), _Retried)
        done = [Done(each.original_run_id, each.new_run_id, is_new=each.is_new) for each in found.retried]
        return _told([*done, *(each.done for each in found.skipped)], told)

    async def start_all(
        self,
        workflow: str,
        inputs: Sequence[Any],
        *,
        batch: str | None = None,
        run_ids: Sequence[str] = (),
        by: str = "",
    ) -> list[Done]:
        """Start a run for each input. See `Operator.start_all`."""
        data = [json_bytes(each) for each in inputs]
        definition = await self.workflow(workflow)
        ids = list(run_ids) or (bulk.ids_of(workflow, data, batch) if batch is not None else [""] * len(data))
        return await self.start_all_json(definition, data, ids, by=by)

    async def start_all_json(
        self,
        definition: WorkflowDef,
        inputs: Sequence[bytes],
        run_ids: Sequence[str],
        *,
        by: str = "",
        told: Callable[[int], None] | None = None,
    ) -> list[Done]:
        """`start_all` with inputs that are JSON already, and an id for each; "" for a new one."""
        bulk.check_inputs(definition, inputs)
        bulk.expect_paired(inputs, run_ids)
        ids = [new_id(each) for each in run_ids]
        done: list[Done] = []
        for at in range(0, len(inputs), _CHUNK):
            chunk = slice(at, at + _CHUNK)
            done += await self._start_some(definition.name, inputs[chunk], ids[chunk], by)
            _told(done, told)
        return done

    async def _start_some(self, workflow: str, inputs: Sequence[bytes], run_ids: Sequence[str], by: str) -> list[Done]:
        said = {"workflow_id": workflow, "inputs": list(map(msgspec.Raw, inputs)), "run_ids": run_ids, "by": by}
        found = read(await self._wire.post(path_of("runs", "bulk"), said, again=True, long=True), _StartedMany)
        existing = set(found.existing_run_ids)
        done = [Done(run_id, is_new=run_id not in existing) for run_id in found.run_ids]
        return [*done, *(each.done for each in found.problems)]

    # -- dead letters ----------------------------------------------------------------------------------------

    async def dead_letters(self, run_id: str = "") -> list[DeadLetter]:
        """All dead letters, or a run's, oldest first."""
        found = read(await self._wire.get(path_of("dlq"), {"run_id": run_id}), list[LetterDocument])
        return list(map(letter_of, found))

    async def dead_letter(self, seq: int) -> DeadLetter:
        """The dead letter at a place. Raises NotFoundError."""
        return letter_of(read(await self._wire.get(path_of("dlq", str(seq))), LetterDocument))

    async def replay_dead_letter(self, seq: int, *, by: str = "") -> DeadLetter:
        """Try again what a dead letter is about. See `Operator.replay_dead_letter`."""
        found = await self.dead_letter(seq)
        await self._wire.post(path_of("dlq", str(seq), "replay"), {"by": by})
        return found

    async def replay_dead_letters(self, run_id: str, *, by: str = "") -> list[DeadLetter]:
        """Let a run go on where it broke, and give the dead letters that this is about."""
        found = {letter.seq: letter for letter in await self.dead_letters(run_id)}
        told = await self._wire.post(path_of("dlq", "replay"), {"run_id": run_id, "by": by})
        return [found[seq] for seq in read(told, _Replayed).replayed if seq in found]

    async def discard_dead_letter(self, seq: int) -> DeadLetter:
        """Drop a dead letter, and give it. Raises NotFoundError."""
        found = await self.dead_letter(seq)
        await self._wire.ask("DELETE", path_of("dlq", str(seq)))
        return found

    # -- workers, queues and workflows -----------------------------------------------------------------------

    async def workers(self) -> list[WorkerEntry]:
        """The workers that there are, by name."""
        return read(await self._wire.get(path_of("workers")), list[WorkerEntry])

    async def trigger_types(self) -> list[TriggerTypeView]:
        """The trigger types that workers provide, or did, by name."""
        return read(await self._wire.get(path_of("trigger-types")), list[TriggerTypeView])

    async def trigger_type(self, name: str) -> TriggerTypeView:
        """A trigger type. Raises NotFoundError, with near names."""
        return read(await self._wire.get(path_of("trigger-types", name)), TriggerTypeView)

    async def queues(self) -> list[QueueView]:
        """Every queue that has tasks, had workers, or is named by a registered workflow."""
        return list(map(queue_of, read(await self._wire.get(path_of("queues")), list[QueueDocument])))

    async def queue(self, name: str) -> QueueView:
        """The queue of a task type. Raises NotFoundError, with near names."""
        return queue_of(read(await self._wire.get(path_of("queues", name)), QueueDocument))

    async def pause_queue(self, task: str, reason: str = "", *, by: str = "") -> None:
        """Hand out no task of a type until it is resumed. See `Operator.pause_queue`."""
        await self._wire.post(path_of("queues", task, "pause"), {"by": by, "reason": reason})

    async def resume_queue(self, task: str, *, by: str = "") -> None:
        """Let a paused queue go on. Raises ConflictError when it is not paused."""
        await self._wire.post(path_of("queues", task, "resume"), {"by": by})

    async def limit_queue(
        self,
        task: str,
        *,
        concurrency: int | None = None,
        rate: int | None = None,
        period: timedelta | str = "1s",
        by: str = "",
        reason: str = "",
    ) -> TaskLimited:
        """Limit the tasks of a type, whatever definitions say; gives what holds now. See `Operator.limit_queue`."""
        limits = {
            "concurrency": None if concurrency is None else positive("concurrency", concurrency),
            "rate": None if rate is None else positive("rate", rate),
        }
        said = {**limits, "period": duration_text(period), "by": by, "reason": reason}
        told = await self._wire.post(path_of("queues", task, "limits"), said, again=True)
        return queue_of(read(told, QueueDocument)).limits

    async def workflow_limits(self, workflow: str) -> WorkflowLimited:
        """What operators have said of a workflow."""
        return limits_of(read(await self._wire.get(path_of("workflows", workflow, "limits")), WorkflowLimitsDocument))

    async def pause_workflow(self, workflow: str, reason: str = "", *, by: str = "") -> None:
        """Let no run of a workflow begin until it is resumed. See `Operator.pause_workflow`."""
        await self._wire.post(path_of("workflows", workflow, "pause"), {"by": by, "reason": reason})

    async def resume_workflow(self, workflow: str, *, by: str = "") -> None:
        """Let runs of a paused workflow begin. Raises ConflictError when it is not paused."""
        await self._wire.post(path_of("workflows", workflow, "resume"), {"by": by})

    async def limit_workflow(self, workflow: str, max_runs: int, *, by: str = "", reason: str = "") -> WorkflowLimited:
        """Let at most `max_runs` runs of a workflow go on at a time. See `Operator.limit_workflow`."""
        said = {"max_runs": positive("max_runs", max_runs), "by": by, "reason": reason}
        told = await self._wire.post(path_of("workflows", workflow, "limits"), said, again=True)
        return limits_of(read(told, WorkflowLimitsDocument))

    # -- events ----------------------------------------------------------------------------------------------

    async def publish_event(self, type: str, body: Any = None, *, id: str = "") -> int:
        """Publish an event, for whatever waits for it, and give its place. See `Operator.publish_event`."""
        return await self.publish_event_json(type, json_bytes(body), id=id)

    async def publish_event_json(self, type: str, body: bytes, *, id: str = "") -> int:
        """`publish_event` with a body that is JSON already."""
        expect_event(type)
        data, id = accepted(body, what="the event's body"), id or secrets.token_hex(16)
        told = await self._wire.ask("POST", path_of("events", type), query={"id": id}, body=data, again=True)
        return read(told, _Published).seq

    # -- is it all as the log says ---------------------------------------------------------------------------

    async def verify(self, *, told: Callable[[int, int], None] | None = None) -> Verified:
        """Fold every run from its first event, and compare. See `Operator.verify`; `told` is called at the end."""
        found = read(await self._wire.get(path_of("verify"), wait_s=LONG_S), _Verified)
        if told is not None:
            told(found.runs, found.runs)
        return Verified(found.runs, found.events, tuple(map(difference_of, found.differences)), found.moving)

    async def repair(self, differences: Sequence[Difference]) -> list[Difference]:
        """Put right, from the log, what differs by now; gives those of `differences` that had to be left."""
        if not differences:
            return []
        told = await self._wire.post(path_of("queues", "repair"), {"dry_run": False}, again=True, long=True)
        left = [difference_of(each) for each in read(told, _Repaired).left]
        known = {(each.run_id, each.kind, each.detail) for each in differences}
        return [each for each in left if (each.run_id, each.kind, each.detail) in known]


def _filter(
    workflow: str,
    status: str,
    labels: Mapping[str, str] | None,
    parent: str,
    error: str,
    prefix: str,
    after: Moment | None,
    before: Moment | None,
) -> dict[str, Any]:
    """Which runs are meant, as the query says it: what says nothing is left out."""
    said = {"workflow": workflow, "status": status, "parent": parent, "error": error, "prefix": prefix}
    pairs = [f"{name}={value}" for name, value in (labels or {}).items()]
    return {name: text for name, text in said.items() if text} | {"label": pairs} | _times(after, before)


def _times(after: Moment | None, before: Moment | None) -> dict[str, str]:
    return {name: moment_text(moment) for name, moment in (("after", after), ("before", before)) if moment is not None}


def _told(done: list[Done], told: Callable[[int], None] | None) -> list[Done]:
    if told is not None:
        told(len(done))
    return done
