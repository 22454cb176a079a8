"""The schemas of a run's input and output, from what its first and last steps take and give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.dsl.shape import Schema, Shape, all_of, object_of
from dagnats.handling.codec import UnsupportedType, codec_for, type_name

if TYPE_CHECKING:
    from dagnats.dsl.step import Step
    from dagnats.dsl.web import Web
    from dagnats.handling.schema import Direction


def shape_of(declared: Any, direction: Direction) -> Shape | None:
    """The shape of a declared type; None when nothing was declared, or what cannot be carried."""
    try:
        return None if declared is None else Shape(type_name(declared), codec_for(declared).schema(direction))
    except UnsupportedType:  # told where the declarations are checked
        return None


def input_schema(web: Web) -> Schema | None:
    """What a run must be started with, so that every step which receives the run's input can read it."""
    wanted: list[Schema] = []
    for step in web.roots:
        shape = step.takes()
        if shape is not None and shape.schema and shape.schema not in wanted:
            wanted.append(shape.schema)
    return all_of(wanted) if wanted else None


def run_output(web: Web) -> Shape | None:
    """What a completed run returns: the last step's output, or an object of several by step id."""
    shapes = {step.id: _shape(step, web) for step in web.leaves}
    if not any(shape.schema for shape in shapes.values()):
        return None
    if len(shapes) == 1:
        return next(iter(shapes.values()))
    names = ", ".join(f"{key}: {shape.name}" for key, shape in shapes.items())
    return Shape(f"{{{names}}}", object_of({key: shape.schema for key, shape in shapes.items()}))


def _shape(step: Step[Any, Any], web: Web) -> Shape:
    shape = step.gives() or Shape("Any", {})
    return shape.optional() if shape.schema and web.may_be_skipped(step) else shape
