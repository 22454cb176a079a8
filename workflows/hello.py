"""The first workflow: three steps in a line, the first with a timeout and a retry policy."""

# --8<-- [start:define]
from dagnats import Exponential, Workflow, handler


@handler("greet")
async def greet(name: str | None) -> str:
    return f"Hello, {name or 'World'}!"


@handler("uppercase")
async def uppercase(text: str) -> str:
    return text.upper()


@handler("reverse")
async def reverse(text: str) -> str:
    return text[::-1]


wf = Workflow("hello-pipeline", version="1.0")
first = (
    wf.task("greet", greet)
    .with_timeout("30s")
    .with_retry(Exponential(max_attempts=3, initial_delay="1s", max_delay="30s", multiplier=2.0))
)
second = wf.task("uppercase", uppercase).after(first)
third = wf.task("reverse", reverse).after(second)
# --8<-- [end:define]
