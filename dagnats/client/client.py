"""`AsyncClient`: everything a program does with workflows and runs, over one connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagnats.client import waitpoint
from dagnats.client.checkup import Checked, checkup, mended
from dagnats.client.clean import DEFAULT, tidy
from dagnats.client.diagnose import diagnose
from dagnats.client.dispatcher import Dispatcher
from dagnats.client.health import Health, health
from dagnats.client.housekeeper import Housekeeper
from dagnats.client.moment import Moment, start_instant
from dagnats.client.opening import Closing
from dagnats.client.operator import Operator
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.reader import Reader
from dagnats.client.registrar import Registrar
from dagnats.client.run import RunHandle
from dagnats.client.start import Terms, begin, begin_new, check_input, expect_room, key_of, new_id
from dagnats.dsl.workflow import Workflow
from dagnats.errors import ConflictError, UnavailableError
from dagnats.model.definition import WorkflowDef
from dagnats.model.event import MAX_DEPTH, MAX_EVENTS, Start
from dagnats.model.identifier import is_workflow_name
from dagnats.runtime.blob import offloaded
from dagnats.runtime.limit import Hold, hold_of
from dagnats.runtime.loaded import ask_loaded
from dagnats.runtime.position import decode_position

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import timedelta

    from dagnats.client.clean import Category, Cleaned
    from dagnats.client.diagnosis import Finding
    from dagnats.client.view import RunView
    from dagnats.client.waitpoint import Waitpoint
    from dagnats.model.event import Parent
    from dagnats.runtime.loaded import Loaded
    from dagnats.runtime.ports import Connection, Holding, Sync

_HELD_S = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The server at a glance.

    Attributes:
        streams: How many streams there are of ours.
        runs: How many runs have a history.
        active_runs: How many of them have begun and not ended, as far as the engine is.
        configuration: What a `serve` has loaded; None where none says.
        holding: How full the store is; None where a server of an earlier version does not say.
        namespace: What the names on the NATS server have before them; "" for nothing.
    """

    streams: int
    runs: int
    active_runs: int
    configuration: Loaded | None = None
    holding: Holding | None = None
    namespace: str = ""


