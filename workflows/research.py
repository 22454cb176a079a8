"""An agent plans its own steps: it says which searches a question needs, and another agent sums up what they found.

The language model is a few lines at the bottom, so that the file runs as it is.
"""

# --8<-- [start:define]
from typing import Any

from pydantic import BaseModel

from dagnats import Workflow, handler


class Question(BaseModel):
    text: str
    tier: str = "free"


class PlannedStep(BaseModel):
    id: str
    task: str
    depends_on: list[str] = []


class Plan(BaseModel):
    steps: list[PlannedStep]


@handler("research.plan")
async def plan_research(question: Question) -> Plan:
    searches = [PlannedStep(id=f"search-{at}", task=search.task) for at, _ in enumerate(keywords(question.text), 1)]
    return Plan(steps=[*searches, PlannedStep(id="compare", task=compare.task, depends_on=[s.id for s in searches])])


@handler("research.search")
async def search(question: Any) -> list[str]:
    return ["https://example.org/durable", "https://example.org/workflow"]


@handler("research.compare")
async def compare(found: dict[str, list[str]]) -> list[str]:
    return sorted({page for pages in found.values() for page in pages})


@handler("research.summarise")
async def summarise(found: Any) -> str:  # what planned steps give is not known
    return f"This was found: {found}"


wf = Workflow("research", timeout="1h").with_priority("tier", {"paid": -120})
plan = (
    wf.planner("plan", plan_research)
    .with_max_steps(12)
    .with_max_depth(3)
    .with_allowed_tasks(search, compare)
    .with_timeout("2m")
    .with_worker_group("models")
)
answer = wf.agent("answer", summarise).after(plan).with_timeout("5m").with_worker_group("models")
# --8<-- [end:define]


def keywords(text: str) -> list[str]:
    """Stands for a language model."""
    return [word for word in text.lower().split() if len(word) > 3]
