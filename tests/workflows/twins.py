"""Every workflow of `workflows/` in the other form: decorators where it chains builders, and the other way round."""

from __future__ import annotations

from dagnats import Exponential, Fixed, Handler, Linear, Workflow
from workflows import approval, code_review, etl, fulfilment, hello, http_api, nightly_report, order, research


def hello_pipeline() -> Workflow:
    wf = Workflow("hello-pipeline", version="1.0")
    retry = Exponential(max_attempts=3, initial_delay="1s", max_delay="30s", multiplier=2.0)
    first = wf.step(task="greet", timeout="30s", retry=retry)(hello.greet.function)
    second = wf.step(task="uppercase", after=first)(hello.uppercase.function)
    wf.step(task="reverse", after=[second])(hello.reverse.function)
    return wf


def order_saga() -> Workflow:
    wf = Workflow("order", version="1.0", timeout="10m")
    wf.step(id="reserve", task="inventory.reserve", timeout="30s", compensation="release")(order.reserve_stock.function)
    charge = wf.step(
        id="charge",
        task="payment.charge",
        after="reserve",
        timeout="30s",
        retry=Exponential(max_attempts=3, max_delay="30s"),
        compensation="refund",
    )(order.charge_card.function)
    wf.step(
        task="shipping.ship",
        after=charge,
        timeout="30s",
        retry=Exponential(max_attempts=3, initial_delay="200ms", max_delay="5s"),
    )(order.ship.function)
    wf.step(id="record", task="billing.record", after=charge, on_failure="notify-billing")(order.record_sale.function)
    wf.step(id="release", task="inventory.release")(order.release_stock.function)
    wf.step(id="refund", task="payment.refund")(order.refund_card.function)
    wf.step(id="notify-billing", task="payment.notify")(order.notify_billing.function)
    return wf


def code_review_guide() -> Workflow:
    wf = Workflow("code-review", version="1.0.0", timeout="30m")
    fetched = wf.step(id="fetch-diff", task="git.fetch-diff")(code_review.fetch_diff.function)
    retry = Linear(max_attempts=2, initial_delay="500ms")
    linted = wf.step(task="lint.run", after=fetched, retry=retry)(code_review.lint.function)
    wf.agent_loop(
        id="review-loop",
        task="agent.code-review",
        after=fetched,
        max_iterations=10,
        max_duration="15m",
        loop_delay="1s",
        budget_warn_at=8,
    )(code_review.review.function)
    nothing = linted.output["issues_found"] == 0
    wf.step(id="post-results", task="git.comment", after=[linted, "review-loop"], skip_if=nothing)(
        code_review.comment.function
    )
    wf.sleep("wait", cron="0 9 * * 1-5").after("post-results")
    return wf


def etl_import() -> Workflow:
    wf = Workflow("etl").with_timeout("2h").with_concurrency(4, 50, key="customer").with_failure_mode("drain")
    extract = (
        wf.task("extract", Handler("etl.extract", etl.extract.function))
        .with_timeout("1m")
        .with_retry(max_attempts=5, max_delay="1m", jitter=0.2)
        .with_rate_limit(60, "1m")
    )
    transform = (
        wf.map("transform", Handler("etl.transform", etl.transform.function), over=extract)
        .with_max_items(500)
        .with_max_parallel(20)
        .with_timeout("5m")
        .with_retry(max_attempts=3)
        .with_keyed_rate_limit("customer", 10, "1s")
        .with_task_concurrency(40)
    )
    load = wf.task("load", Handler("etl.load", etl.load.function)).after(transform)
    load.with_queue_timeout("30m").with_heartbeat_timeout("20s")
    return wf


def expense_approval() -> Workflow:
    wf = Workflow("expense-approval", input=approval.Expense, idempotency_key="id", timeout="10d")
    wf.compensate_on("failure", "cancel").with_labels(team="finance")
    check = wf.step(id="check", task="expense.check")(approval.check_expense.function)
    approve = wf.approval(
        "approve",
        subject="expenses.approvals",
        timeout="72h",
        description="May this expense be paid?",
        metadata={"channel": "finance"},
        form=approval.Answer,
    )
    approve.after(check).skip_if(check.output["amount_cents"] < 10_000).with_on_failure("refuse")
    wf.step(id="pay", task="expense.pay", after=[check, approve], compensation="take-back")(
        approval.pay_expense.function
    )
    wf.task("book", "ledger.book").after("pay")
    wf.step(id="refuse", task="expense.refuse")(approval.refuse_expense.function)
    wf.step(id="take-back", task="expense.take-back")(approval.take_back.function)
    return wf


