"""Decides what runs may register and start. Workers are believed nothing but that they ask.

Whoever asks proves with a nonce that it was handed the attempt, and the log says whether that attempt still goes on and
of which workflow it is. Every answer is audited, a no as well.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import msgspec

from dagnats.errors import (
    ConflictError,
    ControlPlaneError,
    DagnatsError,
    DefinitionError,
    DeniedError,
    DepthExceededError,
    InputError,
    InvalidDefError,
    InvalidInputError,
    NamespaceError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnresolvableNameError,
)
from dagnats.model.audit import Audited
from dagnats.model.check import load_definition
from dagnats.model.event import Parent
from dagnats.model.identifier import is_scoped, near, root_of
from dagnats.model.instant import rfc3339
from dagnats.model.json import NULL, compact
from dagnats.model.payload import payload_problems
from dagnats.model.step import SubWorkflowStep
from dagnats.model.task import Task
from dagnats.runtime.blob import refuse
from dagnats.runtime.fence import over
from dagnats.runtime.plane import nonce
from dagnats.runtime.plane.book import Book
from dagnats.runtime.plane.request import (
    BUDGET,
    REGISTER,
    START,
    Answer,
    Opening,
    Registration,
    Request,
    read_request,
    refusal,
)
from dagnats.runtime.standing import standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagnats.config.policy import ControlPlane
    from dagnats.model.audit import Deed
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.run import Run
    from dagnats.runtime.plane.book import Account
    from dagnats.runtime.plane.charter import Charter
    from dagnats.runtime.ports import Ports

log = logging.getLogger("dagnats.plane")

R = TypeVar("R", bound=Request)

_encode = msgspec.json.Encoder().encode
_registration = msgspec.json.Decoder(Registration)
_opening = msgspec.json.Decoder(Opening)
_request = msgspec.json.Decoder(Request)


class Registrar(Protocol):
    """A client, seen from here."""

    async def register_scoped(self, definition: WorkflowDef) -> object: ...

    async def workflow(self, name: str) -> WorkflowDef: ...

    async def start_json(
        self, definition: WorkflowDef, input: bytes, *, run_id: str = "", by: str = "", parent: Parent | None = None
    ) -> object: ...


class Asker(NamedTuple):
    """An attempt that may ask.

    Attributes:
        run: Its run.
        root: The first run of the tree.
        depth: How many runs are above its own.
    """

    run: Run
    root: str
    depth: int


def open_plane(ports: Ports, client: Registrar, policy: ControlPlane | Charter) -> Callable[[], None]:
    """Answer what runs ask of the control plane; what is returned ends it."""
    office = Office(ports, client, policy)
    questions = ((REGISTER, office.register), (START, office.start), (BUDGET, office.budget))
    ends = [ports.inquiries.answer(question, reply) for question, reply in questions]

    def end() -> None:
        for each in ends:
            each()

    return end


class Office:
    """The control plane of one server. Another server's may answer the same request: the log makes them agree.

    Args:
        client: Registers and starts.
        policy: Who is granted what.
    """

    def __init__(self, ports: Ports, client: Registrar, policy: ControlPlane | Charter) -> None:
        self._ports = ports
        self._client = client
        self._policy = policy
        self._book = Book(ports)

    async def register(self, data: bytes) -> bytes:
        """Answer a `Registration`."""
        return await self._answer("register", _registration, data, self._register)

    async def start(self, data: bytes) -> bytes:
        """Answer an `Opening`."""
        return await self._answer("start", _opening, data, self._start)

    async def budget(self, data: bytes) -> bytes:
        """Answer a `Request` for the budget."""
        return await self._answer("budget", _request, data, self._budget)

    async def _answer(
        self,
        action: Deed,
        decoder: msgspec.json.Decoder[R],
        data: bytes,
        work: Callable[[R, Asker], Awaitable[Answer]],
    ) -> bytes:
        try:
            asked = read_request(decoder, data)
        except ControlPlaneError as error:  # nobody says who asks
            log.warning("%s: %s", action, error)
            return refusal(error)
        asker: Asker | None = None
        try:
            asker = await self._admitted(asked)
            return _encode(await work(asked, asker))
        except ControlPlaneError as error:
            why = str(error).partition("\n")[0]  # what follows may quote a definition, or an input
            log.warning("%s for step %r of run %s: %s", action, asked.step_id, asked.run_id, why)
            said = {"name": _wanted(asked), "kind": error.kind, "reason": why}
            await self._book.note(self._audited(action, asked, asker, granted=False, **said), _id(asked))
            return refusal(error)

    def _audited(self, action: Deed, asked: Request, asker: Asker | None, *, granted: bool, **said: Any) -> Audited:
        return Audited(
            action=action,
            granted=granted,
            timestamp=rfc3339(self._ports.clock.now_ns()),
            run_id=asked.run_id,
            step_id=asked.step_id,
            attempt=asked.attempt,
            workflow=asker.run.workflow_id if asker is not None else "",
            root=asker.root if asker is not None else "",
            **said,
        )

    # -- who asks --------------------------------------------------------------------------------------------

    async def _admitted(self, asked: Request) -> Asker:
        """The attempt that asks. Raises ControlPlaneError for one that may not."""
        key = await self._ports.secrets.key(nonce.KEY)
        if not nonce.is_dispatch_nonce(key, asked.run_id, asked.step_id, asked.attempt, asked.nonce):
            raise DeniedError("the request does not prove that it comes from this attempt")
        run = await self._run(asked.run_id)
        why = over(run, Task(run_id=asked.run_id, step_id=asked.step_id, attempt=asked.attempt))
        if why:
            raise DeniedError(why)
        if run.workflow_id not in self._policy.grant:
            hint = "policy.control_plane.grant of the server's configuration names those that are"
            raise DeniedError(f"workflow {run.workflow_id!r} is not granted the control plane", hint=hint)
        above = run.parent
        return Asker(run, above.root, above.depth) if above is not None else Asker(run, run.run_id, 0)

    async def _run(self, run_id: str) -> Run:
        try:
            _, run = await standing(self._ports, run_id)
        except UnavailableError:
            raise
        except DagnatsError as error:
            raise DeniedError(str(error)) from None
        return run

    # -- registering -----------------------------------------------------------------------------------------

    async def _register(self, asked: Registration, asker: Asker) -> Answer:
        definition = _definition(bytes(asked.definition))
        space = "promoted" if asker.run.workflow_id in self._policy.promote else f"agent.{asker.root}"
        account = await self._book.account(asker.root)
        scoped = _renamed(definition, space, account)
        _expect_in_space(scoped, space)
        await self._expect_known(scoped)

        async def decide(account: Account) -> Audited | None:
            if account.names.get(scoped.name) == scoped.identity:
                return None
            self._expect_room(account, scoped.name)
            said = {"name": scoped.name, "identity": scoped.identity}
            return self._audited("register", asked, asker, granted=True, **said)

        await self._book.enter(asker.root, decide)
        await self._client.register_scoped(scoped)
        return Answer(name=scoped.name)

    async def _expect_known(self, definition: WorkflowDef) -> None:
        """Raise ControlPlaneError when it runs workflows that nobody has registered."""
        children = _children(definition) - {definition.name}
        if not children:
            return
        known = await self._ports.definitions.names()
        for child in sorted(children.difference(known)):
            raise _unresolvable(child, known)

    def _expect_room(self, account: Account, name: str) -> None:
        quotas = self._policy.quotas
        if name not in account.names and len(account.names) >= quotas.max_registered_defs:
            message = f"the tree of runs has registered {len(account.names)} workflows: all it may"
            raise QuotaExceededError(message)
        lately = len(account.lately(self._ports.clock.now_ns()))
        if lately >= quotas.registers_per_minute:
            message = f"the tree of runs has registered {lately} workflows in the last minute: all it may"
            raise RateLimitedError(message, hint="register again in a minute")

    # -- starting --------------------------------------------------------------------------------------------

    async def _start(self, asked: Opening, asker: Asker) -> Answer:
        child_id = _child_id(asked)
        if await self._ports.log.first(child_id):  # an earlier attempt, or an earlier try of this request
            return Answer(run_id=child_id)
        most = min(self._policy.quotas.max_depth, asker.run.max_depth)
        if asker.depth >= most:
            why = f"the run has {asker.depth} runs above it, and {most} is the most: it starts no other one"
            raise DepthExceededError(why)
        definition = await self._resolved(asked.workflow, asker.root)
        input = bytes(asked.input) or bytes(NULL)
        _expect_fitting(definition, input)

        async def decide(account: Account) -> Audited | None:
            if child_id in account.started_ns:
                return None
            await self._expect_place(account)
            said = {"name": definition.name, "identity": definition.identity, "child_run_id": child_id}
            return self._audited("start", asked, asker, granted=True, **said)

        await self._book.enter(asker.root, decide)
        return Answer(run_id=await self._begun(definition, input, child_id, asked, asker))

    async def _begun(self, definition: WorkflowDef, input: bytes, child_id: str, asked: Opening, asker: Asker) -> str:
        parent = Parent(
            run_id=asked.run_id,
            step_id=asked.step_id,
            attempt=asked.attempt,
            root=asker.root,
            depth=asker.depth + 1,
            detached=True,
        )
        by = f"step {asked.step_id} of run {asked.run_id}"
        try:
            await self._client.start_json(definition, input, run_id=child_id, by=by, parent=parent)
        except ConflictError:  # another server was first, for another try of this call
            if not await self._ports.log.first(child_id):
                raise
        except (InputError, RefusedError) as error:  # it has no idempotency key, for instance
            raise InvalidInputError(str(error), hint=error.hint) from None
        return child_id

    async def _resolved(self, name: str, root: str) -> WorkflowDef:
        """The newest definition of a name: a plain one is the tree's own, else anybody's. Raises ControlPlaneError."""
        above = root_of(name)
        if above and above != root:
            raise NamespaceError(f"workflow {name!r} belongs to another tree of runs")
        for full in [name] if is_scoped(name) else [f"agent.{root}.{name}", name]:
            try:
                return await self._client.workflow(full)
            except NotFoundError:
                continue
        raise _unresolvable(name, await self._ports.definitions.names())

    async def _expect_place(self, account: Account) -> None:
        most = self._policy.quotas.max_active_runs
        if len(account.started_ns) >= most and await self._book.active(account) >= most:
            message = f"the tree of runs has started {most} runs that go on: all it may"
            raise QuotaExceededError(message, hint="start others when some have ended")

    # -- what is left ----------------------------------------------------------------------------------------

    async def _budget(self, asked: Request, asker: Asker) -> Answer:
        account = await self._book.account(asker.root)
        answer = Answer(
            active_runs=await self._book.active(account),
            max_active_runs=self._policy.quotas.max_active_runs,
            registered_defs=len(account.names),
            max_registered_defs=self._policy.quotas.max_registered_defs,
        )
        await self._book.note(self._audited("budget", asked, asker, granted=True), _id(asked))
        return answer


class _Named(msgspec.Struct):
    name: str = ""


def _wanted(asked: Request) -> str:
    """The workflow that a request is about, as it calls it."""
    if isinstance(asked, Opening):
        return asked.workflow
    try:
        return msgspec.json.decode(asked.definition, type=_Named).name[:256] if isinstance(asked, Registration) else ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _id(asked: Request) -> str:
    """The request's id in the audit: of all that it says. By its own one, a second no could hide behind the first."""
    return hashlib.sha256(_encode(asked)).hexdigest()[:32]