class AsyncClient(Closing, Registrar, Reader, Operator, Dispatcher, Housekeeper):
    """An open client. Get one from `dagnats.connect()`; it is closed by `async with`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._ports = connection.ports
        self._holds: dict[str, Hold] = {}  # by workflow, as they were when somebody asked last
        self._held: dict[tuple[str, str], float] = {}  # versions, and when each was last known to be renewed

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()

    # -- runs ------------------------------------------------------------------------------------------------

    async def start(
        self,
        workflow: Workflow | str,
        input: Any = None,
        *,
        run_id: str = "",
        idempotency_key: str = "",
        at: Moment | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        max_depth: int = MAX_DEPTH,
        max_events: int = MAX_EVENTS,
        by: str = "",
    ) -> RunHandle:
        """Start a run. When this returns, the start is in the log and will be carried out.

        Args:
            workflow: A registered workflow's name, or the workflow (its registered definition counts).
            input: Any value with a JSON form: builtins, pydantic models, dataclasses, msgspec Structs.
            run_id: Chosen by the caller, to make the start repeatable; made up when left out.
            idempotency_key: Starts of a workflow with the same key give the same run, for a day, instead of what the
                definition's own `idempotency_key` finds in the input.
            at: When the run is to begin, at most a year ahead: a datetime, a timedelta, or text such as `"+10m"`.
            labels: Shown with the run; lists filter by them.
            priority: While a limit of the workflow holds it, it goes before those that came up to so many seconds
                earlier: -600 to 600, instead of what the definition's `priority` gives.
            max_depth: How many runs may be above one that a step of it starts, counting from the first.
            max_events: How long its history may become; then it fails.
            by: Who starts it, for people.

        Raises:
            NotFoundError: No such workflow is registered.
            InputError: The input breaks the workflow's `input_schema`, or has no idempotency key; nothing was stored.
            ConflictError: The run id is taken by a run of another workflow or input.
            CodecError: The input has no JSON form.
            RefusedError: The input is larger than 64 MiB, or has a key that DagNats keeps for itself.
            FullError: The store has room only for the runs under way; nothing was stored.
        """
        name, data = name_of(workflow), json_bytes(input)
        # Asked at the same time: a start that comes after a pause sees it, and takes no longer for that.
        known = not (run_id or idempotency_key)
        definition, hold = await asyncio.gather(self.workflow(name), self._hold_on(name, known=known))
        terms = Terms(labels=labels, priority=priority, max_depth=max_depth, max_events=max_events, by=by)
        return await self._start(
            definition, data, hold, run_id=run_id, idempotency_key=idempotency_key, at=at, terms=terms
        )

    async def start_json(
        self,
        definition: WorkflowDef,
        input: bytes,
        *,
        run_id: str = "",
        idempotency_key: str = "",
        at: Moment | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        max_depth: int = MAX_DEPTH,
        max_events: int = MAX_EVENTS,
        by: str = "",
        parent: Parent | None = None,
    ) -> RunHandle:
        """Start a run of a registered definition with input that is JSON already. Raises like `start`.

        Args:
            parent: The step that starts it, where it belongs to a tree of runs.
        """
        hold = await self._hold_on(definition.name, known=not (run_id or idempotency_key))
        terms = Terms(
            labels=labels, priority=priority, max_depth=max_depth, max_events=max_events, by=by, parent=parent
        )
        return await self._start(
            definition, input, hold, run_id=run_id, idempotency_key=idempotency_key, at=at, terms=terms
        )

    async def _hold_on(self, name: str, *, known: bool = False) -> Hold:
        """What holds back a workflow's runs: as far as is `known`, where the log then refuses what is out of date."""
        if not is_workflow_name(name):
            return Hold(held=False, last=0)
        hold = self._holds.get(name) if known else None
        if hold is None:
            hold = self._holds[name] = await hold_of(self._ports.log, name)
        return hold

    async def _start(
        self,
        definition: WorkflowDef,
        input: bytes,
        hold: Hold,
        *,
        run_id: str,
        idempotency_key: str,
        at: Moment | None,
        terms: Terms,
    ) -> RunHandle:
        import msgspec

        terms.check()
        data, is_made_up, run_id = accepted(input, what="the run's input"), not run_id, new_id(run_id)
        check_input(definition, data)
        key = key_of(definition, data, idempotency_key)
        run_at_ns = start_instant(at, now_ns=self._ports.clock.now_ns()) if at is not None else 0
        # Whoever has claimed the key may have stopped before its start was stored: then ours takes its place.
        owner = await self._ports.claims.claim(key, run_id) if key else run_id
        if terms.parent is None:  # what belongs to a tree of runs is part of a run under way
            await expect_room(self._ports, "" if is_made_up and not key else owner, len(data))
        await self._hold(definition)
        if key and is_made_up and not idempotency_key:
            hold = await self._hold_on(definition.name)
        start = Start(
            workflow=definition.name,
            def_hash=definition.identity,
            input=msgspec.Raw(await offloaded(self._ports, owner, data, what="the run's input")),
            labels=dict(terms.labels or {}),
            run_at_ns=run_at_ns,
            max_events=terms.max_events,
            max_depth=terms.max_depth,
            priority=terms.priority,
            by=terms.by,
            parent=terms.parent,
            key=key,
        )
        if is_made_up and not key:
            begun = await self._begin_new(start, hold, run_id)
        else:
            begun = await begin(self._ports, hold.recorded(start), run_id=owner, any_will_do=owner != run_id)
        return RunHandle(self._ports, owner, begun=begun)

    async def _begin_new(self, start: Start, hold: Hold, run_id: str) -> int:
        """Begin a run whose id is nobody else's; what is known of the workflow's limits is found out anew as needed."""
        while True:
            try:
                return await begin_new(self._ports, start, hold, run_id=run_id)
            except ConflictError:
                hold = await self._hold_on(start.workflow)

    async def _hold(self, definition: WorkflowDef) -> None:
        """Have the version stored that a run is about to be pinned to, and keep it from being removed."""
        key, now_s = (definition.name, definition.identity), asyncio.get_running_loop().time()
        if now_s - self._held.get(key, -_HELD_S) >= _HELD_S:
            await self._ports.definitions.add_version(*key, definition.stored)
            self._held[key] = now_s

    async def run(self, workflow: Workflow | str, input: Any = None, *, run_id: str = "") -> Any:
        """Start a run and wait for its output. Raises like `start` and `RunHandle.result`."""
        handle = await self.start(workflow, input, run_id=run_id)
        return await handle.result()

    async def diagnose(self, run_id: str) -> tuple[RunView, list[Finding]]:
        """A run, and what holds it. Raises NotFoundError."""
        return await diagnose(self, self.handle(run_id))

    async def waitpoints(self, *, workflow: str = "", limit: int = 1_000) -> list[Waitpoint]:
        """The waitpoints of the newest `limit` runs that go on, the oldest waitpoint first."""
        return await waitpoint.waitpoints(self, workflow=workflow, limit=limit)

    async def waitpoint(self, run_id: str, step: str = "") -> Waitpoint:
        """One waitpoint; without a step, the one that its run waits at. Raises NotFoundError and ConflictError."""
        return await waitpoint.waitpoint(self, run_id, step)

    async def checkup(self, *, fix: bool = False, by: str = "", asked_sync: Sync = "interval") -> Checked:
        """What is wrong with the whole. Takes as long as a lease lasts when no engine leads.

        Args:
            fix: Put right what a command alone can.
            by: Who does it.
            asked_sync: When the server's writes should be on disk.
        """
        found = await checkup(self, asked_sync=asked_sync)
        wrong = [each for each in found if fix and each.grade == "wrong"]
        return Checked(found, [each for each in wrong if await mended(self, each, by=by)])

    async def clean(
        self,
        categories: Collection[Category] = DEFAULT,
        *,
        older_than: timedelta | str = "",
        before: Moment | None = None,
        include_running: bool = False,
        dry_run: bool = False,
        measured: bool = False,
        by: str = "",
        told: Callable[[int, int], None] | None = None,
    ) -> Cleaned:
        """Remove what is over: each run with everything of its own. The same again removes what is left.

        Args:
            categories: Of what: `runs`, `dlq`, `otel`, `defs`.
            older_than: Only what is older than that.
            before: Only what came before then, in place of `older_than`.
            include_running: Also runs that go on: they are cancelled first.
            dry_run: Remove nothing; only say how much it would be.
            measured: Say where it lies and how large it is, too, which takes reading every history.
            by: Who does it.
            told: Called now and then with how many runs are done, and of how many.
        """
        return await tidy(
            self,
            categories,
            older_than=older_than,
            before=before,
            include_running=include_running,
            dry_run=dry_run,
            measured=measured,
            by=by,
            told=told,
        )

    async def health(self) -> Health:
        """How the whole does. Takes as long as a lease lasts when no engine leads."""
        return await health(self)

    async def status(self) -> ServerStatus:
        """The server at a glance."""
        server = self._ports.server
        overview, holding = await asyncio.gather(server.overview(), server.holding())
        stored = await self._ports.position.read()
        position = decode_position(stored.data) if stored is not None else None
        loaded: Loaded | None = None
        with suppress(UnavailableError):  # who should answer does not; the rest is known all the same
            loaded = await ask_loaded(self._ports.inquiries)
        active = position.active if position is not None else 0
        return ServerStatus(
            overview.streams, overview.runs, active, loaded, holding=holding, namespace=overview.namespace
        )


def name_of(workflow: Workflow | str) -> str:
    """A workflow's name."""
    return workflow if isinstance(workflow, str) else workflow.name
