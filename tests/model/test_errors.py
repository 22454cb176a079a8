"""Errors: what their texts say, and what programs read from them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dagnats import errors
from dagnats.errors import (
    Abort,
    ConflictError,
    DagnatsError,
    DecodeError,
    DefinitionError,
    NotFoundError,
    Problem,
    RefusedError,
    ResultTimeout,
    Retry,
    RunCancelled,
    RunCompensated,
    RunError,
    RunFailed,
    UnavailableError,
)


def test_a_problem_says_where_what_how_to_mend_it_and_who_said_it() -> None:
    assert str(Problem("steps[0]", "some-rule", "is wrong")) == "steps[0]: is wrong [some-rule]"
    full = Problem("$", "r", "is wrong", hint="try this", source="flow.py:3")
    assert str(full) == "$: is wrong; try this [r] (flow.py:3)"
    assert str(Problem("", "r", "is wrong", source="flow.py:3")) == "is wrong [r] (flow.py:3)"


def test_a_definition_error_lists_its_problems() -> None:
    one, two = Problem("a", "r", "x"), Problem("b", "r", "y")
    assert str(DefinitionError([one], name="w")) == "workflow 'w' has 1 problem:\n  a: x [r]"
    error = DefinitionError([one, two])
    assert str(error) == "the workflow definition has 2 problems:\n  a: x [r]\n  b: y [r]"
    assert error.problems == (one, two)
    assert (error.title, error.name) == ("the workflow definition has 2 problems", "")


def test_a_definition_error_about_something_else_than_a_workflow_has_its_own_title() -> None:
    error = DefinitionError([Problem("", "r", "x")], title="handler 't' cannot be used")
    assert str(error) == "handler 't' cannot be used:\n  x [r]"
    assert error.title == "handler 't' cannot be used"


def test_what_is_not_found_comes_with_what_is_near() -> None:
    error = NotFoundError("run", "abd", near=["abc", "abe"])
    assert (str(error), error.hint) == ("no run 'abd'", "did you mean 'abc' or 'abe'?")
    assert NotFoundError("run", "abd", near=["abc"], hint="look again").hint == "look again"
    assert NotFoundError("run", "abd").hint == ""
    assert (error.kind, error.name) == ("run", "abd")


def test_a_refusal_keeps_natss_code_and_undecodable_bytes_are_kept() -> None:
    assert RefusedError("too large", code=10054, hint="split it").code == 10054
    assert DecodeError("no", data=b"\xff").data == b"\xff"


def test_a_result_timeout_says_that_the_run_goes_on() -> None:
    error = ResultTimeout("r1", timedelta(seconds=1.5))
    assert str(error) == "run r1 did not end within 1.5 s"
    assert error.hint == "it goes on: wait again, or see `dagnats run status`"
    assert error.run_id == "r1"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunFailed("r1", step="charge", error="declined"), "run r1 failed at step 'charge': declined"),
        (RunFailed("r1", error="too late"), "run r1 failed: too late"),
        (RunCompensated("r1", step="charge"), "run r1 was compensated after a failure at step 'charge'"),
        (RunCancelled("r1"), "run r1 was cancelled"),
    ],
)
def test_a_run_error_names_the_run_the_step_and_its_error(error: RunError, text: str) -> None:
    assert str(error) == text
    assert error.run_id == "r1"


def test_all_errors_have_one_root_but_what_handlers_raise_has_not() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {kind for kind in kinds if not issubclass(kind, DagnatsError)} == {Retry, Abort}
    assert {ConflictError, UnavailableError, RunError} <= set(kinds)


def test_a_handlers_orders_carry_what_they_ask_for() -> None:
    assert Retry(after=timedelta(seconds=3)).after == timedelta(seconds=3)
    assert str(Retry("busy", after=timedelta(0))) == "busy"
    assert str(Abort("over the limit")) == "over the limit"
