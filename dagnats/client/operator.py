"""What operators do with many runs at once, and with dead letters; and events, which are for any run: a part of
`AsyncClient`."""

from __future__ import annotations

import re
import secrets
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from dagnats.client import bulk, letter, listing
from dagnats.client.bulk import Done, Live, Mode
from dagnats.client.inquirer import Inquirer, Which, bounds, query_of
from dagnats.client.moment import Moment
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.scan import Window
from dagnats.errors import DagnatsError, NotFoundError
from dagnats.model.identifier import EVENT, near
from dagnats.model.summary import RunQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dagnats.client.letter import DeadLetter
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.run import RunStatus
    from dagnats.model.summary import RunPage, Tally
    from dagnats.runtime.ports import Ports

_CHUNK = 256
_EVENT = re.compile(EVENT)


class Operator(Inquirer):
    """Calls that concern more than one run."""

    _ports: Ports

    @abstractmethod
    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name."""

    # -- many runs -------------------------------------------------------------------------------------------

    async def page_of(self, which: Which, *, below: int = 0, limit: int = 50) -> RunPage:
        """`page`, as one value says it."""
        query = query_of(which, now_ns=self._ports.clock.now_ns(), below=below, limit=limit)
        return await listing.page(self._ports, query)

    async def count_of(self, which: Which) -> list[Tally]:
        """`count`, as one value says it."""
        return await listing.count(self._ports, query_of(which, now_ns=self._ports.clock.now_ns()))

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
        return Window(workflow, *bounds(after, before, now_ns=self._ports.clock.now_ns()))

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


def expect_meant(workflow: str, after: Moment | None, before: Moment | None) -> None:
    """Raise DagnatsError unless somebody says which runs are tried again."""
    if not workflow and after is None and before is None:
        raise DagnatsError("which runs?", hint="name a workflow, or say when they were started")


def expect_event(type: str) -> None:
    """Raise DagnatsError for what cannot be an event's type."""
    if _EVENT.fullmatch(type) is None:
        raise DagnatsError(f"{type!r} cannot be an event's type", hint="write words joined by dots: payment.completed")