def nightly() -> Workflow:
    wf = Workflow("nightly-report", timeout="3d", default_retry=Fixed(max_attempts=3, initial_delay="1m"))
    wf.with_singleton().on_cron("30 1 * * *", timezone="Europe/Berlin", backfill=True)
    collect = wf.task("collect", Handler("nightly-report.collect", nightly_report.collect.function))
    render = wf.task("render", Handler("nightly-report.render", nightly_report.render.function))
    morning = wf.sleep("morning", cron="0 8 * * 1-5", timezone="Europe/Berlin")
    send = wf.task("send", Handler("nightly-report.send", nightly_report.send.function))
    collect.with_timeout("10m") >> render >> morning  # pyright: ignore[reportUnusedExpression]  # a chain is said by it
    send.after(render, morning).with_metadata(channel="#sales")
    return wf


def quote_api() -> Workflow:
    wf = Workflow("quote-api", timeout="1m").with_priority("tier", {"gold": -60}, default_offset=0)
    wf.on_http("/api/quotes", timeout="10s", max_body_bytes=65_536, idempotency_header="Idempotency-Key")
    price = wf.step(id="price", task="quote.price", timeout="5s", priority=5)(http_api.price_basket.function)
    accept = wf.respond("accept", headers={"Cache-Control": "no-store"})
    accept.after(price).skip_if(price.output["unknown"] > 0)
    refuse = wf.respond("refuse", status=422, body_from="missing")
    refuse.after(price).skip_if(price.output["unknown"] == 0)
    wf.step(id="record", task="quote.record", after=price)(http_api.record_quote.function)
    return wf


def research_agent() -> Workflow:
    wf = Workflow("research", timeout="1h").with_priority("tier", {"paid": -120})
    plan = wf.planner(
        id="plan",
        task="research.plan",
        max_steps=12,
        max_depth=3,
        allowed_tasks=["research.search", "research.compare"],
        timeout="2m",
        worker_group="models",
    )(research.plan_research.function)
    wf.agent(id="answer", task="research.summarise", after=plan, timeout="5m", worker_group="models")(
        research.summarise.function
    )
    return wf


def parcel_child() -> Workflow:
    wf = Workflow("parcel", input=fulfilment.Goods, output=fulfilment.Outcome)
    retry = Fixed(max_attempts=2, initial_delay="5s")
    label = wf.step(id="label", task="parcel.label", retry=retry)(fulfilment.print_label.function)
    matching = wf.event["tracking"] == label.output["tracking"]
    wf.wait_for_event("delivered", "carrier.delivered", match=matching, timeout="14d", lookback="1h").after(label)
    wf.step(id="outcome", task="parcel.conclude", after="delivered")(fulfilment.conclude.function)
    return wf


def fulfilment_parent() -> Workflow:
    wf = Workflow("fulfilment", input=fulfilment.Goods, timeout="30d")
    wf.on_subject("orders.paid").cancel_on("order.cancelled", match=wf.event["order_id"] == wf.input["order_id"])
    picked = wf.step(id="pick", task="fulfilment.pick")(fulfilment.pick_goods.function)
    sent = wf.sub_workflow("parcel", "parcel").after(picked)
    wf.step(id="tell", task="fulfilment.tell", after=sent)(fulfilment.tell_customer.function)
    return wf


TWINS = {
    hello.wf: hello_pipeline,
    order.wf: order_saga,
    code_review.wf: code_review_guide,
    etl.wf: etl_import,
    approval.wf: expense_approval,
    nightly_report.wf: nightly,
    http_api.wf: quote_api,
    research.wf: research_agent,
    fulfilment.parcel: parcel_child,
    fulfilment.wf: fulfilment_parent,
}
"""Each workflow of `workflows/`, and what makes its twin."""
