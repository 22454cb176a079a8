"""The shapes of handlers, as the builders tell them apart to type checkers."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from dagnats.handling.context import SyncTaskContext, TaskContext
from dagnats.handling.handler import Handler

I = TypeVar("I")  # noqa: E741  # input and output, as in Step[I, O]
O = TypeVar("O")  # noqa: E741

# An overload for each, in this order: the first one that fits gives a step its types.
AsyncStart = Handler[[], Coroutine[Any, Any, O]] | Handler[[TaskContext], Coroutine[Any, Any, O]]
AsyncTyped = Handler[[I], Coroutine[Any, Any, O]] | Handler[[I, TaskContext], Coroutine[Any, Any, O]]
AsyncOther = Handler[..., Awaitable[O]]
SyncStart = Handler[[], O] | Handler[[SyncTaskContext], O]
SyncTyped = Handler[[I], O] | Handler[[I, SyncTaskContext], O]
SyncOther = Handler[..., O]
