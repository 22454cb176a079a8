"""A workflow that runs another one: fulfilling an order sends parcels, and a parcel is a workflow of its own.

The child waits for its carrier to say that the parcel has arrived. The parent can be called off on the way.
"""

# --8<-- [start:define]
from typing import Literal

from pydantic import BaseModel

from dagnats import Workflow, handler


class Goods(BaseModel):
    order_id: str
    items: list[str]


class Label(BaseModel):
    order_id: str
    tracking: str


class Delivery(BaseModel):
    """What the carrier's event says. When it does not come in time, the engine gives `{"timeout": true}`."""

    signed_by: str | None = None
    timeout: bool = False


class Outcome(BaseModel):
    state: Literal["delivered", "lost"]
    signed_by: str | None = None


@handler("parcel.label")
async def print_label(goods: Goods) -> Label:
    return Label(order_id=goods.order_id, tracking=f"T-{goods.order_id}")


@handler("parcel.conclude")
async def conclude(delivery: Delivery) -> Outcome:
    return Outcome(state="lost" if delivery.timeout else "delivered", signed_by=delivery.signed_by)


parcel = Workflow("parcel", input=Goods, output=Outcome)
label = parcel.task("label", print_label).with_retry(max_attempts=2, strategy="fixed", initial_delay="5s")
delivered = parcel.wait_for_event(
    "delivered",
    "carrier.delivered",
    match=parcel.event["tracking"] == label.output["tracking"],
    timeout="14d",
    lookback="1h",
).after(label)
outcome = parcel.task("outcome", conclude).after(delivered)


@handler("fulfilment.pick")
async def pick_goods(goods: Goods) -> Goods:
    return goods.model_copy(update={"items": sorted(goods.items)})


@handler("fulfilment.tell")
async def tell_customer(outcome: Outcome) -> str:
    return f"Your order was {outcome.state}."


wf = Workflow("fulfilment", input=Goods, timeout="30d")
wf.on_subject("orders.paid").cancel_on("order.cancelled", match=wf.event["order_id"] == wf.input["order_id"])
picked = wf.task("pick", pick_goods)
sent = wf.sub_workflow("parcel", parcel).after(picked)
told = wf.task("tell", tell_customer).after(sent)
# --8<-- [end:define]
