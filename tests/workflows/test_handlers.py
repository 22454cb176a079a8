"""A handler is called like any function: what the examples do is tested without a server."""

from __future__ import annotations

import asyncio
from datetime import date

from dagnats import Compensation, Continue, FailureInfo, TaskContext
from workflows import approval, code_review, etl, fulfilment, http_api, nightly_report, research

CONTEXT = TaskContext(run_id="r", step_id="s", workflow="w", task="t", attempt=1, worker_id="x")


def test_the_reviewer_reads_one_file_in_each_iteration() -> None:
    async def reviewed() -> tuple[int, code_review.Review]:
        diff = await code_review.fetch_diff(code_review.PullRequest(pr=42))
        for iteration in range(1, 11):
            result = await code_review.review(diff, CONTEXT)
            if not isinstance(result, Continue):
                return iteration, result
            diff = result.value
        raise AssertionError("it never came to an end")

    iterations, review = asyncio.run(reviewed())
    assert iterations == 3
    assert review.notes == ["test_main.py tests nothing"]


def test_the_comment_reads_one_key_for_each_step_before_it() -> None:
    async def posted() -> str:
        diff = await code_review.fetch_diff(code_review.PullRequest(pr=42))
        lint = (await code_review.lint(diff)).model_dump_json()
        document = f'{{"lint": {lint}, "review-loop": {{"pr": 42, "notes": ["short"]}}}}'
        return await code_review.comment(code_review.comment.input_codec.decode(document.encode()))

    assert asyncio.run(posted()) == "#42: 1 issues; short"


def test_an_import_loads_what_its_files_hold() -> None:
    async def loaded() -> etl.Total:
        files = await etl.extract(etl.Import(customer="c", day=date(2026, 1, 2)))
        return await etl.load([etl.transform(file) for file in files])

    assert asyncio.run(loaded()) == etl.Total(files=2, rows=3, sum=425)


def test_a_small_expense_is_paid_from_petty_cash() -> None:
    expense = approval.Expense(id="e", amount_cents=900)
    decided = approval.Decided(check=expense, approve=None)
    assert asyncio.run(approval.pay_expense(decided)) == "paid 900 cents from petty cash"
    answered = approval.pay_expense.input_codec.decode(
        b'{"check": {"id": "e", "amount_cents": 90000}, "approve": {"approved": true, "cost_centre": "R-12"}}'
    )
    assert asyncio.run(approval.pay_expense(answered)) == "paid 90000 cents from R-12"


def test_an_expense_that_is_not_paid_says_why() -> None:
    expense = approval.Expense(id="e", amount_cents=90_000)
    failure = FailureInfo(failed_step="approve", error="no", failure_type="non_retriable", attempts=1, input=expense)
    assert asyncio.run(approval.refuse_expense(failure)) == "expense e is not paid: no"
    undo = Compensation(original_step="pay", original_output="paid", trigger_step="book", trigger_error="")
    assert asyncio.run(approval.take_back(undo)) == "took back: paid"


def test_the_report_is_sent_as_it_was_rendered() -> None:
    async def sent() -> str:
        report = await nightly_report.render(await nightly_report.collect())
        return await nightly_report.send(nightly_report.Waited(render=report))

    assert asyncio.run(sent()) == "Sold yesterday\ntea: 350 cents\ncake: 480 cents"


def test_a_quote_names_what_is_not_for_sale() -> None:
    good = asyncio.run(http_api.price_basket(http_api.Basket(customer="c", items={"tea": 2})))
    bad = asyncio.run(http_api.price_basket(http_api.Basket(customer="c", items={"tea": 2, "ink": 1})))
    assert (good.unknown, http_api.record_quote(good)) == (0, "700 cents")
    assert (bad.unknown, http_api.record_quote(bad)) == (1, "unknown: ink")


def test_a_plan_keeps_to_what_its_step_allows() -> None:
    planned = asyncio.run(research.plan_research(research.Question(text="durable workflows")))
    assert [step.id for step in planned.steps] == ["search-1", "search-2", "compare"]
    assert {step.task for step in planned.steps} == {"research.search", "research.compare"}
    assert planned.steps[-1].depends_on == ["search-1", "search-2"]


def test_a_parcel_whose_event_never_came_is_lost() -> None:
    lost = fulfilment.conclude.input_codec.decode(b'{"timeout": true}')
    there = fulfilment.conclude.input_codec.decode(b'{"tracking": "T-1", "signed_by": "Ada"}')
    assert asyncio.run(fulfilment.conclude(lost)).state == "lost"
    assert asyncio.run(fulfilment.conclude(there)) == fulfilment.Outcome(state="delivered", signed_by="Ada")
