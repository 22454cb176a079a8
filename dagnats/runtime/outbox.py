"""Does what the core decided: every action becomes a message under the action's own id.

All messages of a batch are under way before the first acknowledgement is waited for. A refusal that no repetition can
cure becomes an event of its run, so that a person sees it there. What got no answer for so long that the server may
have forgotten its id is not simply sent again: log and queue say first whether it was done.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never, cast

import msgspec

from dagnats.errors import DagnatsError, DecodeError, RefusedError, UnavailableError
from dagnats.model.cancellation import Cancellation, encode_cancellation
from dagnats.model.event import (
    ChildCompleted,
    ChildFailed,
    ChildOutcome,
    Failure,
    Outcome,
    Responded,
    StepFailed,
    WorkflowFailed,
    decode_event,
    encode_event,
)
from dagnats.model.json import NULL, encode
from dagnats.model.payload import payload_problems
from dagnats.model.pointer import has_pointer
from dagnats.model.task import Task, decode_task, encode_task
from dagnats.runtime.approval import approval_notice
from dagnats.runtime.blob import INLINE_BYTES, BlobLost, has_reference, moved, offloaded, resolved
from dagnats.runtime.burial import bury
from dagnats.runtime.child import Children
from dagnats.runtime.core.action import (
    AddWaiter,
    AppendEvent,
    AskAdmission,
    AskApproval,
    CancelTasks,
    DropDeadLetters,
    DropTask,
    DropTimer,
    DropWaiter,
    EndRun,
    EnqueueTask,
    KeepSignal,
    SendDeadLetter,
    SetTimer,
    StartChild,
)
from dagnats.runtime.correlator import failed_wait
from dagnats.runtime.doubt import decided_for, expect_uncut
from dagnats.runtime.patience import persist
from dagnats.runtime.plane import nonce
from dagnats.runtime.ports import LogCut, OwnTask
from dagnats.runtime.response import response_document
from dagnats.runtime.reuse import another
from dagnats.runtime.together import gathered
from dagnats.runtime.waitpoint import KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence

    from dagnats.model.event import AnyEvent
    from dagnats.runtime.core.action import AnyAction
    from dagnats.runtime.correlator import Correlator
    from dagnats.runtime.doubt import Doubt
    from dagnats.runtime.pointer import Carriers
    from dagnats.runtime.ports import Ports, Receipt
    from dagnats.runtime.together import Aside, Errands

    UnderWay = list[tuple[AnyAction, Awaitable[object] | None]]

log = logging.getLogger("dagnats.engine")


class PayloadLost(RefusedError):
    """What an action points at is not in the log."""


class Flight(NamedTuple):
    """Actions under way.

    Attributes:
        under_way: Each with what to wait for; None for what nothing depends on.
        ends: Runs' ends, to be sent when the rest is stored.
    """

    under_way: UnderWay
    ends: Sequence[AnyAction]


class Outbox:
    """The way out of the engine.

    Args:
        doubt: Asked about what got no answer.
        aside: For what nothing depends on.
        errands: For what takes more than one message.
        correlator: Watches for events.
        check: Raises LeaseLost when the engine may not lead any more: asked whenever something is sent, because it may
            have been frozen since it was asked before.
        window_s: How long the server remembers ids.
        granted: The workflows whose steps may ask the control plane.
        carriers: Have what actions point at.
    """

    def __init__(
        self,
        ports: Ports,
        doubt: Doubt,
        *,
        aside: Aside,
        errands: Errands,
        correlator: Correlator,
        check: Callable[[], None],
        window_s: float,
        granted: Container[str] = (),
        carriers: Carriers,
    ) -> None:
        self._check = check
        self._granted = granted
        self._errands = errands
        self._correlator = correlator
        self._carriers = carriers
        self._children = Children(ports, errands, carriers)
        self._ports = ports
        self._doubt = doubt
        self._within_s = window_s / 2
        self._aside = aside
        self.epoch = 0
        """See `Position`."""
        self.newest_task = 0
        """The queue's sequence of the newest task that is known to be stored."""
        self._flights: deque[Flight] = deque()  # launched and not landed

    def like(self, other: Outbox) -> Outbox:
        """This one, for what goes out beside another one's."""
        self.epoch, self.newest_task = other.epoch, other.newest_task
        self._children.renewed_at = other._children.renewed_at
        return self

    def renew(self, epoch: int, last: int) -> None:
        """Begin an epoch: the log, which has lost its tail, ends at event `last`."""
        self.epoch = epoch
        self._children.renewed_at = last

    async def act(self, actions: Sequence[AnyAction]) -> None:
        """Return when everything is stored: `launch` and `land` in one."""
        await self.land(self.launch(actions))

    def launch(self, actions: Sequence[AnyAction]) -> Flight:
        """Send the actions. A run's end stays back until the run's other actions are stored."""
        ends = [action for action in actions if isinstance(action, EndRun)]
        if ends:
            busy = {action.run_id for action in actions if not isinstance(action, EndRun)}
            ends = [action for action in ends if action.run_id in busy]
            if ends:
                later = {action.id for action in ends}
                actions = [action for action in actions if action.id not in later]
        flight = Flight(self._sent(actions), ends)
        self._flights.append(flight)
        return flight

    async def land(self, flight: Flight) -> None:
        """Return when everything is stored. Flights land in the order in which they were launched."""
        await self._stored(flight.under_way)
        if flight.ends:
            await self._stored(self._sent(flight.ends))
        self._flights.popleft()
        drops = self._clear_up(flight)
        if drops:
            await self._drop_own(drops)

    def _sent(self, actions: Iterable[AnyAction]) -> UnderWay:
        self._check()
        epoch = f".{self.epoch}" if self.epoch else ""
        return [(action, self._message(action, action.id + epoch)) for action in actions]

    async def _stored(self, under_way: UnderWay) -> None:
        while unsure := await self._answered(under_way):
            log.warning("%d messages got no answer; finding out which were stored", len(unsure))
            under_way = self._sent(await self._doubt.left(unsure))

    async def _answered(self, under_way: UnderWay) -> list[AnyAction]:
        """Wait for the answers; gives the actions that got none."""
        unsure: list[AnyAction] = []
        for action, stored in under_way:
            if stored is None:
                continue
            try:
                receipt = await stored
                if isinstance(action, EnqueueTask):
                    await self._note_task(action, cast("Receipt", receipt))
            except RefusedError as error:
                if isinstance(error, PayloadLost):  # decided anew, where the log has lost its end
                    await expect_uncut(self._ports.log, action)
                await self._refused(action, error)
            except UnavailableError:
                unsure.append(action)
        return unsure

    async def _note_task(self, action: EnqueueTask, receipt: Receipt) -> None:
        if receipt.duplicate:
            receipt = await self._repeated(action, receipt)
        if action.worker_id:
            return
        if receipt.seq > self.newest_task:
            self.newest_task = receipt.seq
        elif not receipt.duplicate:
            if receipt.seq == self.newest_task:
                raise LogCut(f"the task queue has given place {receipt.seq} twice")
            await self.check_tasks()  # one that was sent again, or the queue counts anew

    async def _repeated(self, action: EnqueueTask, receipt: Receipt) -> Receipt:
        """What a task has that the queue took for a repetition: events that are lost may have led to another of its id,
        which shows nowhere else where the position was lost with them. Raises LogCut when that one is still there."""
        seq, own = receipt.seq, action.worker_id != ""
        for queued in await persist(lambda: self._ports.tasks.page(after=seq - 1, count=1, own=own)):
            if queued.seq == seq:
                if not _is_of(queued.data, action):
                    raise LogCut(f"place {seq} of the task queue has another task than {action.id}")
                return receipt
        for left in await self._doubt.left([action]):  # else it was answered
            again = self._message(left, another(f"{action.id}.{self.epoch}"))
            return cast("Receipt", await again) if again is not None else receipt
        return receipt

    async def check_tasks(self) -> None:
        """Raise LogCut when the task queue ends before a task that it had taken."""
        newest = self.newest_task  # as long as we ask, others may be stored and answered
        last = await persist(self._ports.tasks.last)
        if last < newest:
            raise LogCut(f"the task queue ends at {last}; it had taken task {newest}")

    def _message(self, action: AnyAction, id: str) -> Awaitable[object] | None:
        ports, within_s = self._ports, self._within_s
        match action:  # what every run has comes first: each class that is asked for before it costs time
            case EnqueueTask():
                return self._enqueued(action, id)
            case EndRun():
                return self._ended(action, id)
            case SendDeadLetter() if _pointing(action):
                return self._lifted(action, id)
            case SendDeadLetter() if len(action.input) > INLINE_BYTES:
                return self._errands.begin(self._lightened(action, id))
            case AppendEvent() if action.run_id != decided_for(action):
                return self._errands.begin(self._tell_other(action, id))
            case AppendEvent(event=Responded()):
                return self._errands.begin(self._respond(action, id))
            case AppendEvent():
                return ports.log.append(action.run_id, encode_event(action.event), id=id, within_s=within_s)
            case SetTimer():
                # With its instant: a lost event in this one's place may have asked for another, and no epoch says so.
                due_ns, seq, replaces = action.due_ns, action.seq, action.replaces
                return ports.timers.set(action.run_id, due_ns=due_ns, seq=seq, replaces=replaces, id=f"{id}.{due_ns}")
            case SendDeadLetter():
                return self._dead_letter(action, id)
            case CancelTasks():
                steps = tuple((step_id, attempt) for step_id, _, attempt in action.steps)
                said = encode_cancellation(Cancellation(run_id=action.run_id, steps=steps))
                ports.tasks.cancel(action.run_id, said)
            case StartChild():
                return self._children.start(action, id)
            case AddWaiter():
                return self._correlator.add(action, self.epoch)
            case DropWaiter():
                return self._correlator.drop(action)
            case AskApproval():
                return self._errands.begin(self._ask(action))
            case KeepSignal():
                return ports.signals.put(action.run_id, action.name, bytes(action.data or NULL))
            case DropDeadLetters():
                return self._errands.begin(self._drop_letters(action))
            case DropTimer() | DropTask() | AskAdmission():
                pass  # removed when all else is stored; answered by the gates
            case _:
                assert_never(action)
        return None

    def _ended(self, action: EndRun, id: str) -> Awaitable[object] | None:
        """End a run, with all of its output."""
        output = bytes(payload_of(action))
        if has_pointer(output):
            return self._lifted(action, id)
        if action.schema is None:
            return self._end(action, id)
        if has_reference(output):
            return self._errands.begin(self._checked(action, id))
        why = _misfit(action.schema, output)
        return self._end(_judged(action, why) if why else action, id)

    def _end(self, action: EndRun, id: str) -> Awaitable[object]:
        """End a run whose output fits."""
        if len(payload_of(action)) > INLINE_BYTES:
            return self._errands.begin(self._lightened(_judged(action, ""), id))  # a reference is not looked at again
        log = self._ports.log
        return log.append(action.run_id, encode_event(action.event), id=id, within_s=self._within_s)

    def _enqueued(self, action: EnqueueTask, id: str) -> Awaitable[object] | None:
        if has_pointer(bytes(action.input)) or (action.previous and _pointing(action)):
            return self._lifted(action, id)
        if len(action.input) > INLINE_BYTES:
            return self._errands.begin(self._lightened(action, id))
        if action.capabilities and action.workflow in self._granted:
            return self._errands.begin(self._proven(action, id))
        return self._queued(action, encode_task(_task(action, self.epoch)), id)

    def _queued(self, action: EnqueueTask, data: bytes, id: str) -> Awaitable[Receipt]:
        tasks, within_s = self._ports.tasks, self._within_s
        if action.worker_id:
            return tasks.put_own(_own(action), data, id=id, within_s=within_s)
        return tasks.put(action.task, action.run_id, data, id=id, group=action.group, within_s=within_s)

    async def _proven(self, action: EnqueueTask, id: str) -> Receipt:
        """Queue a task of a step that may ask the control plane, with what proves that it was handed out."""
        key = await persist(lambda: self._ports.secrets.key(nonce.KEY))
        proof = nonce.dispatch_nonce(key, action.run_id, action.step_id, action.attempt)
        task = msgspec.structs.replace(_task(action, self.epoch), dispatch_nonce=proof)
        return await self._queued(action, encode_task(task), id)

    def _lifted(self, action: Heavy, id: str) -> Awaitable[object] | None:
        """Send an action whose payload points into the log, with what lies there: mostly it was read just now."""
        found = {payload: self._carriers.at_hand(action.run_id, payload) for payload in _pointing(action)}
        whole = {payload: data for payload, data in found.items() if data is not None}
        if len(whole) < len(found):
            return self._errands.begin(self._fetched(action, id))
        return self._message(_with(action, whole), id)

    async def _fetched(self, action: Heavy, id: str) -> object:
        return await self._waited_for(await self._whole(action), id)

    async def _whole(self, action: Heavy, *, lenient: bool = False) -> Heavy:
        """An action whose payload points at nothing. Raises RefusedError."""
        whole: dict[bytes, bytes] = {}
        for payload in _pointing(action):
            look = partial(self._carriers.whole, action.run_id, payload, what=_name(action), lenient=lenient)
            try:
                whole[payload] = await persist(look)
            except BlobLost as lost:
                raise PayloadLost(str(lost)) from None
        return _with(action, whole)

    async def _lightened(self, action: Heavy, id: str) -> object:
        """Send an action whose payload travels as a reference, once what it stands for is stored."""
        payload, what = bytes(payload_of(action)), _name(action)
        lighter = with_payload(action, msgspec.Raw(await offloaded(self._ports, action.run_id, payload, what=what)))
        return await self._waited_for(lighter, id)

    async def _waited_for(self, action: Heavy, id: str) -> object:
        sent = self._message(action, id)
        assert sent is not None, "it is one that is waited for"
        return await sent

    async def _checked(self, action: EndRun, id: str) -> object:
        """End a run whose output has parts that lie elsewhere."""
        try:
            output = await persist(lambda: resolved(self._ports, bytes(payload_of(action)), what="the run's output"))
            why = _misfit(action.schema, output)
        except BlobLost as lost:
            why = str(lost)
        return await self._waited_for(_judged(action, why), id)

    # -- what takes more than one message --------------------------------------------------------------------

    async def _tell_other(self, action: AppendEvent, id: str) -> None:
        """Add an event to another run's history, behind its beginning. A run that is gone gets no history by this."""
        await self._children.begun(action.run_id)
        history = self._ports.log
        if await persist(lambda: history.first(action.run_id)):
            data = await self._moved(action)
            await history.append(action.run_id, data, id=id, within_s=self._within_s)

    async def _moved(self, action: AppendEvent) -> bytes:
        """An event for another run; what its payload stands for is that one's own then."""
        data, run_id = encode_event(action.event), action.run_id
        try:
            whole = await persist(lambda: self._carriers.whole(decided_for(action), data))
        except BlobLost as lost:
            raise PayloadLost(str(lost)) from None
        try:
            return await persist(lambda: moved(self._ports, run_id, whole))
        except BlobLost as lost:  # whoever needs it finds the same out
            log.error("run %s is told of something that is lost: %s", run_id, lost)
            return whole

    async def _respond(self, action: AppendEvent, id: str) -> object:
        """Note the response that a run gives, and tell whoever waits for it."""
        data, run_id = encode_event(action.event), action.run_id
        try:
            data = await persist(lambda: self._carriers.whole(run_id, data, what="the response"))
        except BlobLost as lost:
            raise PayloadLost(str(lost)) from None
        receipt = await self._ports.log.append(run_id, data, id=id, within_s=self._within_s)
        self._ports.notices.respond(run_id, response_document(cast("Responded", decode_event(data)).payload))
        return receipt

    async def _ask(self, action: AskApproval) -> None:
        key = await persist(lambda: self._ports.secrets.key(KEY))
        self._ports.notices.ask(action.question.subject, approval_notice(action, key))

    async def _drop_letters(self, action: DropDeadLetters) -> None:
        letters, subject = self._ports.dead_letters, f"{action.task}.{action.run_id}.{action.step_id}"
        for letter in await persist(lambda: letters.find(subject)):
            await persist(lambda seq=letter.seq: letters.remove(seq))

    # -- what nothing depends on -----------------------------------------------------------------------------

    def _clear_up(self, flight: Flight) -> list[DropTask]:
        """Take out of the streams what nobody waits for, once all is stored: a removal may overtake a write.

        Gives what has to be out before the position says so.
        """
        over: list[CancelTasks] = []
        drops: list[DropTask] = []
        opened: set[str] = set()  # runs that were opened again in the same batch: what they queued is not to go
        for action, _ in reversed(flight.under_way):
            match action:
                case EnqueueTask():
                    opened.add(action.run_id)
                case CancelTasks() if action.ended and action.run_id not in opened:
                    over.append(action)
                case DropTimer():
                    timers = self._ports.timers
                    self._aside.spawn(_tidy("a timer", partial(timers.drop, action.run_id, action.seq)))
                case DropTask():
                    drops.append(action)
                case _:
                    pass
        if over:
            self._drop_tasks(over)
        return drops

    async def _drop_own(self, drops: Iterable[DropTask]) -> None:
        """Take out of workers' own queues what nobody waits for. A worker may be gone for good: what an engine forgets
        to take out, by dying, nobody does."""
        tasks = self._ports.tasks
        await gathered(_tidy("a task", partial(tasks.drop_own, _own(action))) for action in drops)

    def _drop_tasks(self, over: Iterable[CancelTasks]) -> None:
        """Drop what ended runs have in their queues.

        This happens some time from now, and a run that is opened again meanwhile queues tasks of the same types: they
        come behind the newest task that we know. Only what is under way may come before it, when an older message had
        to be sent twice.
        """
        tasks, upto = self._ports.tasks, self.newest_task
        sent = (action for flight in self._flights for action, _ in flight.under_way)
        opened = {action.run_id for action in sent if isinstance(action, EnqueueTask)}
        for run_id, steps in ((action.run_id, action.steps) for action in over if action.run_id not in opened):
            for task in dict.fromkeys(task for _, task, _ in steps):
                self._aside.spawn(_tidy("tasks", partial(tasks.drop, task, run_id, upto=upto)))

    def _dead_letter(self, action: SendDeadLetter, id: str) -> Awaitable[object]:
        subject, data, headers = _letter(action)
        # With its attempt, for the same reason as the instant of a wake-up: these ids are remembered for a day.
        return self._ports.dead_letters.put(
            subject, data, headers=headers, id=f"{id}.{action.step_id}.{action.attempt}"
        )

    async def _bury(self, action: SendDeadLetter) -> None:
        """A task that only just fitted has no room for the reason beside it."""
        with suppress(RefusedError):
            action = cast("SendDeadLetter", await self._whole(action, lenient=True))
        subject, data, headers = _letter(action)
        letter_id = f"{action.id}.{self.epoch}.{action.step_id}.{action.attempt}.cut"
        await bury(self._ports.dead_letters, subject, data, headers, id=letter_id)

    # -- what is refused -------------------------------------------------------------------------------------

    async def _refused(self, action: AnyAction, error: RefusedError) -> None:
        match action:
            case EnqueueTask():
                await self._append_refusal(action, _dispatch_refused(action, error))
            case EndRun():
                outcome = Outcome(error=f"the run's end could not be stored: {error}")
                event = WorkflowFailed(run_id=action.run_id, timestamp=action.event.timestamp, payload=outcome)
                await self._append_refusal(action, event)
            case SendDeadLetter():
                await self._bury(action)
            case AddWaiter():
                await self._append_refusal(action, _never_found(action, error))
            case AppendEvent(event=ChildCompleted() as event):
                await self._append_refusal(action, _too_large(event, error))
            case KeepSignal():
                log.debug("run %s: signal %r is in its history only: %s", action.run_id, action.name, error)
            case _:
                # The history has what they say; without a timer the next event of the run applies its deadlines.
                log.error("run %s: %s was refused: %s", action.run_id, type(action).__name__, error)

    async def _append_refusal(self, action: AnyAction, event: AnyEvent) -> None:
        await self._ports.log.append(action.run_id, encode_event(event), id=f"{action.id}.{self.epoch}.refused")


