"""The worker's side of the control plane: asks whoever serves, for one attempt."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from dagnats.errors import RefusedError, TransportError, UnavailableError
from dagnats.handling.plane import Budget
from dagnats.runtime.patience import persist
from dagnats.runtime.plane.request import BUDGET, REGISTER, START, Opening, Registration, Request, read_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagnats.model.task import Task
    from dagnats.runtime.plane.request import Answer
    from dagnats.runtime.ports import Inquiries

_PATIENCE_S = 60.0  # for a server to come back, or another one to take over


class Petitions:
    """`handling.PlaneOperations` of a step that is granted the control plane.

    Args:
        task: The attempt, with its nonce.
        call: Names the next call of a kind, or the one of a key, the same in every attempt.
    """

    __slots__ = ("_call", "_inquiries", "_task")

    def __init__(self, inquiries: Inquiries, task: Task, call: Callable[[str, str], str]) -> None:
        self._inquiries = inquiries
        self._task = task
        self._call = call

    async def register(self, definition: bytes) -> str:
        request = Registration(**self._who(), definition=msgspec.Raw(definition))
        return (await self._ask(REGISTER, request)).name

    async def start(self, workflow: str, input: bytes, key: str) -> str:
        call = self._call("plane", key)
        request = Opening(**self._who(), workflow=workflow, call=call, input=msgspec.Raw(input))
        return (await self._ask(START, request)).run_id

    async def budget(self) -> Budget:
        answer = await self._ask(BUDGET, Request(**self._who()))
        return Budget(
            active_runs=answer.active_runs,
            max_active_runs=answer.max_active_runs,
            registered_defs=answer.registered_defs,
            max_registered_defs=answer.max_registered_defs,
        )

    def _who(self) -> dict[str, Any]:
        task = self._task
        who = {"run_id": task.run_id, "step_id": task.step_id, "attempt": task.attempt, "nonce": task.dispatch_nonce}
        return {"id": secrets.token_hex(16), **who}

    async def _ask(self, question: str, request: Request) -> Answer:
        data = msgspec.json.encode(request)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return read_answer(await persist(lambda: self._once(question, data)))
        except TimeoutError:
            raise TransportError(
                f"no server has answered within {_PATIENCE_S:g} s", hint="is `dagnats serve` running?"
            ) from None
        except RefusedError as error:  # it is larger than a message can be
            raise TransportError(str(error), hint=error.hint) from None

    async def _once(self, question: str, data: bytes) -> bytes:
        answer = await self._inquiries.ask(question, data)
        if answer is None:
            raise UnavailableError("no server is there that answers for the control plane")
        return answer
