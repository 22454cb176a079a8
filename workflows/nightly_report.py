"""Every night a report is made; it is sent when the working day begins.

Its tasks belong to it alone, so they are said by decorators. The shop is a few lines at the bottom.
"""

# --8<-- [start:define]
from dataclasses import dataclass

from pydantic import BaseModel

from dagnats import Fixed, Workflow

wf = Workflow("nightly-report", timeout="3d", default_retry=Fixed(max_attempts=3, initial_delay="1m"))
wf.on_cron("30 1 * * *", timezone="Europe/Berlin", backfill=True).with_singleton("skip")


@dataclass
class Sale:
    product: str
    cents: int


class Report(BaseModel):
    title: str
    lines: list[str]


class Waited(BaseModel):
    """What sending receives: one key for each step it comes after. The sleep's is null, and is left out here."""

    render: Report


@wf.step(timeout="10m")
async def collect() -> list[Sale]:
    return [Sale(product, cents) for product, cents in SOLD.items()]


@wf.step(after=collect)
async def render(sales: list[Sale]) -> Report:
    return Report(title="Sold yesterday", lines=[f"{sale.product}: {sale.cents} cents" for sale in sales])


morning = wf.sleep("morning", cron="0 8 * * 1-5", timezone="Europe/Berlin").after(render)


@wf.step(after=[render, morning], metadata={"channel": "#sales"})
async def send(waited: Waited) -> str:
    return "\n".join([waited.render.title, *waited.render.lines])


# --8<-- [end:define]


SOLD = {"tea": 350, "cake": 480}