Heavy = EnqueueTask | SendDeadLetter | EndRun
"""Actions with a payload that is put together of others, and so may be large."""


def _name(action: Heavy) -> str:
    """What the payload of an action is, in an error."""
    return "the run's output" if isinstance(action, EndRun) else f"the input of step {action.step_id!r}"


def payload_of(action: Heavy) -> msgspec.Raw:
    """A task's input, or a run's output."""
    return action.event.payload.output if isinstance(action, EndRun) else action.input


def with_payload(action: Heavy, payload: msgspec.Raw) -> Heavy:
    """The same action with another payload."""
    if not isinstance(action, EndRun):
        return msgspec.structs.replace(action, input=payload)
    outcome = msgspec.structs.replace(action.event.payload, output=payload)
    return msgspec.structs.replace(action, event=msgspec.structs.replace(action.event, payload=outcome))


def _pointing(action: Heavy) -> list[bytes]:
    """What of an action's payloads points into the log."""
    found = [data for data in (bytes(payload_of(action)),) if has_pointer(data)]
    if isinstance(action, EnqueueTask) and action.previous and has_pointer(data := bytes(action.previous)):
        found.append(data)
    return found


def _with(action: Heavy, whole: Mapping[bytes, bytes]) -> Heavy:
    """The same action with what is `whole` in the place of what points."""
    payload = whole.get(bytes(payload_of(action)))
    if payload is not None:
        action = with_payload(action, msgspec.Raw(payload))
    if isinstance(action, EnqueueTask) and (previous := whole.get(bytes(action.previous))) is not None:
        action = msgspec.structs.replace(action, previous=msgspec.Raw(previous))
    return action


