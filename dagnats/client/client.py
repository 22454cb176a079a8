"""`AsyncClient`: everything a program does with workflows and runs, over one connection."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from dagnats.client import listing, waitpoint
from dagnats.client.checkup import Checked, checkup, mended
from dagnats.client.clean import DEFAULT, tidy
from dagnats.client.deletion import delete_workflow
from dagnats.client.diagnose import diagnose
from dagnats.client.health import Health, health
from dagnats.client.housekeeper import Housekeeper
from dagnats.client.imported import imported_ids, imported_run
from dagnats.client.logs import log_query, run_logs
from dagnats.client.moment import Moment, start_instant
from dagnats.client.operator import Operator
from dagnats.client.payload import accepted
from dagnats.client.portable import exported
from dagnats.client.rehearsal import rehearse
from dagnats.client.run import RunHandle, json_bytes
from dagnats.client.start import begin, begin_new, check_input, expect_room, key_of, new_id
from dagnats.client.trace import trace
from dagnats.dsl.workflow import Workflow
from dagnats.errors import ConflictError, DagnatsError, DefinitionError, NotFoundError, Problem, UnavailableError
from dagnats.model.check import advice, load_definition
from dagnats.model.definition import WorkflowDef
from dagnats.model.event import Start
from dagnats.model.identifier import is_run_id, is_scoped, is_workflow_name, near
from dagnats.model.json import compact
from dagnats.model.summary import RunQuery
from dagnats.runtime.blob import offloaded
from dagnats.runtime.limit import Hold, hold_of
from dagnats.runtime.loaded import ask_loaded
from dagnats.runtime.position import decode_position
from dagnats.runtime.triggers.book import settle_triggers
from dagnats.runtime.triggers.check import trigger_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType

    from dagnats.client.clean import Category, Cleaned
    from dagnats.client.diagnosis import Finding
    from dagnats.client.portable import Document
    from dagnats.client.rehearsal import Rehearsal
    from dagnats.client.view import RunView
    from dagnats.client.waitpoint import Waitpoint
    from dagnats.model.event import Parent
    from dagnats.runtime.loaded import Loaded
    from dagnats.runtime.ports import Connection, Holding, Stored, Sync
    from dagnats.runtime.telemetry.entry import LogEntry
    from dagnats.runtime.telemetry.span import Span

SHORTEST_PREFIX = 8
_MOST_NAMED = 10
_HELD_S = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Registration:
    """What registering did.

    Attributes:
        name: The workflow.
        identity: The definition's content hash.
        action: `created`, `updated`, or `unchanged` when this content was the newest already, triggers included.
        definition: What is registered now.
        previous: What was the newest before, or None.
    """

    name: str
    identity: str
    action: Literal["created", "updated", "unchanged"]
    definition: WorkflowDef
    previous: WorkflowDef | None


@dataclass(frozen=True, slots=True)
class Version:
    """A definition that was registered at some time.

    Attributes:
        definition: Its content, without triggers.
        registered_ns: When it was registered first, in nanoseconds since 1970.
        newest: Whether runs that are started now follow it.
    """

    definition: WorkflowDef
    registered_ns: int
    newest: bool


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The server at a glance.

    Attributes:
        streams: How many streams JetStream holds.
        runs: How many runs have a history.
        active_runs: How many of them have begun and not ended, as far as the engine is.
        configuration: What a `serve` has loaded; None where none says.
        holding: How full the store is; None where a server of an earlier version does not say.
    """

    streams: int
    runs: int
    active_runs: int
    configuration: Loaded | None = None
    holding: Holding | None = None


