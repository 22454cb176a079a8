"""An order saga: reserve → charge → ship. What was done is undone when a later step fails for good.

The outside world (a card provider, a carrier) is a few lines at the bottom, so that the file runs as it is.
"""

# --8<-- [start:define]
from pydantic import BaseModel

from dagnats import Abort, Compensation, Exponential, FailureInfo, TaskContext, Workflow, handler


class Order(BaseModel):
    id: str
    amount_cents: int
    card: str = "visa"
    carrier_down: int = 0  # how many times the carrier will not answer


class Reservation(BaseModel):
    order: Order
    shelf: str


class Payment(BaseModel):
    reservation: Reservation
    receipt: str


@handler("inventory.reserve")
async def reserve_stock(order: Order) -> Reservation:
    return Reservation(order=order, shelf=f"shelf-{len(order.id)}")


@handler("inventory.release")
async def release_stock(undo: Compensation[Reservation]) -> str:
    return f"released {undo.original_output.shelf}"


@handler("payment.charge")
async def charge_card(reservation: Reservation) -> Payment:
    if reservation.order.card == "declined":
        raise Abort("card declined")  # trying again cannot help
    return Payment(reservation=reservation, receipt=f"receipt-{reservation.order.id}")


@handler("payment.refund")
async def refund_card(undo: Compensation[Payment]) -> str:
    return f"refunded {undo.original_output.receipt}"


@handler("payment.notify")
async def notify_billing(failure: FailureInfo[Payment]) -> str:
    return f"told billing: {failure.failed_step} failed with {failure.error!r}"


@handler("shipping.ship")
async def ship(payment: Payment, ctx: TaskContext) -> str:
    carrier(payment.reservation.order, ctx.attempt)  # any exception is tried again
    return f"parcel-{payment.reservation.order.id}"


@handler("billing.record")
async def record_sale(payment: Payment) -> str:
    return f"booked {payment.reservation.order.amount_cents} cents"


wf = Workflow("order", version="1.0", timeout="10m")
reserve = wf.task("reserve", reserve_stock).with_timeout("30s").with_compensation("release")
charge = (
    wf.task("charge", charge_card)
    .after(reserve)
    .with_timeout("30s")
    .with_retry(Exponential(max_attempts=3, max_delay="30s"))
    .with_compensation("refund")
)
parcel = (
    wf.task("ship", ship)
    .after(charge)
    .with_timeout("30s")
    .with_retry(Exponential(max_attempts=3, initial_delay="200ms", max_delay="5s"))
)
record = wf.task("record", record_sale).after(charge).with_on_failure("notify-billing")

wf.task("release", release_stock)
wf.task("refund", refund_card)
wf.task("notify-billing", notify_billing)
# --8<-- [end:define]


class CarrierDown(Exception):
    """The carrier does not answer."""


def carrier(order: Order, attempt: int) -> None:
    """Stands for the carrier's service: down for the first `carrier_down` attempts of an order."""
    if attempt <= order.carrier_down:
        raise CarrierDown(f"no answer (attempt {attempt})")