def _letter(action: SendDeadLetter) -> tuple[str, bytes, dict[str, str]]:
    """A dead letter's subject, bytes and headers."""
    task = Task(
        task_id=f"{action.run_id}.{action.step_id}",
        run_id=action.run_id,
        step_id=action.step_id,
        attempt=action.attempt,
        input=action.input,
    )
    headers = {
        "Dagnats-Dlq-Run-Id": action.run_id,
        "Dagnats-Dlq-Step-Id": action.step_id,
        "Dagnats-Dlq-Task": action.task,
        "Dagnats-Dlq-Error": action.failure.error,
        "Dagnats-Dlq-Attempts": str(action.attempt),
        "Dagnats-Dlq-Delivery-Count": str(action.attempt),
        "Dagnats-Dlq-Consumer": "TASK_QUEUES",
        "Dagnats-Dlq-Task-Subject": ".".join(filter(None, ("task", action.task, action.group, action.run_id))),
    }
    return f"{action.task}.{action.run_id}.{action.step_id}", encode_task(task), headers


def _is_of(data: bytes, action: EnqueueTask) -> bool:
    """Whether a task in the queue is what an action put there."""
    try:
        task = decode_task(data)
    except DecodeError:
        return False
    return (task.run_id, task.step_id, task.attempt) == (action.run_id, action.step_id, action.attempt)


