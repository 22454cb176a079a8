"""A handle on one run of a server that is asked over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import msgspec

from dagnats.client.document.event import ChunkDocument, EventDocument, chunk_of, event_of
from dagnats.client.document.run import RunDocument, run_of
from dagnats.client.http.read import decoded, read
from dagnats.client.http.wire import path_of
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.run import UNDER_WAY, run_error
from dagnats.dsl.duration import duration_text
from dagnats.errors import ConflictError, DagnatsError, ResultTimeout
from dagnats.handling.codec import codec_for
from dagnats.model.duration import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from dagnats.client.http.wire import Wire
    from dagnats.client.view import EventView, RunView
    from dagnats.runtime.ports import Chunk

T = TypeVar("T")

_LOOK_S = 30.0  # a server waits a minute at most
_REST_S = 0.1
_SHORTEST = timedelta(milliseconds=1)


class _Went(msgspec.Struct, frozen=True):
    """The run that goes on after an order."""

    run_id: str


class _Answered(msgspec.Struct, frozen=True):
    """The step that an answer was for."""

    step: str


class _Token(msgspec.Struct, frozen=True):
    """A token of a wait."""

    token: str


class _Output(msgspec.Struct, frozen=True):
    """What a run gave, unread."""

    output: msgspec.Raw


class HttpRun:
    """One run. Making a handle asks nothing; every call asks the server. The calls are those of `RunHandle`."""

    def __init__(self, wire: Wire, run_id: str, *, is_new: bool = False, imported: bool = False) -> None:
        self.run_id = run_id
        self.imported = imported
        self._wire = wire
        self._is_new = is_new

    @property
    def is_new(self) -> bool:
        """Whether it was this very start that began the run; an idempotent one may find it under way."""
        return self._is_new

    def __repr__(self) -> str:
        return f"<run {self.run_id}>"

    async def view(self, *, gates: bool = False) -> RunView:
        """The run as it is now. See `RunHandle.view`."""
        found = run_of(read(await self._wire.get(self._path()), RunDocument))
        return found if gates else replace(found, steps=tuple(replace(step, gate="") for step in found.steps))

    async def history(self) -> list[EventView]:
        """All its events so far. Raises NotFoundError."""
        return [event_of(event) for event in read(await self._wire.get(self._path("events")), list[EventDocument])]

    async def events(self, *, after: int = 0) -> AsyncIterator[EventView]:
        """Its events with sequences above `after`, then those that follow, up to and including its last.

        Raises:
            NotFoundError: There is no such run.
        """
        async with aclosing(self._wire.listen(self._path("events"), after=after, is_over=self._is_over)) as sent:
            async for event in sent:
                yield event_of(decoded(event.data, EventDocument))

    async def _is_over(self) -> bool:
        return (await self.view()).ended

    async def stream(self, step: str, *, after: int = -1) -> AsyncGenerator[Chunk]:
        """What a step streams. See `RunHandle.stream`."""
        path, is_over = self._path("steps", step, "stream"), partial(self._is_step_over, step)
        async with aclosing(self._wire.listen(path, after=after, is_over=is_over)) as sent:
            async for event in sent:
                yield chunk_of(decoded(event.data, ChunkDocument))

    async def _is_step_over(self, step: str) -> bool:
        view = await self.view()
        return view.ended or not any(each.id == step and each.status in UNDER_WAY for each in view.steps)

    @overload
    async def result(self, *, timeout: timedelta | str | None = None) -> Any: ...
    @overload
    async def result(self, type: type[T], *, timeout: timedelta | str | None = None) -> T: ...

    async def result(self, type: Any = Any, *, timeout: timedelta | str | None = None) -> Any:
        """Wait for the run's output. See `RunHandle.result`: the errors are the same."""
        found = await self._end(timeout)
        if isinstance(found, _Output):
            return codec_for(type).decode(bytes(found.output))
        raise run_error(found)

    async def wait(self, *, timeout: timedelta | str | None = None) -> RunView:
        """The run once it has ended, whatever way. Raises NotFoundError and ResultTimeout, like `result`."""
        found = await self._end(timeout)
        return await self.view() if isinstance(found, _Output) else found

    async def _end(self, timeout: timedelta | str | None) -> _Output | RunView:
        """The run's output, or the run, once it has ended otherwise."""
        limit = parse_duration(duration_text(timeout)) if timeout is not None else None
        loop = asyncio.get_running_loop()
        until = loop.time() + limit.total_seconds() if limit is not None else None
        while True:
            left_s = max(until - loop.time(), 0.0) if until is not None else _LOOK_S
            found = await self._ended_within(min(left_s, _LOOK_S))
            if found is not None:
                return found
            if limit is not None and until is not None and loop.time() >= until:
                raise ResultTimeout(self.run_id, limit)

    async def _ended_within(self, seconds: float) -> _Output | RunView | None:
        wait = max(timedelta(seconds=seconds), _SHORTEST)
        try:
            answer = await self._wire.get(
                self._path("output"), {"wait": format_duration(wait)}, wait_s=wait.total_seconds()
            )
        except ResultTimeout:
            return None
        except ConflictError:  # it ended otherwise; or the server stops, and cannot wait
            view = await self.view()
            if not view.ended:
                await asyncio.sleep(_REST_S)
            return view if view.ended else None
        return read(answer, _Output)

    # -- telling it what to do -------------------------------------------------------------------------------

    async def cancel(self, reason: str = "", *, by: str = "") -> None:
        """End the run now. See `RunHandle.cancel`."""
        await self._tell("cancel", by=by, reason=reason)

    async def pause(self, reason: str = "", *, by: str = "") -> None:
        """Hand out nothing more until it is resumed. What is in flight goes on, and so do all time limits."""
        await self._tell("pause", by=by, reason=reason)

    async def resume(self, reason: str = "", *, by: str = "") -> None:
        """Let it go on after a pause."""
        await self._tell("resume", by=by, reason=reason)

    async def skip(self, step: str, reason: str = "", *, by: str = "") -> None:
        """Leave a step out. See `RunHandle.skip`."""
        await self._wire.post(self._path("steps", step, "skip"), {"by": by, "reason": reason})

    async def fail_step(self, step: str, reason: str = "", *, by: str = "") -> None:
        """Fail the current attempt of a step for good. See `RunHandle.fail_step`."""
        await self._wire.post(self._path("steps", step, "fail"), {"by": by, "reason": reason})

    async def signal(self, name: str, value: Any = None) -> None:
        """Send it a signal; `value` is anything with a JSON form."""
        await self.signal_json(name, json_bytes(value))

    async def signal_json(self, name: str, payload: bytes) -> None:
        """Send it a signal whose value is JSON already."""
        data = accepted(payload, what="the signal's value")
        await self._wire.ask("POST", self._path("signal", name), body=data)

    async def approve(
        self, step: str = "", answer: Any = None, *, token: str | None = None, by: str = "", reason: str = ""
    ) -> str:
        """Answer an approval with yes, and give the step it was. See `RunHandle.approve`."""
        return await self._answer("approve", step, answer, token=token, by=by, reason=reason)

    async def reject(
        self, step: str = "", answer: Any = None, *, token: str | None = None, by: str = "", reason: str = ""
    ) -> str:
        """Answer an approval with no, which fails its step, and give the step. Raises like `approve`."""
        return await self._answer("reject", step, answer, token=token, by=by, reason=reason)

    async def _answer(self, how: str, step: str, answer: Any, **note: str | None) -> str:
        said = {"answer": msgspec.Raw(accepted(json_bytes(answer), what="the answer"))} if answer is not None else {}
        told = await self._wire.post(self._path(how), {"step": step, **said, **note})
        return read(told, _Answered).step

    async def complete_wait(self, step: str, body: Any = None) -> None:
        """Give a step the event that it waits for, by hand. Raises ConflictError when it waits for none."""
        await self.complete_wait_json(step, json_bytes(body))

    async def complete_wait_json(self, step: str, body: bytes) -> None:
        """`complete_wait` with a body that is JSON already."""
        data = accepted(body, what="the event's body")
        await self._wire.ask("POST", self._path("steps", step, "complete"), body=data)

    async def waitpoint_token(self, step: str) -> str:
        """A token for somebody who may bring what a step waits for. See `RunHandle.waitpoint_token`."""
        return read(await self._wire.post(path_of("waitpoints", self.run_id, step, "token")), _Token).token

    async def replay(self, reason: str = "", *, by: str = "") -> None:
        """Let this run go on at the steps that failed. See `RunHandle.replay`."""
        await self._tell("retry", mode="replay", by=by, reason=reason)

    async def retry(self, mode: Literal["rerun", "replay"] = "rerun", input: Any = None, *, by: str = "") -> HttpRun:
        """Try again: anew, or where it broke. See `RunHandle.retry`."""
        if mode == "rerun":
            return await self.rerun_json(json_bytes(input) if input is not None else b"", by=by)
        if input is not None:
            raise DagnatsError("a replay goes on with the run's own input", hint="mode 'rerun' takes another one")
        await self.replay(by=by)
        return self

    async def rerun_json(self, input: bytes = b"", *, by: str = "") -> HttpRun:
        """Start a new run of the same workflow, by its newest definition, with the same input unless one is given."""
        return await self._new("retry", input, mode="rerun", by=by)

    async def fork(self, from_step: str, input: Any = None, *, latest: bool = False, by: str = "") -> HttpRun:
        """Start a new run at a step. See `RunHandle.fork`."""
        data = json_bytes(input) if input is not None else b""
        return await self.fork_json(from_step, data, latest=latest, by=by)

    async def fork_json(self, from_step: str, input: bytes = b"", *, latest: bool = False, by: str = "") -> HttpRun:
        """`fork` with input that is JSON already."""
        return await self._new("fork", input, from_step=from_step, latest=latest, by=by)

    async def _new(self, how: str, input: bytes, **said: Any) -> HttpRun:
        given = {"input": msgspec.Raw(accepted(input, what="the run's input"))} if input else {}
        told = await self._wire.post(self._path(how), {**said, **given})
        return HttpRun(self._wire, read(told, _Went).run_id, is_new=True)

    async def _tell(self, how: str, **said: str) -> None:
        await self._wire.post(self._path(how), said)

    def _path(self, *parts: str) -> str:
        return path_of("runs", self.run_id, *parts)
