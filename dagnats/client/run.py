"""A handle on one run: look at it, follow it, wait for it, tell it what to do."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import msgspec

from dagnats.client import order, repeat
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.start import begin, check_input, expect_room, new_id
from dagnats.client.stream import streamed
from dagnats.client.view import EventView, RunView, at_gates, event_view, run_view
from dagnats.client.waiting import Waiting
from dagnats.dsl.duration import duration_text
from dagnats.errors import (
    DagnatsError,
    NotFoundError,
    ResultTimeout,
    RunCancelled,
    RunCompensated,
    RunError,
    RunFailed,
)
from dagnats.handling.codec import codec_for
from dagnats.model.check import load_definition
from dagnats.model.duration import parse_duration
from dagnats.model.event import (
    TERMINAL_PREFIXES,
    CompensateCompleted,
    Note,
    Outcome,
    TerminalEvent,
    WorkflowCompleted,
    decode_event,
)
from dagnats.model.identifier import near
from dagnats.model.pulse import Pulse, decode_pulse
from dagnats.model.run import IN_FLIGHT, Run, RunStatus, StepStatus
from dagnats.runtime.blob import carried, fill, moved, offloaded, resolved, shown
from dagnats.runtime.core.ending import STATUS
from dagnats.runtime.core.graph import Graph
from dagnats.runtime.limit import gate_view, hold_of, is_held
from dagnats.runtime.pointer import Carriers, complete

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from dagnats.model.definition import WorkflowDef
    from dagnats.model.event import Start
    from dagnats.runtime.ports import Chunk, Ports

T = TypeVar("T")

_AT_ONCE_S = 0.002
UNDER_WAY: frozenset[StepStatus] = frozenset({*IN_FLIGHT, "pending"})

_ERRORS = {
    "failed": RunFailed,
    "compensate_failed": RunFailed,
    "compensated": RunCompensated,
    "cancelled": RunCancelled,
}


class RunHandle(Waiting):
    """One run. Making a handle asks nothing; every call looks at the log.

    Attributes:
        imported: Whether it is a run of another installation, to look at only.
    """

    imported = False

    def __init__(self, ports: Ports, run_id: str, *, begun: int = 0) -> None:
        super().__init__(ports, run_id)
        self._begun = begun  # the sequence of its start, when we started it
        self._made_s = asyncio.get_running_loop().time() if begun else 0.0

    @property
    def is_new(self) -> bool:
        """Whether it was this very start that began the run; an idempotent one may find it under way."""
        return self._begun > 0

    async def view(self, *, gates: bool = False) -> RunView:
        """The run as it is now, folded from its history: never stale.

        Args:
            gates: Say of queued steps what holds them, too: as of the engine's stored position.

        Raises:
            NotFoundError: There is no such run.
        """
        graph, run = await self._fold()
        await complete(Carriers(self._ports.log), run)
        await fill(self._ports, run)
        view = run_view(graph, run, await self._pulses(run))
        if gates and any(step.status == "queued" for step in view.steps):
            return at_gates(view, await gate_view(self._ports))
        return view

    async def _pulses(self, run: Run) -> dict[str, Pulse]:
        """What the run's running steps say of themselves."""
        running = {step_id for step_id, state in run.steps.items() if state.status == "running"}
        if not running:  # as of every run that is over
            return {}
        found = await self._ports.pulses.of(self.run_id)
        read = {step_id: decode_pulse(data) for step_id, data in found.items() if step_id in running}
        return {step_id: pulse for step_id, pulse in read.items() if pulse is not None}

    async def history(self) -> list[EventView]:
        """All its events so far. Raises NotFoundError."""
        records = await self._records()
        trace = records[0].event.trace_parent
        return [event_view(await shown(self._ports, record), trace) for record in records]

    async def events(self, *, after: int = 0) -> AsyncIterator[EventView]:
        """Its events with sequences above `after`, then those that follow, up to and including its last.

        Raises:
            NotFoundError: There is no such run.
        """
        async for record, run in self._follow():
            if record.seq > after:
                yield event_view(await shown(self._ports, record), run.trace_parent)

    async def stream(self, step: str, *, after: int = -1) -> AsyncGenerator[Chunk]:
        """What a step streams: the chunks with offsets above `after`, then those that follow until the step is done.

        The oldest chunks of a step that streams very much are gone: then the first that comes has a larger offset.

        Raises:
            NotFoundError: There is no such run, or it has no such step.
        """
        await self.expect_step(step)
        over = self._step_over(step)
        async with aclosing(streamed(self._ports.chunks, self.run_id, step, start=after + 1, over=over)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def expect_step(self, step: str) -> None:
        """Raise NotFoundError, with near names, when the run has no such step."""
        graph, run = await self._fold()
        if graph.node(step, run) is None:
            known = list({**graph.nodes, **run.steps})
            close = near(step, known)
            hint = "" if close else f"run {self.run_id} has {repeat.listed(known)}"
            raise NotFoundError("step", step, near=close, hint=hint)

    async def _step_over(self, step: str) -> None:
        """Return when a step is done, or its run."""
        async for _, run in self._follow():
            state = run.steps.get(step)
            if run.ended or (state is not None and state.status not in UNDER_WAY):
                return

    @overload
    async def result(self, *, timeout: timedelta | str | None = None) -> Any: ...
    @overload
    async def result(self, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...

    async def result(self, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any:
        """Wait for the run's output: the one leaf's, or an object by step id when the graph ends in several.

        Args:
            type: What to read the output as; plain JSON values when left out.
            timeout: How long to wait: a timedelta or a string such as `"30s"`.

        Raises:
            RunFailed, RunCompensated, RunCancelled: It ended another way, with the failing step's error.
            ResultTimeout: It has not ended; it goes on.
            CodecError: The output does not fit `type`.
            BlobLost: The output was too large for an event, and is not stored any more.
            NotFoundError: There is no such run.
        """
        status, outcome = await self._end(timeout)
        if status != "completed":
            raise _ERRORS[status](self.run_id, step=outcome.step_id, error=outcome.error)
        return codec_for(type).decode(await resolved(self._ports, bytes(outcome.output)))

    async def wait(self, *, timeout: timedelta | str | None = None) -> RunView:
        """The run once it has ended, whatever way. Raises NotFoundError and ResultTimeout, like `result`."""
        await self._end(timeout)
        return await self.view()

    # -- telling it what to do -------------------------------------------------------------------------------
    #
    # All of them raise NotFoundError when there is no such run, and ConflictError when it has ended, or is not in the
    # state that they need; what was said in between by others counts.

    async def cancel(self, reason: str = "", *, by: str = "") -> None:
        """End the run now. What was completed stays as it is; running handlers' results are dropped.

        Raises:
            ConflictError: It has ended already, or is being undone, which is not cut off half-way.
            NotFoundError: There is no such run.
        """
        await self._tell(lambda _, run: order.cancel(run, by=by, reason=reason))

    async def pause(self, reason: str = "", *, by: str = "") -> None:
        """Hand out nothing more until it is resumed. What is in flight goes on, and so do all time limits."""
        await self._tell(lambda _, run: order.pause(run, Note(by=by, reason=reason)))

    async def resume(self, reason: str = "", *, by: str = "") -> None:
        """Let it go on after a pause."""
        await self._tell(lambda _, run: order.resume(run, Note(by=by, reason=reason)))

    async def skip(self, step: str, reason: str = "", *, by: str = "") -> None:
        """Leave a step out: what depends on it goes on without its output.

        Raises:
            NotFoundError: The run has no such step.
            ConflictError: The step is done already, or the run has not begun or is being undone.
        """
        await self._tell(lambda graph, run: order.skip(graph, run, step, Note(by=by, reason=reason)))

    async def fail_step(self, step: str, reason: str = "", *, by: str = "") -> None:
        """Fail the current attempt of a step for good: its failure step, the undoing or the run's failure follows.

        Raises:
            NotFoundError: The run has no such step.
            ConflictError: The step is not in flight.
        """
        await self._tell(lambda graph, run: order.fail(graph, run, step, by=by, reason=reason))

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal; `value` is anything with a JSON form. Raises FullError where there is no room for one."""
        await self.signal_json(name, json_bytes(value))

    async def signal_json(self, name: str, payload: bytes) -> None:
        """Send it a signal whose value is JSON already."""
        data = accepted(payload, what="the signal's value")
        await self._ports.room.expect("a signal", len(data))
        await self._tell(lambda _, run: order.signal(run, name, data))

    async def replay(self, reason: str = "", *, by: str = "") -> None:
        """Let this run, which failed or was cancelled, go on at the steps that failed, by its own definition.

        Raises:
            ConflictError: It is not over, or there is nothing in it to go on with.
            FullError: The store has room only for the runs under way.
        """
        _, run = await self._fold()
        await self._ports.room.expect("a run that is over to go on")
        held = await is_held(self._ports.log, run.workflow_id)
        await self._tell(lambda _, run: order.reopen(run, Note(by=by, reason=reason), held=held))

    async def retry(self, mode: Literal["rerun", "replay"] = "rerun", input: Any = None, *, by: str = "") -> RunHandle:
        """Try again: anew, or where it broke.

        Args:
            mode: `rerun` starts a new run by the newest definition; `replay` is `replay`, on this run.
            input: For `rerun`: instead of this run's input.
            by: Who does it.

        Raises:
            InputError: The input breaks the newest definition's schema.
            ConflictError: See `replay`.
        """
        if mode == "replay":
            if input is not None:
                raise DagnatsError("a replay goes on with the run's own input", hint="mode 'rerun' takes another one")
            await self.replay(by=by)
            return self
        return await self.rerun_json(json_bytes(input) if input is not None else b"", by=by)

    async def rerun_json(self, input: bytes = b"", *, run_id: str = "", by: str = "") -> RunHandle:
        """Start a new run of the same workflow, by its newest definition, with the same input unless one is given."""
        old, run = await self._fold()
        stored = await self._ports.definitions.newest(run.workflow_id)
        if stored is None:
            raise NotFoundError("workflow", run.workflow_id, hint="it is not registered any more")
        definition = load_definition(stored.data)
        start = repeat.rerun(definition, old, run, by=by)
        return await self._begin(definition, start, input, run_id=run_id)

    async def fork(self, from_step: str, input: Any = None, *, latest: bool = False, by: str = "") -> RunHandle:
        """Start a new run at a step; what does not depend on that step and has completed here is taken over.

        Args:
            from_step: Where it begins.
            input: Instead of this run's input; what was taken over stays as it is.
            latest: Follow the newest definition, not this run's.
            by: Who does it.

        Raises:
            NotFoundError: The definition has no such step, or is not stored any more.
            InputError: The input breaks the definition's schema.
        """
        data = json_bytes(input) if input is not None else b""
        return await self.fork_json(from_step, data, latest=latest, by=by)

    async def fork_json(self, from_step: str, input: bytes = b"", *, latest: bool = False, by: str = "") -> RunHandle:
        """`fork` with input that is JSON already."""
        old, run = await self._fold()
        name = run.workflow_id
        if latest:
            stored = await self._ports.definitions.newest(name)
            data = stored.data if stored is not None else None
        else:
            data = await self._ports.definitions.version(name, run.def_hash)
        if data is None:
            raise NotFoundError("workflow", name, hint="" if latest else "the newest definition is taken with `latest`")
        definition = load_definition(data)
        start = repeat.fork(Graph(definition), old, run, from_step, by=by)
        return await self._begin(definition, start, input)

    async def _begin(self, definition: WorkflowDef, start: Start, given: bytes, *, run_id: str = "") -> RunHandle:
        """Start a run that takes over what this one has; `given` is its input when that is not this run's."""
        ports, is_made_up, run_id = self._ports, not run_id, new_id(run_id)
        if given:
            given = accepted(given, what="the run's input")
        passed = msgspec.Raw(await Carriers(ports.log).whole(self.run_id, bytes(start.input)))
        check_input(definition, given or await resolved(ports, bytes(passed)))
        await expect_room(ports, "" if is_made_up else run_id, len(given or bytes(passed)))
        await ports.definitions.add_version(definition.name, definition.identity, definition.stored)
        data = await self._passed_on(run_id, passed)
        if given:
            data = msgspec.Raw(await carried(ports, run_id, given, what="the run's input"))
        outputs = {step_id: await self._passed_on(run_id, output) for step_id, output in start.outputs.items()}
        hold = await hold_of(ports.log, definition.name)
        start = msgspec.structs.replace(start, input=data, outputs=outputs)
        begun = await begin(ports, hold.recorded(start), run_id=run_id)
        return RunHandle(ports, run_id, begun=begun)

    async def _passed_on(self, run_id: str, payload: msgspec.Raw) -> msgspec.Raw:
        """A payload of this run's, for another one: what it refers to lies under that one then."""
        whole = await Carriers(self._ports.log).whole(self.run_id, bytes(payload) or b"null")
        data = await moved(self._ports, run_id, whole)
        return msgspec.Raw(await offloaded(self._ports, run_id, data, what="what is taken over"))

    # -- its end -----------------------------------------------------------------------------------------------

    async def _ended(self, event: TerminalEvent) -> tuple[RunStatus, Outcome] | None:
        """How the run ended, if it has: a terminal event need not be the last word."""
        if isinstance(event, (WorkflowCompleted, CompensateCompleted)):
            return STATUS[type(event)], event.payload
        # One that failed may have been opened again since; an end that was decided, and an undoing, absorb a cancel.
        _, run = await self._fold()
        if not run.ended:
            return None
        output = bytes(run.outcome.output)
        whole = await Carriers(self._ports.log).whole(self.run_id, output)
        if whole is output:
            return run.status, run.outcome
        return run.status, msgspec.structs.replace(run.outcome, output=msgspec.Raw(whole))

    async def _end(self, timeout: timedelta | str | None) -> tuple[RunStatus, Outcome]:
        """How the run ended, once it has."""
        if timeout is None:
            return await self._come()
        limit = parse_duration(duration_text(timeout))
        try:
            async with asyncio.timeout(limit.total_seconds()):
                return await self._come()
        except TimeoutError:
            raise ResultTimeout(self.run_id, limit) from None

    async def _come(self) -> tuple[RunStatus, Outcome]:
        """`_end`, however long it takes."""
        if not self._begun and not await self._ports.log.first(self.run_id):
            raise NotFoundError("run", self.run_id)
        # Whoever waits from the start on hears the end; later it may have been said already.
        soon = asyncio.get_running_loop().time() - self._made_s < _AT_ONCE_S
        after = self._begun if soon else 0
        while True:
            entry = await self._ports.log.wait_for(self.run_id, TERMINAL_PREFIXES, after=after)
            event = decode_event(entry.data)
            if isinstance(event, TerminalEvent) and (end := await self._ended(event)) is not None:
                return end
            after = entry.seq


def run_error(view: RunView) -> RunError:
    """What is raised for a run that has ended otherwise than hoped."""
    return _ERRORS[view.status](view.run_id, step=view.failed_step, error=view.error)
