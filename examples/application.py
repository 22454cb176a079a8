"""An application that brings its own client and worker: `python examples/application.py`, beside `dagnats serve`.

The web framework is left out: `Shop` is what its handlers would call.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

import dagnats
from dagnats import Fixed, TaskContext, Worker, Workflow, handler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dagnats.client import AsyncClient


# --8<-- [start:workflow]
class Signup(BaseModel):
    email: str


class Account(BaseModel):
    email: str
    number: int


@handler("signup.open")
async def open_account(signup: Signup, ctx: TaskContext) -> Account:
    # The run's id makes the effect repeatable: the same run opens the same account.
    return Account(email=signup.email, number=int(ctx.run_id[:6], 16))


@handler("signup.welcome")
async def welcome(account: Account) -> str:
    return f"welcome, {account.email}: your account is {account.number}"


wf = Workflow("signup", timeout="1h")
opened = wf.task("open", open_account).with_timeout("10s").with_retry(Fixed(max_attempts=5, initial_delay="1s"))
wf.task("welcome", welcome).after(opened).with_timeout("10s")
# --8<-- [end:workflow]


# --8<-- [start:application]
class Shop:
    """What request handlers use. One client serves all of them: it is one connection, shared."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def sign_up(self, email: str) -> str:
        """Start a run; when this returns it will be carried out, whatever happens to this process."""
        run = await self._client.start(wf, Signup(email=email))
        return run.run_id

    async def greeting(self, run_id: str) -> str:
        """The run's output, waited for."""
        return await self._client.handle(run_id).result(str, timeout="30s")


@asynccontextmanager
async def shop() -> AsyncGenerator[Shop]:
    """The application's life: connect, register, work in the background, drain at the end."""
    async with dagnats.connect() as client:
        await client.register(wf)
        worker = Worker(client, [wf], concurrency=16)
        working = asyncio.create_task(worker.run())
        try:
            yield Shop(client)
        finally:
            worker.stop()  # running handlers finish; what they have not begun goes to another worker
            await working


# --8<-- [end:application]


async def main() -> None:
    async with shop() as application:
        run_id = await application.sign_up("ada@example.org")
        print(await application.greeting(run_id))


if __name__ == "__main__":
    asyncio.run(main())
