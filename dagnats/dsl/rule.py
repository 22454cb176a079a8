"""The rules that only Python code can break: the others are the definition's own.

The slugs are stable: programs compare them. Every example is a test, and the table in the docs is made from this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True)
class BuilderRule:
    """One rule.

    Attributes:
        slug: Its stable name, as problems carry it.
        says: What must be so.
        example: A program that breaks it and no other rule: it makes `wf`, whose build tells.
    """

    slug: str
    says: str
    example: str


def _rule(slug: str, says: str, example: str) -> BuilderRule:
    return BuilderRule(slug, says, dedent(example).strip() + "\n")


RULES = (
    _rule(
        "edge-type",
        "What a step gives is what the next one takes, as far as both are typed.",
        """
        wf = Workflow("w")

        @wf.step
        def count() -> int: ...

        @wf.step(after=count)
        def greet(name: str) -> str: ...
        """,
    ),
    _rule(
        "foreign-step",
        "A step refers to steps of its own workflow.",
        """
        other = Workflow("other")
        theirs = other.task("theirs", "t")
        wf = Workflow("w")
        wf.task("ours", "t").after(theirs)
        """,
    ),
    _rule(
        "handler-conflict",
        "A task type has one handler.",
        """
        @handler("mail.send")
        def send() -> None: ...

        @handler("mail.send")
        def send_again() -> None: ...

        wf = Workflow("w")
        wf.task("a", send)
        wf.task("b", send_again)
        """,
    ),
    _rule(
        "handler-kind",
        "A handler is a plain function: no method, lambda, partial or generator.",
        """
        wf = Workflow("w")
        wf.task("a", handler("t")(lambda: None))
        """,
    ),
    _rule(
        "handler-signature",
        "A handler takes `()`, `(input)`, `(ctx)` or `(input, ctx)`; whatever else it takes has a default.",
        """
        wf = Workflow("w")

        @wf.step
        def add(left: int, right: int) -> int: ...
        """,
    ),
    _rule(
        "handler-process",
        "A handler with `process=True` is sync, takes no context, and can be imported by its name.",
        """
        wf = Workflow("w")

        @wf.step(process=True)
        async def render() -> bytes: ...
        """,
    ),
    _rule(
        "unresolved-annotation",
        "Every annotation of a handler names something, at the latest when the workflow is built.",
        """
        wf = Workflow("w")

        @wf.step
        def load(order: "Ordr") -> None: ...
        """,
    ),
    _rule(
        "unsupported-type",
        "Every type of a handler or a declaration can be carried as JSON, by pydantic or by msgspec.",
        """
        import threading

        wf = Workflow("w", input=threading.Lock)
        wf.task("a", "t")
        """,
    ),
    _rule(
        "continue-outside-loop",
        "Only the handler of a loop returns `Continue`.",
        """
        wf = Workflow("w")

        @wf.step
        def think(draft: str) -> str | Continue[str]: ...
        """,
    ),
)
"""All of them, in the order of the docs."""
