"""Typed edges: what a step gives must be what the next one takes, as far as both are known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dagnats.dsl.fit import Misfit, misfits
from dagnats.dsl.schema import run_output
from dagnats.dsl.shape import Schema, Shape, object_of
from dagnats.errors import Problem
from dagnats.handling.source import shown_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.said import Said
    from dagnats.dsl.step import Step
    from dagnats.dsl.web import Web
    from dagnats.dsl.workflow import Workflow

# A workflow and its steps are one noun told in several files: reading what was said of a step is this file's work.
# pyright: reportPrivateUsage=false

_TEXT: Schema = {"type": "string"}
_ENVELOPES: dict[str, tuple[str, str, dict[str, Schema]]] = {
    # Which auxiliary step receives what: a type's name, the key of what is the user's, and the other keys.
    "on_failure": (
        "FailureInfo",
        "input",
        {"failed_step": _TEXT, "error": _TEXT, "failure_type": _TEXT, "attempts": {"type": "integer"}},
    ),
    "compensate": (
        "Compensation",
        "original_output",
        {"original_step": _TEXT, "trigger_step": _TEXT, "trigger_error": _TEXT},
    ),
}


def edge_problems(workflow: Workflow[Any, Any], web: Web) -> Iterator[Problem]:
    """Every edge over which something goes that cannot be read: the rule `edge-type`."""
    edges = _Edges(workflow, web)
    for at, step in enumerate(web.steps):
        yield from edges.into(at, step)
        yield from edges.aside(at, step)
        yield from edges.around(at, step)
    yield from edges.out()


class _Edges:
    def __init__(self, workflow: Workflow[Any, Any], web: Web) -> None:
        self._workflow = workflow
        self._web = web
        self._input = workflow.takes()
        self._roots = {id(step) for step in web.roots}
        self._found: dict[tuple[int, int], tuple[Schema, Schema, Misfit | None]] = {}

    def into(self, at: int, step: Step[Any, Any]) -> Iterator[Problem]:
        """What a step receives: the run's input, one output, or several."""
        takes = step.takes()
        if takes is None or not self._web.is_whole(step):
            return
        needs = self._web.needs(step)
        if len(needs) == 1:
            said = f'step "{needs[0].id}" gives', f'step "{step.id}" takes'
            edge = f"{needs[0].id} → {step.id}"
            yield from self._problems(f"steps[{at}].depends_on[0]", step, said, edge, _given(needs[0]), takes)
        elif needs:
            yield from self._fan_in(at, step, needs, takes)
        elif id(step) in self._roots:
            said = "the run's input is", f'step "{step.id}" takes'
            yield from self._problems(f"steps[{at}].task", step, said, f"input → {step.id}", self._input, takes)

    def _fan_in(self, at: int, step: Step[Any, Any], needs: list[Step[Any, Any]], takes: Shape) -> Iterator[Problem]:
        """Several outputs arrive as one object. Each is told by itself, where the reason says which one it is."""
        shapes = {needed.id: _given(needed) for needed in needs}
        together = object_of({key: shape.schema if shape else {} for key, shape in shapes.items()})
        names = ", ".join(f"{key}: {shape.name if shape else 'Any'}" for key, shape in shapes.items())
        told: set[str] = set()
        for found in misfits(together, takes.schema):
            source = found.way[0] if found.way else ""
            shape = shapes.get(source)
            if source in told:
                continue
            told.add(source)
            path = f"steps[{at}].depends_on" + (f"[{list(shapes).index(source)}]" if shape else "")
            who = f'step "{source}" gives {shape.name}' if shape else f"the steps before it give {{{names}}}"
            edge = f"{source if shape else ', '.join(shapes)} → {step.id}"
            yield _problem(path, step, f'{who}, but step "{step.id}" takes {takes.name} ({edge}): {found}')

    def aside(self, at: int, step: Step[Any, Any]) -> Iterator[Problem]:
        """What the steps receive that run for this one alone."""
        for key, target in self._web.auxiliaries(step):
            takes = target.takes()
            name, inner, others = _ENVELOPES[key]
            carried = step.takes() if key == "on_failure" else step.gives()
            if takes is None:
                continue
            schema = object_of({**others, inner: carried.schema if carried else {}})
            gives = Shape(f"{name}[{carried.name if carried else 'Any'}]", schema)
            said = f'step "{step.id}" gives its `{key}` step', f'step "{target.id}" takes'
            yield from self._problems(f"steps[{at}].{key}", step, said, f"{step.id} → {target.id}", gives, takes)

    def around(self, at: int, step: Step[Any, Any]) -> Iterator[Problem]:
        """What a loop gives to its own next iteration."""
        takes = step.takes()
        if takes is not None:
            said = f'step "{step.id}" continues with', "its next iteration takes"
            edge = f"{step.id} → {step.id}"
            yield from self._problems(f"steps[{at}].task", step, said, edge, step.continues(), takes)

    def out(self) -> Iterator[Problem]:
        """What the last steps give, against the declared output of the run."""
        takes, gives = self._workflow.gives(), run_output(self._web)
        leaves = self._web.leaves
        if takes is None or gives is None:
            return
        who = f'step "{leaves[0].id}" gives' if len(leaves) == 1 else "the last steps give"
        edge = f"{', '.join(leaf.id for leaf in leaves)} → output"
        yield from self._problems("output_schema", self._workflow, (who, "the run's output is"), edge, gives, takes)

    def _problems(
        self, path: str, said: Said, words: tuple[str, str], edge: str, gives: Shape | None, takes: Shape
    ) -> Iterator[Problem]:
        if gives is None:
            return
        found = self._misfit(gives.schema, takes.schema)
        if found is not None:
            message = f"{words[0]} {gives.name}, but {words[1]} {takes.name} ({edge}): {found}"
            yield _problem(path, said, message)

    def _misfit(self, written: Schema, read: Schema) -> Misfit | None:
        """The first one. Remembered per pair of types: a type gives the same schema each time."""
        pair = (id(written), id(read))
        if pair not in self._found:
            self._found[pair] = (written, read, next(misfits(written, read), None))
        return self._found[pair][2]


def _given(step: Step[Any, Any]) -> Shape | None:
    """What the next step receives: null, too, when this one may be skipped."""
    shape = step.gives()
    return shape.optional() if shape is not None and step._condition is not None else shape


def _problem(path: str, said: Said, message: str) -> Problem:
    key = re.sub(r"^steps\[\d+\]\.", "", path)
    return Problem(path, "edge-type", message, source=shown_place(said._place(key)))