def _child_id(asked: Opening) -> str:
    """The run that a call starts: the same in every attempt, and nobody else's."""
    return hashlib.sha256(f"{asked.run_id}\0{asked.step_id}\0{asked.call}".encode()).hexdigest()[:32]


def _unresolvable(name: str, known: list[str]) -> UnresolvableNameError:
    meant = near(name, known)
    hint = f"did you mean {meant[0]!r}?" if meant else ""
    return UnresolvableNameError(f"no workflow {name!r}", hint=hint)


def _definition(data: bytes) -> WorkflowDef:
    """A definition as a handler gave it. Raises ControlPlaneError."""
    definition = _loaded(data)
    if is_scoped(definition.name):
        why = f"a workflow cannot be called {definition.name!r}: the part before its last dot is given to it"
        raise NamespaceError(why, hint="use letters, digits, '_' and '-'")
    if definition.triggers:
        why = f"workflow {definition.name!r} has triggers, which start runs that belong to nobody's tree"
        raise InvalidDefError(why, hint="leave them out, and start its runs")
    return definition


def _loaded(data: bytes) -> WorkflowDef:
    try:
        return load_definition(data)
    except DefinitionError as error:
        raise InvalidDefError(str(error)) from None


def _children(definition: WorkflowDef) -> set[str]:
    return {step.config.workflow for step in definition.steps if isinstance(step, SubWorkflowStep)}