class AsyncClient(Operator, Housekeeper):
    """An open client. Get one from `dagnats.connect()`; it is closed by `async with`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._ports = connection.ports
        self._holds: dict[str, Hold] = {}  # by workflow, as they were when somebody asked last
        self._held: dict[tuple[str, str], float] = {}  # versions, and when each was last known to be renewed

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # -- workflows -------------------------------------------------------------------------------------------

    async def register(self, workflow: Workflow | WorkflowDef | bytes | str) -> Registration:
        """Make a definition the newest of its name, with its triggers. Runs under way keep theirs.

        Args:
            workflow: A workflow, its built definition, or its JSON.

        Raises:
            DefinitionError: It is not valid, runs a workflow that is not registered, or has a trigger that cannot be;
                nothing was stored.
        """
        (registration,) = await self.register_all([definition_of(workflow)])
        return registration

    async def register_all(self, definitions: Sequence[WorkflowDef], *, dry_run: bool = False) -> list[Registration]:
        """Register definitions that may run each other as children, one after the other.

        Args:
            definitions: Of different names.
            dry_run: Store nothing; only say what would be done.

        Raises:
            DefinitionError: The first one that runs a workflow that is neither registered nor here, or has a trigger
                that cannot be; nothing was stored.
        """
        for definition in definitions:
            expect_plain(definition)
        await self._expect_fit(definitions)
        return [await self._register(definition, dry_run) for definition in definitions]

    async def register_scoped(self, definition: WorkflowDef) -> Registration:
        """Register a definition under a name that the control plane has given it."""
        return await self._register(definition, dry_run=False)

    async def _expect_fit(self, definitions: Sequence[WorkflowDef]) -> None:
        triggers = await trigger_problems(self._ports, definitions)
        known = [definition.name for definition in definitions]
        if any(_unknown(definition, known) for definition in definitions):  # hardly ever: most run no others
            known += await self._ports.definitions.names()
        for definition in definitions:
            problems = [*_unknown(definition, known), *triggers.get(definition.name, ())]
            if problems:
                raise DefinitionError(problems, name=definition.name)

    async def _register(self, definition: WorkflowDef, dry_run: bool) -> Registration:
        registration = await self._store(definition, dry_run)
        if not dry_run and (_has_external(definition) or _has_external(registration.previous)):
            await settle_triggers(self._ports, definition.name)
        return registration

    async def _store(self, definition: WorkflowDef, dry_run: bool) -> Registration:
        data, identity = _document(definition), definition.identity
        definitions = self._ports.definitions
        while True:
            stored = await definitions.newest(definition.name)
            previous = _readable(stored)
            if previous is not None and _document(previous) == data:
                return Registration(definition.name, identity, "unchanged", definition, previous)
            action: Literal["created", "updated"] = "created" if stored is None else "updated"
            if dry_run:
                return Registration(definition.name, identity, action, definition, previous)
            if previous is not None:  # runs that are being started by it go on needing it
                await definitions.add_version(previous.name, previous.identity, previous.stored)
            # The version first: a run that is started by the name must find it.
            await definitions.add_version(definition.name, identity, definition.stored)
            try:
                await definitions.set_newest(
                    definition.name, data, revision=stored.revision if stored is not None else 0
                )
            except ConflictError:
                continue  # somebody else registered this name just now
            return Registration(definition.name, identity, action, definition, previous)

    async def workflow(self, name: str) -> WorkflowDef:
        """The newest definition of a name. Raises NotFoundError, with near names."""
        stored = await self._ports.definitions.newest(name) if is_workflow_name(name) else None
        if stored is None:
            names = await self._ports.definitions.names()
            hint = "" if names else "none is registered yet: `dagnats register` compiles and stores workflows"
            raise NotFoundError("workflow", name, near=near(name, names), hint=hint)
        return _loaded(stored.data)

    async def versions(self, name: str) -> list[Version]:
        """Every version of a name, the last registered first; what this version of DagNats cannot read is left out.

        Raises:
            NotFoundError: No such workflow is registered.
        """
        newest = (await self.workflow(name)).identity
        found = await self._ports.definitions.versions(name)
        stored = sorted(found.values(), key=lambda one: (one.time_ns, one.revision), reverse=True)
        read = [(definition, one.time_ns) for one in stored if (definition := _readable(one)) is not None]
        return [Version(definition, time_ns, definition.identity == newest) for definition, time_ns in read]

    async def version(self, name: str, prefix: str) -> WorkflowDef:
        """The one version of a name whose hash is, or begins with, `prefix`.

        Raises:
            NotFoundError: None does.
            ConflictError: Several do; the message lists them.
        """
        found = await self._ports.definitions.versions(name)
        fitting = sorted(identity for identity in found if identity.startswith(prefix))
        if not fitting:
            hint = f"`dagnats workflow versions {name}` lists those there are" if found else ""
            raise NotFoundError("version", f"{name}@{prefix}", hint=hint)
        if len(fitting) > 1:
            listed = ", ".join(fitting[:_MOST_NAMED])
            raise ConflictError(f"{prefix!r} is the beginning of {len(fitting)} versions of {name!r}: {listed}")
        return load_definition(found[fitting[0]].data)

    async def workflows(self) -> list[WorkflowDef]:
        """The newest definition of every name, by name; what this version cannot read is left out."""
        names = await self._ports.definitions.names()
        stored = await asyncio.gather(*(self._ports.definitions.newest(name) for name in names))
        return [definition for definition in map(_readable, stored) if definition is not None]

    async def delete_workflow(self, name: str) -> WorkflowDef:
        """Forget the name of a workflow, and give what it was. Its versions stay for as long as runs of them are kept.

        Raises:
            NotFoundError: No such workflow is registered.
            ConflictError: Another workflow runs it, or somebody has registered it anew just now.
        """
        return await delete_workflow(self, name)

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
        return await self._start(
            definition, data, hold, run_id=run_id, idempotency_key=idempotency_key, at=at, labels=labels, by=by
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
        by: str = "",
        parent: Parent | None = None,
    ) -> RunHandle:
        """Start a run of a registered definition with input that is JSON already. Raises like `start`.

        Args:
            parent: The step that starts it, where it belongs to a tree of runs.
        """
        hold = await self._hold_on(definition.name, known=not (run_id or idempotency_key))
        return await self._start(
            definition,
            input,
            hold,
            run_id=run_id,
            idempotency_key=idempotency_key,
            at=at,
            labels=labels,
            by=by,
            parent=parent,
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
        labels: Mapping[str, str] | None,
        by: str,
        parent: Parent | None = None,
    ) -> RunHandle:
        import msgspec

        data, is_made_up, run_id = accepted(input, what="the run's input"), not run_id, new_id(run_id)
        check_input(definition, data)
        key = key_of(definition, data, idempotency_key)
        run_at_ns = start_instant(at, now_ns=self._ports.clock.now_ns()) if at is not None else 0
        # Whoever has claimed the key may have stopped before its start was stored: then ours takes its place.
        owner = await self._ports.claims.claim(key, run_id) if key else run_id
        if parent is None:  # what belongs to a tree of runs is part of a run under way
            await expect_room(self._ports, "" if is_made_up and not key else owner, len(data))
        await self._hold(definition)
        if key and is_made_up and not idempotency_key:
            hold = await self._hold_on(definition.name)
        start = Start(
            workflow=definition.name,
            def_hash=definition.identity,
            input=msgspec.Raw(await offloaded(self._ports, owner, data, what="the run's input")),
            labels=dict(labels or {}),
            run_at_ns=run_at_ns,
            held=hold.held,
            by=by,
            parent=parent,
        )
        if is_made_up and not key:
            begun = await self._begin_new(start, hold, run_id)
        else:
            begun = await begin(self._ports, start, run_id=owner, any_will_do=owner != run_id)
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

    def handle(self, run_id: str) -> RunHandle:
        """A handle on a run, by its full id; nothing is asked yet.

        Raises:
            NotFoundError: No run can have this id. A wildcard would stand for other people's runs.
        """
        if not is_run_id(run_id):
            raise NotFoundError("run", run_id)
        return RunHandle(self._ports, run_id)

    async def find(self, prefix: str) -> RunHandle:
        """The one run whose id is, or begins with, `prefix`.

        Raises:
            NotFoundError: None does.
            ConflictError: Several do; the message lists them.
            DagnatsError: The prefix is too short to mean one run.
        """
        if is_run_id(prefix) and await self._ports.log.first(prefix):
            return self.handle(prefix)
        if is_run_id(prefix) and (imported := await imported_run(self._ports, prefix)) is not None:
            return imported
        if len(prefix) < SHORTEST_PREFIX:
            raise too_short(prefix)
        found = await listing.ids(self._ports, prefix)
        imports = await imported_ids(self._ports)
        others = [run_id for run_id in imports if run_id.startswith(prefix) and run_id not in found]
        found += others
        if not found:
            raise NotFoundError("run", prefix)
        if len(found) > 1:
            raise ambiguous(prefix, found)
        return (await imported_run(self._ports, found[0]) if others else None) or self.handle(found[0])

    async def newest(self) -> RunHandle:
        """The run that was started last. Raises NotFoundError when there is none."""
        page = await listing.page(self._ports, RunQuery(limit=1))
        for run in page.runs:
            return self.handle(run.run_id)
        raise NotFoundError("run", "newest", hint="start one with `dagnats run start`")

    async def diagnose(self, run_id: str) -> tuple[RunView, list[Finding]]:
        """A run, and what holds it. Raises NotFoundError."""
        return await diagnose(self, self.handle(run_id))

    async def reach(self, run_id: str) -> RunHandle:
        """A handle on a run by its full id, one that was imported included. Raises NotFoundError, as it is used."""
        handle = self.handle(run_id)
        if await self._ports.log.first(run_id):
            return handle
        return await imported_run(self._ports, run_id) or handle

    async def run_logs(
        self, run_id: str, *, level: str = "", service: str = "", text: str = "", limit: int = 1_000
    ) -> list[LogEntry]:
        """The last lines about a run, by its handlers and by the system, oldest first. Takes what `logs` does.

        Raises:
            NotFoundError: There is no such run.
        """
        view = await (await self.reach(run_id)).view()
        query = log_query(level=level, service=service, run_id=view.run_id, text=text)
        return await run_logs(self._ports, query, begun_ns=view.created_ns, ended_ns=view.ended_ns, limit=limit)

    async def trace(self, run_id: str) -> list[Span]:
        """The spans of a run and of those below it, by their starts. Raises NotFoundError."""
        return await trace((await self.reach(run_id)).ports, run_id)

    async def rehearse(self, run_id: str, definition: WorkflowDef | None = None) -> Rehearsal:
        """Fold a run's history once more, and compare. Nothing is done, and nothing is stored.

        Args:
            definition: By this one instead of the run's own, to find where it would have decided otherwise.

        Raises:
            NotFoundError: There is no such run.
            BlobLost: A payload that a decision looks into is not stored any more.
        """
        return await rehearse((await self.reach(run_id)).ports, run_id, definition)

    async def export_run(self, run_id: str, *, children: bool = False) -> Document:
        """A run's whole history as a document that `import_runs` takes in elsewhere.

        Args:
            children: With the runs that it has started, and those that these have started.

        Raises:
            NotFoundError: There is no such run.
        """
        return await exported((await self.reach(run_id)).ports, run_id, children=children)

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
        return ServerStatus(overview.streams, overview.runs, active, loaded, holding)


def too_short(prefix: str) -> DagnatsError:
    """The error for a beginning that may mean too many runs."""
    hint = f"give at least {SHORTEST_PREFIX} characters of it"
    return DagnatsError(f"{prefix!r} is too short for a run id", hint=hint)


def ambiguous(prefix: str, run_ids: Sequence[str]) -> ConflictError:
    """The error for a beginning of several ids."""
    listed = ", ".join(sorted(run_ids)[:_MOST_NAMED])
    more = f" and {len(run_ids) - _MOST_NAMED} more" if len(run_ids) > _MOST_NAMED else ""
    return ConflictError(f"{prefix!r} is the beginning of {len(run_ids)} run ids: {listed}{more}")


_loaded = lru_cache(maxsize=128)(load_definition)  # each start asks which one is the newest, and it seldom changes


def definition_of(workflow: Workflow | WorkflowDef | bytes | str) -> WorkflowDef:
    """What is to be registered. Raises DefinitionError."""
    if isinstance(workflow, Workflow):
        return workflow.build()
    return workflow if isinstance(workflow, WorkflowDef) else load_definition(workflow)


def expect_plain(definition: WorkflowDef) -> None:
    """Raise DefinitionError for a name that only the control plane gives."""
    if is_scoped(definition.name):
        message = f"{definition.name!r} is a name that runs are given for what they register"
        raise DefinitionError([Problem("name", "identifier", message)], name=definition.name)


def name_of(workflow: Workflow | str) -> str:
    """A workflow's name."""
    return workflow if isinstance(workflow, str) else workflow.name


def _unknown(definition: WorkflowDef, known: Collection[str]) -> list[Problem]:
    """The children it runs that nobody knows: a warning in a file, an error here."""
    return [problem for problem in advice(definition, known) if problem.rule == "unknown-workflow"]


def _has_external(definition: WorkflowDef | None) -> bool:
    return definition is not None and any(trigger.external for trigger in definition.triggers)


def _document(definition: WorkflowDef) -> bytes:
    """What the name points at: the content, and the triggers, which are no part of it."""
    return compact(definition.model_dump(mode="json", exclude_defaults=True))


def _readable(stored: Stored | None) -> WorkflowDef | None:
    """A stored definition; None for one that another program or a later version has written."""
    try:
        return _loaded(stored.data) if stored is not None else None
    except DefinitionError:
        return None
