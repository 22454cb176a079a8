from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import BaseModel

from dagnats import Abort, SyncTaskContext, TaskContext, handler


class Batch(BaseModel):
    rows: list[int]


class Approval(BaseModel):
    by: str
    granted: bool


# --8<-- [start:lifespan]
@dataclass
class Database:
    written: list[int]

    async def write(self, row: int) -> None:
        self.written.append(row)


@asynccontextmanager
async def lifespan() -> AsyncGenerator[Database]:
    yield Database(written=[])


# --8<-- [end:lifespan]


# --8<-- [start:checkpoint]
@handler("rows.load")
async def load(batch: Batch, ctx: TaskContext[Database]) -> int:
    done = await ctx.load_checkpoint(int) or 0
    for number, row in enumerate(batch.rows[done:], done + 1):
        await ctx.resources.write(row)
        await ctx.checkpoint(number)
        await ctx.progress(number / len(batch.rows), f"row {number}")
    return len(batch.rows)


# --8<-- [end:checkpoint]


# --8<-- [start:signal]
@handler("rows.approve")
async def approve(batch: Batch, ctx: TaskContext) -> str:
    approval = await ctx.load_checkpoint(Approval)
    if approval is None:
        approval = await ctx.wait_for_signal("approval", Approval, timeout="10m")
        await ctx.checkpoint(approval)
    if not approval.granted:
        raise Abort(f"{approval.by} said no")
    started = await ctx.start("audit", batch)
    await ctx.emit_event("rows.approved", {"by": approval.by})
    return started


# --8<-- [end:signal]


@dataclass
class PaymentService:
    asked: list[str]

    async def ask(self, answer_at: str) -> None:
        self.asked.append(answer_at)


# --8<-- [start:waitpoint]
@handler("payment.request")
async def request_payment(batch: Batch, ctx: TaskContext[PaymentService]) -> int:
    token = await ctx.waitpoint_token("paid")
    await ctx.resources.ask(f"https://runs.example.com/v1/waitpoints/{token}/complete")
    return len(batch.rows)  # not the token: outputs are in the history


# --8<-- [end:waitpoint]


# --8<-- [start:pause]
@handler("export.wait")
async def wait_for_export(export_id: str, ctx: TaskContext) -> str:
    polls = await ctx.load_checkpoint(int) or 0
    if polls < 3:
        await ctx.checkpoint(polls + 1)
        await ctx.pause("10m")
    return f"export {export_id} is ready"


# --8<-- [end:pause]


# --8<-- [start:stream]
@handler("text.write")
async def write(words: list[str], ctx: TaskContext) -> str:
    for word in words:
        await ctx.stream(f"{word} ")
    return " ".join(words)


# --8<-- [end:stream]


# --8<-- [start:sync]
@handler("report.render")
def render(rows: list[int], ctx: SyncTaskContext) -> int:
    at = ctx.heartbeat_details(int) or 0
    while at < len(rows) and not ctx.is_cancelled:
        at += 1
        ctx.heartbeat(at)
    return at


# --8<-- [end:sync]
