"""What operators do with many runs, dead letters, queues and workflows: the second half of `AsyncClient`."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from dagnats.client import bulk, letter, listing, queue, trigger_type
from dagnats.client.bulk import Done, Live, Mode
from dagnats.client.mend import mend
from dagnats.client.moment import Moment, instant_of
from dagnats.client.payload import accepted
from dagnats.client.run import json_bytes
from dagnats.client.scan import Window
from dagnats.client.verify import verify
from dagnats.dsl.duration import duration_text
from dagnats.errors import DagnatsError, DecodeError, NotFoundError
from dagnats.model.audit import AUDIT, decode_audited
from dagnats.model.duration import duration_nanos, parse_duration
from dagnats.model.identifier import EVENT, near
from dagnats.model.summary import MOST, RunQuery
from dagnats.model.worker import decode_worker
from dagnats.runtime.limit import workflow_limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
    from datetime import timedelta

    from dagnats.client.difference import Difference
    from dagnats.client.letter import DeadLetter
    from dagnats.client.queue import QueueView
    from dagnats.client.verify import Verified
    from dagnats.model.audit import Audited
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.ops import TaskLimited, WorkflowLimited
    from dagnats.model.run import RunStatus
    from dagnats.model.summary import RunPage, RunSummary, Tally
    from dagnats.model.trigger_type import TriggerTypeView
    from dagnats.model.worker import WorkerEntry
    from dagnats.runtime.ports import Ports

_CHUNK = 256
_EVENT = re.compile(EVENT)


class Operator(ABC):
    """Calls that concern more than one run."""

    _ports: Ports

    @abstractmethod
    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name."""

    @abstractmethod
    async def workflows(self) -> list[WorkflowDef]:
        """The newest definition of every name."""

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
        among: Sequence[str] = (),
    ) -> list[RunSummary]:
        """The newest runs that fit, newest first.

        A server's index answers, at any number of runs. Where none does, the log is looked through.

        Args:
            workflow: Of this workflow.
            status: In this status.
            labels: With these labels.
            parent: Started by a step of this run.
            error: With this text in its error, in any case.
            prefix: With an id that begins like this.
            after: Started then or later.
            before: Started before then.
            limit: At most so many.
            among: Of workflows that one of these patterns fits: `order-*`.
        """
        asked = self._query(workflow, status, labels, parent, error, prefix, after, before, among)
        found: list[RunSummary] = []
        async for run in self._newest(asked, limit):
            found.append(run)
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
        among: Sequence[str] = (),
    ) -> RunPage:
        """One page of `runs`, and whether there are others behind it: those go on `below` the last one's `seq`.

        Args:
            workflow, status, labels, parent, error, prefix, after, before, among: See `runs`.
            below: Only runs that were started before the one with this `seq`; 0 for the first page.
            limit: At most so many, and at most `MOST`.
        """
        asked = self._query(workflow, status, labels, parent, error, prefix, after, before, among)
        return await listing.page(self._ports, msgspec.structs.replace(asked, below=below, limit=min(limit, MOST)))

    async def _newest(self, query: RunQuery, limit: int) -> AsyncIterator[RunSummary]:
        while limit > 0:
            page = await listing.page(self._ports, msgspec.structs.replace(query, limit=min(limit, MOST)))
            for run in page.runs:
                yield run
            if not page.more or not page.runs:
                return
            limit -= len(page.runs)
            query = msgspec.structs.replace(query, below=page.runs[-1].seq)

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
        among: Sequence[str] = (),
    ) -> list[Tally]:
        """How many runs fit, by workflow and status. Takes arguments like `runs`."""
        asked = self._query(workflow, status, labels, parent, error, prefix, after, before, among)
        return await listing.count(self._ports, asked)

    def _query(
        self,
        workflow: str,
        status: RunStatus | Literal[""],
        labels: Mapping[str, str] | None,
        parent: str,
        error: str,
        prefix: str,
        after: Moment | None,
        before: Moment | None,
        among: Sequence[str],
    ) -> RunQuery:
        window = self._window(workflow, after, before)
        return RunQuery(
            workflow=workflow,
            statuses=(status,) if status else (),
            labels=dict(labels or {}),
            parent_run_id=parent,
            prefix=prefix,
            error=error,
            after_ns=window.after_ns,
            before_ns=window.before_ns,
            among=tuple(among),
        )

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
        """Cancel every run of a workflow that has not ended.

        Args:
            workflow: Its name; the runs count, whether it is still registered or not.
            status: Only those in this status.
            after: Only those started then or later.
            before: Only those started before then.
            dry_run: Only say which.
            by: Who does it.
            reason: Why.
            told: Called now and then with how many are done.

        Raises:
            NotFoundError: No such workflow is registered, nor has any runs.
        """
        window = self._window(workflow, after, before)
        return await self._each(
            window, bulk.live(status), told, dry_run, lambda id: bulk.cancel(self._ports, id, by=by, reason=reason)
        )

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
        """Try every run again that has failed: anew, or where it broke. Takes arguments like `cancel_all`.

        A rerun is started once for each failed run, however often this is called.

        Raises:
            DagnatsError: There is neither a workflow nor a time: nobody retries everything by accident.
            NotFoundError: See `cancel_all`.
        """
        expect_meant(workflow, after, before)
        window = self._window(workflow, after, before)
        return await self._each(
            window,
            bulk.RETRIED,
            told,
            dry_run,
            lambda run_id: bulk.retry(self._ports, run_id, mode, by=by),
        )

    async def _each(
        self,
        window: Window,
        statuses: Collection[RunStatus],
        told: Callable[[int], None] | None,
        dry_run: bool,
        work: Callable[[str], Any],
    ) -> list[Done]:
        done: dict[str, Done] = {}
        await self._expect_known(window.workflow)
        async for some in bulk.found(self._ports, window, statuses):
            run_ids = [run_id for run_id in some if run_id not in done]
            if dry_run:
                done |= {run_id: Done(run_id) for run_id in run_ids}
            else:
                done |= {each.run_id: each for each in await bulk.paced(run_ids, work)}
            if told is not None:
                told(len(done))
        return list(done.values())

    async def _expect_known(self, workflow: str) -> None:
        """Raise NotFoundError for a workflow that is not registered and has no runs: nobody can have meant that."""
        if workflow and workflow not in (names := await self._ports.definitions.names()):
            if (await listing.page(self._ports, RunQuery(workflow=workflow, limit=1))).runs:
                return
            raise NotFoundError(
                "workflow", workflow, near=near(workflow, names), hint="" if names else "none is registered"
            )

    async def start_all(
        self,
        workflow: str,
        inputs: Sequence[Any],
        *,
        batch: str | None = None,
        run_ids: Sequence[str] = (),
        by: str = "",
    ) -> list[Done]:
        """Start a run for each input; none when one of them breaks the workflow's schema.

        Args:
            workflow: Its name.
            inputs: Values with a JSON form.
            batch: A name for all of them together. The runs' ids follow from it, the inputs and their places: the same
                call again starts what is missing. Without one every call starts new runs.
            run_ids: The runs' ids instead, one for each input; "" for a new one.
            by: Who does it.

        Raises:
            NotFoundError: No such workflow is registered.
            InputError: Some inputs break its schema.
            DagnatsError: There are ids, and not as many as inputs.
        """
        data = [json_bytes(each) for each in inputs]
        definition = await self.workflow(workflow)
        if run_ids:
            bulk.expect_paired(data, run_ids)
            ids = list(run_ids)
        else:
            ids = bulk.ids_of(workflow, data, batch) if batch is not None else [""] * len(data)
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
        done: list[Done] = []
        for at in range(0, len(inputs), _CHUNK):
            chunk = slice(at, at + _CHUNK)
            done += await bulk.start_all(self._ports, definition, inputs[chunk], run_ids[chunk], by=by)
            if told is not None:
                told(len(done))
        return done

    def _window(self, workflow: str, after: Moment | None, before: Moment | None) -> Window:
        now_ns = self._ports.clock.now_ns()
        after_ns = _bound(after, now_ns) if after is not None else 0
        before_ns = _bound(before, now_ns) if before is not None else 0
        return Window(workflow, after_ns, before_ns)

    # -- dead letters ----------------------------------------------------------------------------------------

    async def dead_letters(self, run_id: str = "") -> list[DeadLetter]:
        """All dead letters, or a run's, oldest first."""
        return await letter.letters(self._ports, run_id)

    async def dead_letter(self, seq: int) -> DeadLetter:
        """The dead letter at a place. Raises NotFoundError."""
        return await letter.letter_at(self._ports, seq)

    async def replay_dead_letter(self, seq: int, *, by: str = "") -> DeadLetter:
        """Try again what a dead letter is about: its run goes on where it broke.

        Raises:
            NotFoundError: There is no such letter, or its run is gone.
            ConflictError: Its run is under way or has completed, or it still cannot be read.
        """
        found = await letter.letter_at(self._ports, seq)
        await letter.replay(self._ports, found, by=by)
        return found

    async def replay_dead_letters(self, run_id: str, *, by: str = "") -> list[DeadLetter]:
        """Let a run go on where it broke, and give the dead letters that this is about.

        Raises:
            NotFoundError: It has none.
            ConflictError: See `replay_dead_letter`.
        """
        found = await letter.letters(self._ports, run_id)
        if not found:
            raise NotFoundError("dead letter of run", run_id, hint=f"`dagnats run status {run_id}` shows the run")
        await letter.replay_run(self._ports, found, by=by)
        return found

    async def discard_dead_letter(self, seq: int) -> DeadLetter:
        """Drop a dead letter, and give it. Raises NotFoundError."""
        found = await letter.letter_at(self._ports, seq)
        await self._ports.dead_letters.remove(seq)
        return found

    # -- workers ---------------------------------------------------------------------------------------------

    async def workers(self) -> list[WorkerEntry]:
        """The workers that there are, by name. One that was killed is among them for up to a minute."""
        found: list[WorkerEntry] = []
        for data in await self._ports.directory.all():
            with suppress(DecodeError):  # anybody may write there
                found.append(decode_worker(data))
        return sorted(found, key=lambda entry: entry.worker_id)

    async def trigger_types(self) -> list[TriggerTypeView]:
        """The trigger types that workers provide, or did, by name."""
        return await trigger_type.trigger_types(self._ports, await self.workers())

    async def trigger_type(self, name: str) -> TriggerTypeView:
        """A trigger type. Raises NotFoundError, with near names."""
        return trigger_type.named(await self.trigger_types(), name)

    # -- queues and workflows --------------------------------------------------------------------------------

    async def queues(self) -> list[QueueView]:
        """Every queue that has tasks, had workers, or is named by a registered workflow."""
        return await queue.queue_views(self._ports, await self.workflows())

    async def queue(self, name: str) -> QueueView:
        """The queue of a task type. Raises NotFoundError, with near names."""
        views = {view.name: view for view in await self.queues()}
        if name not in views:
            hint = "" if views else "no workflow is registered yet, so there are no queues"
            raise NotFoundError("queue", name, near=near(name, views), hint=hint)
        return views[name]

    async def pause_queue(self, task: str, reason: str = "", *, by: str = "") -> None:
        """Hand out no task of a type until it is resumed. What workers have goes on.

        Raises:
            NotFoundError: Nothing uses that type.
            ConflictError: It is paused already, or is a worker group of a type.
        """
        queue.expect_whole(await self.queue(task))
        await queue.pause_task(self._ports, task, by=by, reason=reason)

    async def resume_queue(self, task: str, *, by: str = "") -> None:
        """Let a paused queue go on. Raises ConflictError when it is not paused."""
        await queue.resume_task(self._ports, task, by=by)

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
        """Limit the tasks of a type, whatever definitions say; gives what holds now.

        Args:
            task: The type.
            concurrency: How many may be in flight; 0 for what definitions say, None to leave it as it is.
            rate: How many may start in a `period`; likewise.
            period: See `rate`.
            by: Who does it.
            reason: Why.
        """
        queue.expect_whole(await self.queue(task))
        changes: dict[str, int] = {}
        if concurrency is not None:
            changes["concurrency"] = queue.positive("concurrency", concurrency)
        if rate is not None:
            changes["rate"] = queue.positive("rate", rate)
            changes["period_ns"] = _period_ns(period) if rate else 0
        return await queue.change_task(self._ports, task, by=by, reason=reason, **changes)

    async def workflow_limits(self, workflow: str) -> WorkflowLimited:
        """What operators have said of a workflow."""
        return await workflow_limit(self._ports.log, workflow)

    async def pause_workflow(self, workflow: str, reason: str = "", *, by: str = "") -> None:
        """Let no run of a workflow begin until it is resumed. Runs that have begun go on.

        Raises:
            NotFoundError: No such workflow is registered.
            ConflictError: It is paused already.
        """
        await self.workflow(workflow)
        await queue.pause_workflow(self._ports, workflow, by=by, reason=reason)

    async def resume_workflow(self, workflow: str, *, by: str = "") -> None:
        """Let runs of a paused workflow begin. Raises ConflictError when it is not paused."""
        await queue.resume_workflow(self._ports, workflow, by=by)

    async def limit_workflow(self, workflow: str, max_runs: int, *, by: str = "", reason: str = "") -> WorkflowLimited:
        """Let at most `max_runs` runs of a workflow go on at a time; 0 for what its definition says.

        Runs that went on before, of a workflow without any limit, are not counted: nothing had to remember them.

        Raises:
            NotFoundError: No such workflow is registered.
        """
        await self.workflow(workflow)
        most = queue.positive("max_runs", max_runs)
        return await queue.change_workflow(self._ports, workflow, most, by=by, reason=reason)

    # -- events ----------------------------------------------------------------------------------------------

    async def publish_event(self, type: str, body: Any = None, *, id: str = "") -> int:
        """Publish an event, for whatever waits for it, and give its place.

        Args:
            type: Its type: `payment.completed`.
            body: Anything with a JSON form.
            id: Chosen by the caller, to make it repeatable for as long as the server remembers ids.

        Raises:
            DagnatsError: The type cannot be published.
            FullError: The store has room only for the runs under way.
        """
        return await self.publish_event_json(type, json_bytes(body), id=id)

    async def publish_event_json(self, type: str, body: bytes, *, id: str = "") -> int:
        """`publish_event` with a body that is JSON already."""
        expect_event(type)
        body = accepted(body, what="the event's body")
        await self._ports.room.expect("an event", len(body))
        receipt = await self._ports.events.publish(type, body, id=id or secrets.token_hex(16))
        return receipt.seq

    # -- the control plane -----------------------------------------------------------------------------------

    async def audit(self) -> list[Audited]:
        """What runs have asked of the control plane in the last 90 days and what they were answered, oldest first."""
        found: list[Audited] = []
        for entry in await self._ports.log.read(AUDIT):
            with suppress(DecodeError):  # of a later version
                found.append(decode_audited(entry.data))
        return found

    # -- is it all as the log says ---------------------------------------------------------------------------

    async def verify(self, *, told: Callable[[int, int], None] | None = None) -> Verified:
        """Fold every run from its first event, and compare what was made of it.

        Args:
            told: Called now and then with how many runs are done, and how many there are.
        """
        return await verify(self._ports, told=told)

    async def repair(self, differences: Sequence[Difference]) -> list[Difference]:
        """Put right, from the log, what `verify` found; gives what had to be left.

        What is missing is made by the engine, which folds everything anew for that.
        """
        return await mend(self._ports, differences)


def expect_meant(workflow: str, after: Moment | None, before: Moment | None) -> None:
    """Raise DagnatsError unless somebody says which runs are tried again."""
    if not workflow and after is None and before is None:
        raise DagnatsError("which runs?", hint="name a workflow, or say when they were started")


def expect_event(type: str) -> None:
    """Raise DagnatsError for what cannot be an event's type."""
    if _EVENT.fullmatch(type) is None:
        raise DagnatsError(f"{type!r} cannot be an event's type", hint="write words joined by dots: payment.completed")


def _bound(moment: Moment, now_ns: int) -> int:
    """A moment as a bound of a window: 0 would be none, and what runs were started at fits 63 bits."""
    return min(max(instant_of(moment, now_ns=now_ns), 1), 2**63 - 1)


def _period_ns(period: timedelta | str) -> int:
    try:
        nanos = duration_nanos(parse_duration(duration_text(period)))
    except ValueError as error:
        raise DagnatsError(f"period: {error}") from None
    if not nanos:
        raise DagnatsError("a rate needs a period that is longer than nothing", hint="write '1s' or '1m'")
    return nanos
