"""Stands in for a handler in a harness: counts the calls, and answers in its place where the test says so."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, cast

from dagnats.errors import Abort
from dagnats.handling.codec import codec_for
from dagnats.handling.handler import Handler


@dataclass(slots=True)
class Stub:
    """What happens instead of a handler.

    Attributes:
        act: The function that is called, as a handler would be.
        left: For how many more calls; None: for all.
    """

    act: Handler[..., Any]
    left: int | None = None


class Double(Handler[..., Any]):
    """Serves a task type with its handler's types, and its handler's function unless a stub comes first.

    Attributes:
        calls: How often it was called.
        is_missing: Whether it was called with neither a handler nor a stub to answer.
    """

    def __init__(self, task: str, original: Handler[..., Any] | None) -> None:
        # Types, codecs and source are the original's; what its constructor checks was checked then.
        self.__dict__.update((original or Handler(task, _nobody)).__dict__)
        self.__dict__["takes_context"] = True  # for the stubs; the original gets it when it takes one
        self.task = task
        self.calls = 0
        self.is_missing = False
        self._original = original
        self._stubs: list[Stub] = []
        self.function = self._call_async if self.is_async else self._call

    def arguments(self, value: Any, context: Any) -> tuple[Any, ...]:
        return value, context

    def put(self, stub: Stub) -> None:
        """Let a stub come first from now on."""
        self._stubs.insert(0, stub)

    async def _call_async(self, value: Any, context: Any) -> Any:
        result = self._call(value, context)
        return await result if inspect.isawaitable(result) else result

    def _call(self, value: Any, context: Any) -> Any:
        self.calls += 1
        stub = self._next_stub()
        if stub is not None:
            return self._stubbed(stub.act, value, context)
        if self._original is None:
            self.is_missing = True
            raise Abort(f"task type {self.task!r} has neither a handler nor a stub here")
        return self._original.function(*self._original.arguments(value, context))

    def _next_stub(self) -> Stub | None:
        for stub in self._stubs:
            if stub.left is None:
                return stub
            if stub.left > 0:
                stub.left -= 1
                return stub
        return None

    def _stubbed(self, act: Handler[..., Any], value: Any, context: Any) -> Any:
        if self._original is not None:
            return act.function(*act.arguments(value, context))
        # Nobody has said what this task takes and gives: the stub's own annotations count.
        if act.takes_input:
            value = act.input_codec.decode(codec_for(Any).encode(value))
        result = act.function(*act.arguments(value, context))
        return _plain_later(act, result) if inspect.isawaitable(result) else _plain(act, result)


async def _nobody(value: Any) -> Any:
    """The types of a task that only its string names."""
    return value


async def _plain_later(act: Handler[..., Any], result: Any) -> Any:
    return _plain(act, await result)


def _plain(act: Handler[..., Any], result: Any) -> Any:
    """A result as the JSON value it stands for."""
    codec = codec_for(type(result)) if act.output_type is Any else act.output_codec
    return codec_for(Any).decode(codec.encode(result))


def answering(task: str, *, returns: Any = None, raises: BaseException | type[BaseException] | None = None) -> Any:
    """A handler that gives one value, or raises one exception, whatever it is given."""

    def answer() -> Any:
        if raises is not None:
            raise raises
        return returns

    return Handler(task, answer)


def doubling(task: str, function: Any, names: dict[str, Any]) -> Handler[..., Any]:
    """A test's own function as a handler. Raises DefinitionError when it has another shape."""
    return cast("Handler[..., Any]", function) if isinstance(function, Handler) else Handler(task, function, names)
