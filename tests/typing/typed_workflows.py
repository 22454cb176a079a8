"""What type checkers know of a workflow as a whole, and of expressions. Checked by pyright, never run."""
# pyright: strict

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from dagnats import Debounce, Exponential, Match, Workflow
from dagnats.dsl.expression import Body, Condition, Input, Output


class Order: ...


class Special(Order): ...


class Receipt: ...


wf = Workflow("w")


def shown(*values: object) -> None: ...


def a_workflow_has_the_types_it_declares() -> None:
    assert_type(Workflow("w"), Workflow[Any, Any])
    assert_type(Workflow("w", input=Order), Workflow[Order, Any])
    assert_type(Workflow("w", output=list[Receipt]), Workflow[Any, list[Receipt]])
    assert_type(Workflow("w", input=Order, output=Receipt), Workflow[Order, Receipt])
    assert_type(Workflow("w", input=Order | None, output=str), Workflow[Any, str])
    assert_type(Workflow("w", input={"type": "object"}), Workflow[Any, Any])
    Workflow("w", input=3)  # pyright: ignore[reportArgumentType]
    Workflow("w", "1.0")  # pyright: ignore[reportCallIssue]


def what_takes_more_and_gives_less_fits() -> None:
    takes_more: Workflow[Special, Receipt] = Workflow("w", input=Order, output=Receipt)
    gives_less: Workflow[Order, object] = Workflow("w", input=Order, output=Receipt)
    without: Workflow = Workflow("w", input=Order)
    special = Workflow("w", input=Special, output=Receipt)
    wrong: Workflow[Order, Receipt] = special  # pyright: ignore[reportAssignmentType]
    assert_type((takes_more.name, gives_less.version, without.source, wrong.name), tuple[str, str, str, str])


def every_setter_keeps_the_workflows_types() -> None:
    typed = Workflow("w", input=Order, output=Receipt)
    assert_type(typed.with_timeout(timedelta(1)).with_timeout("1h"), Workflow[Order, Receipt])
    assert_type(typed.with_default_retry(Exponential(max_attempts=1)), Workflow[Order, Receipt])
    assert_type(typed.with_default_retry(max_attempts=1, strategy="linear"), Workflow[Order, Receipt])
    assert_type(typed.with_concurrency(3, key="a").with_priority("a", {"b": 1}), Workflow[Order, Receipt])
    assert_type(typed.with_sticky("hard").with_singleton("cancel", key="a"), Workflow[Order, Receipt])
    assert_type(typed.with_labels(a="b").with_failure_mode("drain"), Workflow[Order, Receipt])
    assert_type(typed.compensate_on("failure", "cancel").cancel_on("paid"), Workflow[Order, Receipt])
    assert_type(typed.on_cron("* * * * *").on_subject("a.>"), Workflow[Order, Receipt])
    assert_type(typed.on_webhook("/a", debounce=Debounce("1s")).on_http("/b", method="GET"), Workflow[Order, Receipt])
    assert_type(typed.to_json("go"), bytes)
    assert_type(typed.graph("svg"), str)


def wrong_use_of_an_option_is_a_type_error() -> None:
    wf.with_timeout(30)  # pyright: ignore[reportArgumentType]
    wf.with_sticky("glue")  # pyright: ignore[reportArgumentType]
    wf.with_singleton("replace")  # pyright: ignore[reportArgumentType]
    wf.with_failure_mode("ignore")  # pyright: ignore[reportArgumentType]
    wf.with_labels({"a": 1})  # pyright: ignore[reportArgumentType]
    wf.with_default_retry()  # pyright: ignore[reportCallIssue]
    wf.compensate_on("success")  # pyright: ignore[reportArgumentType]
    wf.cancel_on("paid", match="id")  # pyright: ignore[reportArgumentType]
    wf.on_http("/a", method="HEAD")  # pyright: ignore[reportArgumentType]
    wf.on_subject("a", debounce="1s")  # pyright: ignore[reportArgumentType]
    wf.to_json("xml")  # pyright: ignore[reportArgumentType]
    wf.graph("png")  # pyright: ignore[reportArgumentType]


def comparing_an_output_is_a_condition() -> None:
    output = wf.task("a", "t").output
    assert_type(output["a"][0]["b"], Output)
    assert_type(output["a"] == 0, Condition)
    assert_type((output["a"] != "b") & (output["c"] >= 1.5) | ~(output["d"] == None), Condition)  # noqa: E711  # an expression
    wf.task("b", "t").skip_if(output["a"] == 0)
    wf.task("b", "t").skip_if(output["a"])  # pyright: ignore[reportArgumentType]
    wf.task("b", "t").skip_if(True)  # pyright: ignore[reportArgumentType]
    shown(output["a"] < output["b"])  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]
    shown(output[1.5])  # pyright: ignore[reportArgumentType]
    shown(list(output))  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]
    shown((output["a"] == 0) & True)  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]
    shown({output: 1})  # pyright: ignore[reportUnhashable]
    shown("a" in output)  # pyright: ignore[reportOperatorIssue]


def comparing_an_event_is_a_match() -> None:
    assert_type(wf.event["a"]["b"], Body)
    assert_type(wf.input["a"], Input)
    assert_type(wf.event["a"] == wf.input["b"], Match)
    assert_type(wf.event["a"] < wf.task("a", "t").output["b"], Match)
    assert_type(wf.event["a"].is_in([1, 2]), Match)
    wf.cancel_on("paid", match=wf.event["a"] == 1)
    wf.cancel_on("paid", match=wf.input["a"])  # pyright: ignore[reportArgumentType]
    shown((wf.event["a"] == 1) & (wf.event["b"] == 2))  # pyright: ignore[reportOperatorIssue, reportUnknownArgumentType]
