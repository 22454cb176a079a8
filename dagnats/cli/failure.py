"""What went wrong, as an exit code and as text or JSON. The only place that knows either."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import typer

from dagnats.cli.option import UsageError, current
from dagnats.cli.output import emit, one_line, paint, paint_err, say
from dagnats.errors import (
    ConfigurationError,
    ConflictError,
    DagnatsError,
    DecodeError,
    DefinitionError,
    FullError,
    InputError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dagnats.cli.output import Paint
    from dagnats.errors import Problem

NO = 1
"""The question was answered, and the answer is no."""
NOT_DONE = 2
"""The command was not carried out."""
UNREACHABLE = 3
"""No server answered."""

_KINDS: tuple[tuple[type[Exception], str, int], ...] = (
    (DefinitionError, "invalid-definition", NOT_DONE),
    (ConfigurationError, "invalid-configuration", NOT_DONE),
    (InputError, "invalid-input", NOT_DONE),
    (NotFoundError, "not-found", NOT_DONE),
    (ConflictError, "conflict", NOT_DONE),
    (FullError, "full", NOT_DONE),
    (UnavailableError, "unavailable", UNREACHABLE),
    (RefusedError, "refused", NOT_DONE),
    (DecodeError, "decode", NOT_DONE),
    (UsageError, "usage", NOT_DONE),
    (typer.TyperException, "usage", NOT_DONE),
    (DagnatsError, "error", NOT_DONE),
    (OSError, "system", NOT_DONE),
)


class InvalidWorkflows(DagnatsError):
    """Workflows that were given to a command are not valid.

    Args:
        invalid: One error for each of them.
        consequence: What therefore did not happen.
    """

    def __init__(self, invalid: Sequence[DefinitionError], consequence: str) -> None:
        self.invalid = tuple(invalid)
        super().__init__(f"{_title(self.invalid)}; {consequence}")


def report(error: BaseException) -> int:
    """Tell about `error` and give the exit code."""
    kind, code = _kind(error)
    message, hint = _words(error, kind)
    invalid = _invalid(error)
    if current().debug:
        say("".join(traceback.format_exception(error)).rstrip(), err=True)
    if current().json:
        problems = [{"workflow": one.name, **problem_document(it)} for one in invalid for it in one.problems]
        if isinstance(error, InputError):
            problems = [problem_document(it) for it in error.problems]
        emit({"error": {"kind": kind, "message": message, "hint": hint, "problems": problems}})
        return code
    say(f"{paint_err('error:', 'red', 'bold')} {message}", err=True)
    for one in invalid:
        for problem in one.problems:
            for line in problem_lines(problem, paint_err, name=one.name if len(invalid) > 1 else ""):
                say(line, err=True)
    for problem in error.problems if isinstance(error, InputError) else ():
        for line in problem_lines(problem, paint_err):
            say(line, err=True)
    if hint:
        say(f"{paint_err('hint:', 'cyan')} {hint}", err=True)
    return code


def problem_document(problem: Problem) -> dict[str, str]:
    """A problem as JSON."""
    return {
        "path": problem.path,
        "rule": problem.rule,
        "message": problem.message,
        "hint": problem.hint,
        "source": problem.source,
    }


def problem_lines(problem: Problem, painter: Paint = paint, *, name: str = "") -> list[str]:
    """A problem as people read it; `name` says of which workflow, where there are several."""
    return _lines(painter("invalid:", "red"), problem, painter, name)


def warn(warnings: Iterable[tuple[str, Problem]]) -> None:
    """Tell people what is allowed but probably not meant, by workflow; programs find it in the command's document."""
    for name, problem in warnings if not current().json else ():
        for line in _lines(paint_err("warning:", "yellow"), problem, paint_err, name):
            say(line, err=True)


def _lines(title: str, problem: Problem, painter: Paint, name: str) -> list[str]:
    where = one_line(": ".join(part for part in (name, problem.path) if part))
    if problem.source:
        where = f"{where} ({problem.source})" if where else problem.source
    detail = "; ".join(part for part in (f"at {where}" if where else "", problem.hint) if part)
    lines = [f"{title} {one_line(problem.message)}"]
    return [*lines, painter(f"  {detail}", "dim")] if detail else lines


def _kind(error: BaseException) -> tuple[str, int]:
    if isinstance(error, InvalidWorkflows):
        return "invalid-definition", NOT_DONE
    return next(((kind, code) for of, kind, code in _KINDS if isinstance(error, of)), ("internal", NOT_DONE))


def _invalid(error: BaseException) -> tuple[DefinitionError, ...]:
    if isinstance(error, InvalidWorkflows):
        return error.invalid
    return (error,) if isinstance(error, DefinitionError) else ()


def _words(error: BaseException, kind: str) -> tuple[str, str]:
    """Its message and its hint."""
    if isinstance(error, DefinitionError):
        return _title([error]), error.hint
    if isinstance(error, InputError):
        return error.title, error.hint
    if isinstance(error, DagnatsError):
        return str(error), error.hint
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, OSError):
        return _system(error), ""
    return f"{kind} error: {type(error).__name__}: {error}", "this is a bug in DagNats; --debug shows where it happened"


def _title(invalid: Sequence[DefinitionError]) -> str:
    if len(invalid) > 1:
        return f"{len(invalid)} workflows are not valid"
    return invalid[0].title


def _usage(error: typer.TyperException) -> tuple[str, str]:
    message = " ".join(error.format_message().split()).rstrip(".")  # a choice is listed over several lines
    message = message.replace(": Value error, ", ": ")  # pydantic's words for ours
    context: Any = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "dagnats"
    return message[:1].lower() + message[1:], f"`{path} --help` lists what there is"


def _system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
