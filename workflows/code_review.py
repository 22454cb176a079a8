"""Review a pull request: lint it, let an agent read it file by file, and comment when there are issues.

The repository and the language model are a few lines at the bottom, so that the file runs as it is.
"""

# --8<-- [start:define]
from pydantic import BaseModel, Field

from dagnats import Continue, Linear, TaskContext, Workflow, handler


class PullRequest(BaseModel):
    pr: int


class Diff(BaseModel):
    pr: int
    files: dict[str, str]
    notes: list[str] = []  # what the agent has found so far


class LintReport(BaseModel):
    issues_found: int


class Review(BaseModel):
    pr: int
    notes: list[str]


class Results(BaseModel):
    """What the last task receives: one key for each step it comes after."""

    lint: LintReport
    review: Review = Field(alias="review-loop")


@handler("git.fetch-diff")
async def fetch_diff(request: PullRequest) -> Diff:
    return Diff(pr=request.pr, files=REPOSITORY.get(request.pr, {}))


@handler("lint.run")
async def lint(diff: Diff) -> LintReport:
    return LintReport(issues_found=sum(text.count("TODO") for text in diff.files.values()))


@handler("agent.code-review")
async def review(diff: Diff, ctx: TaskContext) -> Review | Continue[Diff]:
    if not diff.files:
        return Review(pr=diff.pr, notes=diff.notes)
    (name, text), *others = diff.files.items()  # one file in each iteration
    ctx.logger.info("reading %s", name)
    return Continue(Diff(pr=diff.pr, files=dict(others), notes=[*diff.notes, *opinion(name, text)]))


@handler("git.comment")
async def comment(results: Results) -> str:
    return f"#{results.review.pr}: {results.lint.issues_found} issues; {'; '.join(results.review.notes)}"


wf = Workflow("code-review", version="1.0.0", timeout="30m")
fetched = wf.task("fetch-diff", fetch_diff)
linted = wf.task("lint", lint).after(fetched).with_retry(Linear(max_attempts=2, initial_delay="500ms"))
reviewed = (
    wf.agent_loop("review-loop", review)
    .after(fetched)
    .with_max_iterations(10)
    .with_max_duration("15m")
    .with_loop_delay("1s")
    .with_budget_warn_at(8)
)
posted = wf.task("post-results", comment).after(linted, reviewed).skip_if(linted.output["issues_found"] == 0)
morning = wf.sleep("wait", cron="0 9 * * 1-5").after(posted)
# --8<-- [end:define]


REPOSITORY = {42: {"main.py": "print('hello')  # TODO: greet people by name", "test_main.py": "assert True"}}


def opinion(name: str, text: str) -> list[str]:
    """Stands for a language model: finds fault with tests that test nothing."""
    return [f"{name} tests nothing"] if "assert True" in text else []
