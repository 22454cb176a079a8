from dagnats import Exponential, Workflow, handler


@handler("inventory.reserve")
async def reserve_stock(order: str) -> str:
    return f"shelf of {order}"


@handler("payment.charge")
async def charge_card(shelf: str) -> str:
    raise ConnectionError("no provider here")


wf = Workflow("order", timeout="7d")
reserve = wf.task("reserve", reserve_stock).with_compensation("release")
charge = wf.task("charge", charge_card).after(reserve).with_timeout("30s")
charge.with_retry(Exponential(max_attempts=3, initial_delay="1h", max_delay="1d", multiplier=4))
release = wf.task("release", "inventory.release")  # a worker in another language serves it