def _renamed(definition: WorkflowDef, space: str, account: Account) -> WorkflowDef:
    """A definition under its full name; children of the same space that it calls by their plain names have theirs."""
    document = definition.model_dump(mode="json", exclude_defaults=True)
    name = document["name"] = f"{space}.{definition.name}"
    own = {name, *account.names}
    for step in document["steps"]:
        if step.get("type") == "sub_workflow":
            full = f"{space}.{step['config']['workflow']}"
            step["config"]["workflow"] = full if full in own else step["config"]["workflow"]
    return _loaded(compact(document))


def _expect_in_space(definition: WorkflowDef, space: str) -> None:
    """Raise ControlPlaneError when it runs a workflow that leaves with another tree, or before it does."""
    for child in sorted(_children(definition)):
        if root_of(child) and not child.startswith(f"{space}."):
            why = f"workflow {definition.name!r} runs {child!r}, which leaves with a run that it does not belong to"
            raise NamespaceError(why)


def _expect_fitting(definition: WorkflowDef, input: bytes) -> None:
    """Raise ControlPlaneError when a run cannot be started with an input."""
    try:
        refuse(input, what="the run's input")
    except (RefusedError, InputError) as error:
        raise InvalidInputError(str(error)) from None
    problems = list(payload_problems(definition.input_schema, input)) if definition.input_schema is not None else []
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise InvalidInputError(f"the input does not fit workflow {definition.name!r}:\n{listed}")
