"""Pay an expense: small ones at once, large ones when a person has said yes. A form says what the answer holds."""

# --8<-- [start:define]
from pydantic import BaseModel, Field

from dagnats import Compensation, FailureInfo, Workflow, handler


class Expense(BaseModel):
    id: str
    amount_cents: int = Field(gt=0)
    reason: str = ""


class Answer(BaseModel):
    cost_centre: str = Field(description="Which department pays, for instance `R-12`.")
    comment: str = ""


class Decided(BaseModel):
    """What the payment receives. `approve` is None for what nobody had to be asked about."""

    check: Expense
    approve: Answer | None


@handler("expense.check")
async def check_expense(expense: Expense) -> Expense:
    return expense.model_copy(update={"reason": expense.reason.strip()})


@handler("expense.pay")
async def pay_expense(decided: Decided) -> str:
    centre = decided.approve.cost_centre if decided.approve else "petty cash"
    return f"paid {decided.check.amount_cents} cents from {centre}"


@handler("expense.take-back")
async def take_back(undo: Compensation[str]) -> str:
    return f"took back: {undo.original_output}"


@handler("expense.refuse")
async def refuse_expense(failure: FailureInfo[Expense]) -> str:
    return f"expense {failure.input.id} is not paid: {failure.error}"


wf = Workflow("expense-approval", input=Expense, idempotency_key="id", timeout="10d")
wf.compensate_on("failure", "cancel").with_labels(team="finance")
check = wf.task("check", check_expense)
approve = (
    wf.approval(
        "approve",
        subject="expenses.approvals",
        timeout="72h",
        description="May this expense be paid?",
        metadata={"channel": "finance"},
        form=Answer,
    )
    .after(check)
    .skip_if(check.output["amount_cents"] < 10_000)
    .with_on_failure("refuse")
)
pay = wf.task("pay", pay_expense).after(check, approve).with_compensation("take-back")
book = wf.task("book", "ledger.book").after(pay)  # served by a program in another language

wf.task("refuse", refuse_expense)
wf.task("take-back", take_back)
# --8<-- [end:define]
