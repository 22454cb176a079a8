"""Answer an HTTP request from a run: with the price of a basket, or with what is not for sale. Keep a record.

The price list is a few lines at the bottom, so that the file runs as it is.
"""

# --8<-- [start:define]
import msgspec

from dagnats import Workflow, handler


class Basket(msgspec.Struct):
    customer: str
    items: dict[str, int]
    tier: str = ""


class Quote(msgspec.Struct):
    total_cents: int
    missing: list[str]
    unknown: int


@handler("quote.price")
async def price_basket(basket: Basket) -> Quote:
    missing = [item for item in basket.items if item not in PRICES]
    total = sum(PRICES.get(item, 0) * count for item, count in basket.items.items())
    return Quote(total_cents=total, missing=missing, unknown=len(missing))


@handler("quote.record")
def record_quote(quote: Quote) -> str:
    return f"unknown: {', '.join(quote.missing)}" if quote.unknown else f"{quote.total_cents} cents"


wf = Workflow("quote-api", timeout="1m").with_priority("tier", {"gold": -60}, default_offset=0)
wf.on_http("/api/quotes", method="POST", timeout="10s", max_body_bytes=65_536, idempotency_header="Idempotency-Key")
price = wf.task("price", price_basket).with_timeout("5s").with_priority(5)
accept = wf.respond("accept", headers={"Cache-Control": "no-store"}).after(price).skip_if(price.output["unknown"] > 0)
refuse = wf.respond("refuse", status=422, body_from="missing").after(price).skip_if(price.output["unknown"] == 0)
record = wf.task("record", record_quote).after(price)
# --8<-- [end:define]


PRICES = {"tea": 350, "cake": 480}
