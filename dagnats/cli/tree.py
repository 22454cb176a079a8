"""A run as a tree: every step under the step it depends on, with how long it took and what came of it."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, NamedTuple

from dagnats.cli.output import counted, cut, display_width, json_text, one_line, pad, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagnats.cli.output import Paint
    from dagnats.client import RunView, StepView

_MARKS = {
    "completed": ("✓", "green"),
    "recovered": ("✓", "yellow"),
    "failed": ("✗", "red"),
    "cancelled": ("\N{EN DASH}", "yellow"),
    "queued": ("•", "cyan"),
    "running": ("•", "cyan"),
}
_NOT_RUN = ("\N{EN DASH}", "dim")
_UNDOING = ("↺", "yellow")
_HANDLING = ("↳", "yellow")

_NANOS_PER_MS = 1_000_000
_LONGEST_BRANCH = 600  # no line is wider; without an end, a deep tree's branches alone would fill the memory
_LEAST_DETAIL = 16  # cells that stay for it, however deep the tree is


class _Row(NamedTuple):
    """One step, taken apart into the columns of its line."""

    branch: str
    mark: str
    colour: str
    name: str
    took: str
    attempts: str
    detail: str


def tree_lines(view: RunView, *, width: int = 80, paint: Paint = plain) -> list[str]:
    """The run as lines of at most `width` cells, first a headline, then its steps."""
    rows = list(_rows(view))
    most = max(width - _LEAST_DETAIL - 24, 8)
    label_width = min(max((_label_width(row) for row in rows), default=0), most)
    took_width = max((len(row.took) for row in rows), default=0)
    attempts_width = max((len(row.attempts) for row in rows), default=0)
    lines = [headline(view, width=width, paint=paint)]
    for row in rows:
        label = _label(row, label_width, paint)
        numbers = f"{row.took:>{took_width}}  {paint(pad(row.attempts, attempts_width), 'dim')}"
        used = label_width + took_width + attempts_width + 6
        detail = paint(cut(row.detail, max(width - used, 1)), *(("red",) if row.colour == "red" else ()))
        lines.append(f"{label}  {numbers}  {detail}".rstrip())
    return lines


def headline(view: RunView, *, width: int = 80, paint: Paint = plain) -> str:
    """The run in one line: what it is, how it ended, how long it took."""
    good = view.status == "completed"
    colour = "green" if good else "yellow" if view.status in ("compensated", "cancelled", "running") else "red"
    took = f" in {milliseconds(view.ended_ns - view.created_ns)}" if view.ended else ""
    start = f"{view.workflow} {view.run_id[:8]} "
    status = view.status.replace("_", " ")
    why = f": {view.failed_step}: {one_line(view.error)}" if view.failed_step else ""
    rest = cut(f"{took}{why}", max(width - len(start) - len(status), 1))
    return f"{paint(start, 'bold')}{paint(status, colour, 'bold')}{rest}"


def milliseconds(nanos: int) -> str:
    """A duration as people compare it: `3 ms`, `1,204 ms`."""
    return f"{max(nanos, 0) / _NANOS_PER_MS:,.0f} ms"


# -- rows --------------------------------------------------------------------------------------------------


def _rows(view: RunView) -> Iterator[_Row]:
    """The steps from the roots down, each with the branch that leads to it."""
    steps = {step.id: step for step in view.steps}
    children = _children(view.steps)
    # A stack of our own: a workflow may be ten thousand steps deep.
    stack = [(step_id, "", "") for step_id in reversed(children.get("", ()))]
    while stack:
        step_id, branch, below = stack.pop()
        below = below[-_LONGEST_BRANCH:]
        yield _row(view, steps, steps[step_id], branch)
        inside = children.get(step_id, [])
        for at, child in reversed(list(enumerate(inside))):
            last = at == len(inside) - 1
            stack.append((child, f"{below}{'└─' if last else '├─'} ", f"{below}{'   ' if last else '│  '}"))


def _children(steps: Sequence[StepView]) -> Mapping[str, list[str]]:
    """By step id ("" for the roots), the steps drawn under it: what undoes or handles it first."""
    depth: dict[str, int] = {}
    needs = {step.id: step.needs for step in steps if not step.auxiliary}
    for step_id in TopologicalSorter(needs).static_order():
        depth[step_id] = 1 + max((depth[needed] for needed in needs[step_id]), default=0)
    children: dict[str, list[str]] = {}
    for step in steps:
        if step.serves:
            children.setdefault(step.serves, []).append(step.id)
    for step in steps:
        if not step.auxiliary:
            # The deepest dependency is the one that it waited for longest, as far as the graph can tell.
            above = max(step.needs, key=lambda needed: depth[needed], default="")
            children.setdefault(above, []).append(step.id)
    return children


def _row(view: RunView, steps: Mapping[str, StepView], step: StepView, branch: str) -> _Row:
    mark, colour = _mark(steps, step)
    return _Row(
        branch=branch,
        mark=mark,
        colour=colour,
        name=step.id,
        took=_took(view, steps, step),
        attempts=counted(step.attempts, "attempt") if step.attempts else "",
        detail=_detail(view, steps, step),
    )


def _mark(steps: Mapping[str, StepView], step: StepView) -> tuple[str, str]:
    if step.serves and step.status == "completed":
        return _UNDOING if _undoes(steps, step) else _HANDLING
    return _MARKS.get(step.status, _NOT_RUN)


def _undoes(steps: Mapping[str, StepView], step: StepView) -> bool:
    """Whether an auxiliary step undoes the step it runs for; else it handles that one's failure."""
    return steps[step.serves].status == "completed"


def _took(view: RunView, steps: Mapping[str, StepView], step: StepView) -> str:
    """From the moment nothing held the step back until it ended: waiting for workers and retries included."""
    if not step.ended_ns or not step.queued_ns:
        return ""
    ready = max((steps[needed].ended_ns for needed in step.needs), default=view.created_ns)
    return milliseconds(step.ended_ns - (step.queued_ns if step.serves else ready))


def _detail(view: RunView, steps: Mapping[str, StepView], step: StepView) -> str:
    said = one_line(json_text(step.output)) if step.status == "completed" else one_line(step.error)
    if step.serves:
        verb = "undoes" if _undoes(steps, step) else "handles the failure of"
        return f"{verb} {step.serves}: {said}" if said else f"{verb} {step.serves}"
    if step.status == "pending":
        return "did not run" if view.ended else "waits"
    return said


# -- columns -----------------------------------------------------------------------------------------------


def _label_width(row: _Row) -> int:
    return len(row.branch) + 2 + display_width(row.name)


def _label(row: _Row, width: int, paint: Paint) -> str:
    """Branch, mark and name, padded; a branch too deep for the line loses its beginning."""
    free = max(width - 2 - display_width(row.name), 0)
    branch = row.branch if len(row.branch) <= free else f"…{row.branch[len(row.branch) - free + 1 :]}" if free else ""
    name = cut(row.name, max(width - len(branch) - 2, 1))
    styles = ("dim",) if row.colour == "dim" else ()
    return f"{paint(branch, 'dim')}{paint(row.mark, row.colour)} {paint(pad(name, width - len(branch) - 2), *styles)}"
