"""Every error becomes an exit code, a sentence and a hint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dagnats.cli import option
from dagnats.cli.app import run
from dagnats.cli.failure import InvalidWorkflows, report
from dagnats.errors import (
    ConflictError,
    DagnatsError,
    DecodeError,
    DefinitionError,
    FullError,
    NotFoundError,
    Problem,
    RefusedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROBLEM = Problem(
    "steps[2].depends_on[0]", "unknown-step", 'step "x" depends on non-existent step "y"', "did you mean 'z'?"
)


@pytest.fixture(autouse=True)
def _own_options() -> Iterator[None]:
    before = option.current()
    option.use(option.Options())
    yield
    option.use(before)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (DefinitionError([_PROBLEM], name="w"), "invalid-definition", 2),
        (InvalidWorkflows([DefinitionError([_PROBLEM])], "nothing was stored"), "invalid-definition", 2),
        (NotFoundError("workflow", "w"), "not-found", 2),
        (ConflictError("taken"), "conflict", 2),
        (RefusedError("too big"), "refused", 2),
        (DecodeError("not ours"), "decode", 2),
        (FullError("no room"), "full", 2),
        (UnavailableError("no answer"), "unavailable", 3),
        (option.UsageError("which run?"), "usage", 2),
        (DagnatsError("no"), "error", 2),
        (PermissionError(13, "Permission denied", "/x"), "system", 2),
        (ZeroDivisionError("by zero"), "internal", 2),
    ],
)
def test_each_kind_of_error_has_its_exit_code(
    error: Exception, kind: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    option.use(option.Options(json=True))

    assert report(error) == code
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert list(document) == ["error"]
    assert list(document["error"]) == ["kind", "message", "hint", "problems"]
    assert document["error"]["kind"] == kind
    assert captured.err == ""


def test_an_error_is_one_sentence_and_one_hint_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    report(NotFoundError("workflow", "ordr", near=["order"]))

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no workflow 'ordr'\nhint: did you mean 'order'?\n"


def test_a_wrong_or_missing_choice_is_one_line_that_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (
            ["--scope", "all"],
            "error: invalid value for '--scope': 'all' is not one of 'read', 'run', 'operate', 'admin'",
        ),
        ([], "error: missing option '--scope'. Choose from: read, run, operate, admin"),
    ):
        assert run(["token", "create", "deploy", *words]) == 2
        assert capsys.readouterr().err.splitlines()[0] == told


def test_a_file_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    report(PermissionError(13, "Permission denied", "/x/y.json"))

    assert capsys.readouterr().err == "error: /x/y.json: Permission denied\n"


def test_problems_are_listed_with_their_place_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    report(InvalidWorkflows([DefinitionError([_PROBLEM], name="review")], "nothing was registered"))

    assert capsys.readouterr().err.splitlines() == [
        "error: workflow 'review' has 1 problem; nothing was registered",
        'invalid: step "x" depends on non-existent step "y"',
        "  at steps[2].depends_on[0]; did you mean 'z'?",
    ]


def test_problems_of_several_workflows_say_whose_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    source = Problem("timeout", "duration", "'soon' is not a duration", source="flows.py:3")
    report(InvalidWorkflows([DefinitionError([_PROBLEM], name="a"), DefinitionError([source], name="b")], "nothing"))

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: 2 workflows are not valid; nothing"
    assert lines[2] == "  at a: steps[2].depends_on[0]; did you mean 'z'?"
    assert lines[4] == "  at b: timeout (flows.py:3)"


def test_a_handlers_problem_is_not_told_as_a_workflows(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("", "identifier", "task type 'odd type!' is not valid", source="flows.py:3")
    report(DefinitionError([problem], title="handler 'odd type!' cannot be used"))

    assert capsys.readouterr().err.splitlines() == [
        "error: handler 'odd type!' cannot be used",
        "invalid: task type 'odd type!' is not valid",
        "  at flows.py:3",
    ]


def test_a_traceback_is_shown_for_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    report(ZeroDivisionError("by zero"))
    assert "Traceback" not in capsys.readouterr().err

    option.use(option.Options(debug=True))
    try:
        _ = 1 // 0
    except ZeroDivisionError as error:
        report(error)
    assert "Traceback" in capsys.readouterr().err


def test_a_name_from_a_file_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(DefinitionError([Problem("steps[0].id", "identifier", 'step "a\nb\x1b[2J" is wrong')]))

    assert capsys.readouterr().err.splitlines()[1] == 'invalid: step "a b\\x1b[2J" is wrong'
