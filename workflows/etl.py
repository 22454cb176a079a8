"""A nightly import: list the files of a day, read each in a task of its own, and load what they hold.

Its tasks belong to it alone, so they are said by decorators. The store is a few lines at the bottom.
"""

# --8<-- [start:define]
from datetime import date
from typing import NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict

from dagnats import Exponential, KeyedRateLimit, RateLimit, Workflow


class Import(BaseModel):
    customer: str
    day: date


class File(TypedDict):
    customer: str
    name: str


class Rows(TypedDict):
    file: str
    amounts: list[int]
    refused: NotRequired[int]


class Total(BaseModel):
    files: int
    rows: int
    sum: int


wf = Workflow("etl", timeout="2h").with_concurrency(4, 50, key="customer").with_failure_mode("drain")


@wf.step(timeout="1m", retry=Exponential(max_attempts=5, max_delay="1m", jitter=0.2), rate_limit=RateLimit(60, "1m"))
async def extract(wanted: Import) -> list[File]:
    return [File(customer=wanted.customer, name=name) for name in names(wanted.day)]


@wf.map(
    over=extract,
    max_items=500,
    max_parallel=20,
    timeout="5m",
    retry=Exponential(max_attempts=3),
    keyed_rate_limit=KeyedRateLimit("customer", 10, "1s"),
    task_concurrency=40,
)
def transform(file: File) -> Rows:  # a sync function runs in a thread
    amounts, refused = parsed(contents(file["name"]))
    return Rows(file=file["name"], amounts=amounts, refused=refused)


@wf.step(after=transform, queue_timeout="30m", heartbeat_timeout="20s")
async def load(tables: list[Rows]) -> Total:
    amounts = [amount for rows in tables for amount in rows["amounts"]]
    return Total(files=len(tables), rows=len(amounts), sum=sum(amounts))


# --8<-- [end:define]


def names(day: date) -> list[str]:
    """Stands for a bucket: the files of a day."""
    return [f"{day.isoformat()}/{part}.csv" for part in ("shop", "web")]


def contents(name: str) -> str:
    """Stands for a download."""
    return "100\n250\nn/a\n" if name.endswith("shop.csv") else "75\n"


def parsed(text: str) -> tuple[list[int], int]:
    """The amounts in a file, and how many lines were none."""
    lines = text.splitlines()
    amounts = [int(line) for line in lines if line.isdecimal()]
    return amounts, len(lines) - len(amounts)
