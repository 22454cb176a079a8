"""What operators do with many runs at once, and with dead letters; and events: a part of `HttpClient`."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.client import bulk
from dagnats.client.bulk import Done, Live, Mode
from dagnats.client.document.letter import LetterDocument, letter_of
from dagnats.client.document.listed import ListedRunDocument, summary_of
from dagnats.client.http.read import moment_text, read
from dagnats.client.http.wire import path_of
from dagnats.client.inquirer import Inquirer, Which
from dagnats.client.operator import expect_event, expect_meant
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.start import new_id
from dagnats.model.run import RunStatus
from dagnats.model.summary import MOST, RunPage, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagnats.client.http.wire import Wire
    from dagnats.client.letter import DeadLetter
    from dagnats.client.moment import Moment
    from dagnats.model.definition import WorkflowDef

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


class HttpOperator(Inquirer):
    """Calls that concern more than one run. What they do: see `Operator`."""

    _wire: Wire

    @abstractmethod
    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name."""

    # -- many runs -------------------------------------------------------------------------------------------

    async def page_of(self, which: Which, *, below: int = 0, limit: int = 50) -> RunPage:
        """`page`, as one value says it."""
        said = {**_said(which), "cursor": below, "limit": min(limit, MOST)}
        told = await self._wire.get(path_of("runs"), said)
        return RunPage(runs=tuple(map(summary_of, read(told, list[ListedRunDocument]))), more="next" in told.links)

    async def count_of(self, which: Which) -> list[Tally]:
        """`count`, as one value says it."""
        found = read(await self._wire.get(path_of("runs", "count"), _said(which)), _Count)
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


def _said(which: Which) -> dict[str, Any]:
    """Which runs are meant, as the query says it: what says nothing is left out."""
    terms = {name: getattr(which, name) for name in ("workflow", "status", "parent", "error", "prefix")}
    labels = [f"{name}={value}" for name, value in (which.labels or {}).items()]
    return {name: text for name, text in terms.items() if text} | {"label": labels} | _times(which.after, which.before)


def _times(after: Moment | None, before: Moment | None) -> dict[str, str]:
    return {name: moment_text(moment) for name, moment in (("after", after), ("before", before)) if moment is not None}


def _told(done: list[Done], told: Callable[[int], None] | None) -> list[Done]:
    if told is not None:
        told(len(done))
    return done