def _own(action: EnqueueTask | DropTask) -> OwnTask:
    return OwnTask(action.worker_id, action.task, action.run_id, action.step_id, action.attempt)


def _task(action: EnqueueTask, epoch: int) -> Task:
    task = Task(
        task_id=f"{action.run_id}.{action.step_id}",
        run_id=action.run_id,
        step_id=action.step_id,
        attempt=action.attempt,
        input=action.input,
        workflow_name=action.workflow,
        traceparent=action.trace_parent,
        tries=action.tries,
        epoch=epoch,
    )
    timed = action.timeout_ns or action.heartbeat_ns or action.expires_ns or action.deadline_ns
    told = action.metadata or action.capabilities or action.consumed or action.sticky or action.iteration
    if not (timed or told):  # most steps: each field costs time
        return task
    return msgspec.structs.replace(
        task,
        # Rounded up: a worker that gives up early would fail an attempt that still had time.
        timeout_ms=-(-action.timeout_ns // 1_000_000),
        heartbeat_ms=action.heartbeat_ns // 1_000_000,
        expires=-(-action.expires_ns // 1_000_000),
        deadline=-(-action.deadline_ns // 1_000_000),
        iteration=action.iteration,
        previous=action.previous,
        metadata=action.metadata,
        required_capabilities=action.capabilities,
        consumed=action.consumed,
        sticky=action.sticky,
    )


async def _tidy(what: str, drop: Callable[[], Awaitable[None]]) -> None:
    try:
        await persist(drop)
    except DagnatsError as error:
        log.warning("%s that nobody waits for could not be removed: %s", what, error)


def _judged(action: EndRun, why: str) -> EndRun:
    """The end of a run whose output was looked at: as completed if it fits, and as failed if there is a reason `why`
    it does not."""
    event = action.event
    if why:
        event = WorkflowFailed(run_id=action.run_id, timestamp=event.timestamp, payload=Outcome(error=why))
    return EndRun(id=action.id, run_id=action.run_id, event=event)


def _misfit(schema: Any, output: bytes) -> str:
    """Why an output does not fit; "" when it does."""
    problems = list(payload_problems(schema, output or b"null"))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if not problems:
        return ""
    return f"the output does not fit the workflow's output_schema: {problems[0].path}: {problems[0].message}{more}"


def _dispatch_refused(action: EnqueueTask, error: RefusedError) -> StepFailed:
    failure = Failure(
        error=f"the task could not be queued: {error}",
        failure_type="retriable" if isinstance(error, PayloadLost) else "non_retriable",
        detail="dispatch_refused",
    )
    return StepFailed(
        run_id=action.run_id, step_id=action.step_id, attempt_number=action.attempt, payload=encode(failure)
    )


def _never_found(action: AddWaiter, error: RefusedError) -> StepFailed | WorkflowFailed:
    return failed_wait(action.run_id, action.step_id, action.attempt, f"the wait could not be stored: {error}")


def _too_large(event: ChildCompleted, error: RefusedError) -> ChildFailed:
    """What the parent is told of a child whose output it cannot take."""
    child_run_id = event.payload.child_run_id
    outcome = ChildOutcome(
        child_run_id=child_run_id, status="completed", error=f"its output could not be handed over: {error}"
    )
    return ChildFailed(
        run_id=event.run_id,
        step_id=event.step_id,
        attempt_number=event.attempt_number,
        timestamp=event.timestamp,
        payload=outcome,
    )
