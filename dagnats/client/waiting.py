"""What a run waits for, brought to it from outside: answers to approvals, events by hand, and tokens for either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dagnats.client import order
from dagnats.client.answer import TooLate, answered, open_place
from dagnats.client.payload import accepted, json_bytes
from dagnats.client.trail import Trail
from dagnats.errors import NotFoundError, RefusedError
from dagnats.runtime.approval import is_approval_token
from dagnats.runtime.waitpoint import KEY as WAITPOINT_KEY
from dagnats.runtime.waitpoint import waitpoint_token

if TYPE_CHECKING:
    from dagnats.client.answer import Answer
    from dagnats.model.event import ApprovalGranted, ApprovalRejected

AnswerT = TypeVar("AnswerT", "ApprovalGranted", "ApprovalRejected")


class Waiting(Trail):
    """Calls that end a wait: a part of `RunHandle`."""

    async def approve(
        self, step: str = "", answer: Any = None, *, token: str | None = None, by: str = "", reason: str = ""
    ) -> str:
        """Answer an approval with yes, and give the step it was.

        Args:
            step: The approval; may be left out when the run waits for one only.
            answer: The answer's members: they become part of the step's output.
            token: What the people who were asked were told; it has to be right when it is given.
            by: Who answers.
            reason: Why.

        Raises:
            ConflictError: The step does not wait for an approval, or not any more.
            InputError: The answer does not fit the approval's form.
            RefusedError: The token answers something else.
        """
        key = await self._approval_key(token)
        data = accepted(json_bytes(answer), what="the answer") if answer is not None else b""
        event = await self._tell(
            lambda graph, run: _proven(
                order.approve(graph, run, step or order.asked(graph, run), data, by=by, reason=reason), key, token
            )
        )
        return event.step_id

    async def reject(
        self, step: str = "", answer: Any = None, *, token: str | None = None, by: str = "", reason: str = ""
    ) -> str:
        """Answer an approval with no, which fails its step, and give the step. Raises like `approve`."""
        key = await self._approval_key(token)
        data = accepted(json_bytes(answer), what="the answer") if answer is not None else b""
        event = await self._tell(
            lambda graph, run: _proven(
                order.reject(graph, run, step or order.asked(graph, run), data, by=by, reason=reason), key, token
            )
        )
        return event.step_id

    async def _approval_key(self, token: str | None) -> bytes:
        return await self._ports.secrets.key(WAITPOINT_KEY) if token is not None else b""

    async def complete_wait(self, step: str, body: Any = None) -> None:
        """Give a step the event that it waits for, by hand. Raises ConflictError when it waits for none."""
        await self.complete_wait_json(step, json_bytes(body))

    async def complete_wait_json(self, step: str, body: bytes) -> None:
        """`complete_wait` with a body that is JSON already."""
        data = accepted(body, what="the event's body")
        await self._tell(lambda graph, run: order.complete_wait(graph, run, step, data))

    async def waitpoint_token(self, step: str) -> str:
        """A token for somebody who may bring what a step waits for, once; also before the wait begins.

        It is the only thing that whoever has it needs: `POST /v1/waitpoints/{token}/complete`. So keep it secret. Asked
        for again it is the same; it is of use until the wait is over.

        Raises:
            NotFoundError: The run has no such step.
            ConflictError: The step waits for nobody, or not any more.
        """
        place = open_place(*await self._fold(), step)
        return waitpoint_token(await self._ports.secrets.key(WAITPOINT_KEY), place)

    async def answer(self, answer: Answer) -> None:
        """Bring what somebody says who has shown the token of a wait. Raises like `answered`."""
        what = "the event's body" if answer.accepts else "the answer"
        said = answer._replace(body=accepted(answer.body, what=what) if answer.body else b"")
        try:
            await self._tell(lambda graph, run: answered(graph, run, said))
        except NotFoundError:  # the token is ours, so the run was there
            raise TooLate(f"run {self.run_id} is over, and is not kept any more") from None


def _proven(answer: AnswerT, key: bytes, token: str | None) -> AnswerT:
    """The answer, when the token, if one is given, is for it. Raises RefusedError."""
    if token is None or is_approval_token(key, answer.run_id, answer.step_id, answer.attempt_number, token):
        return answer
    raise RefusedError(
        f"the token does not answer approval {answer.step_id!r} of run {answer.run_id}",
        hint="each attempt has a token of its own: use the newest one that was sent",
    )
