"""What holds runs and tasks back: limits in a definition, and what an operator says of them."""

# --8<-- [start:define]
from pydantic import BaseModel

from dagnats import Workflow, handler
from dagnats.client import AsyncClient


class Export(BaseModel):
    customer: str
    tier: str = "free"


@handler("export.read")
async def read_rows(export: Export) -> Export:
    return export


@handler("export.send")
async def send_file(export: Export) -> str:
    return f"sent to {export.customer}"


wf = Workflow("export")
wf.with_concurrency(max_runs=2, max_steps=10, key="customer")  # two runs of each customer
wf.with_priority("tier", {"paid": 60})  # paid ones go before what came up to a minute earlier
read = wf.task("read", read_rows).with_task_concurrency(10).with_rate_limit(100, "1m")
send = wf.task("send", send_file).after(read).with_keyed_rate_limit("customer", limit=5, period="1s")

report = Workflow("report").with_singleton("skip", key="customer")  # one run of each customer
report.task("write", "report.write")
# --8<-- [end:define]


# --8<-- [start:operate]
async def slow_down(client: AsyncClient) -> None:
    await client.limit_queue("export.send", concurrency=2, rate=10, period="1m", by="ann", reason="they asked us to")
    await client.limit_workflow("export", max_runs=1, by="ann")
    await client.pause_queue("export.read", "the store is down", by="ann")


async def as_before(client: AsyncClient) -> None:
    await client.resume_queue("export.read", by="ann")
    await client.limit_workflow("export", max_runs=0, by="ann")  # 0: what the definition says
    await client.limit_queue("export.send", concurrency=0, rate=0, by="ann")


# --8<-- [end:operate]
