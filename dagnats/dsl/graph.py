"""A workflow as people see it: boxes and arrows. Made from any document, a broken one too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True)
class Node:
    """A step.

    Attributes:
        id: Its id.
        kind: Its type.
        detail: What it does, in a word or two: its task type, how long it sleeps, whom it asks.
        condition: When it is skipped; "" without a condition.
        status: Of the step in a run; "" without one.
    """

    id: str
    kind: str
    detail: str = ""
    condition: str = ""
    status: str = ""


@dataclass(frozen=True)
class Arrow:
    """A way from one step to another, by their places in `nodes`. `role` is "", `on_failure` or `compensate`."""

    source: int
    target: int
    role: str = ""


@dataclass(frozen=True)
class Graph:
    """Boxes, and the arrows between them."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


_DETAILS = {
    "sub_workflow": ("workflow",),
    "sleep": ("duration", "cron", "until_input_path"),
    "wait_for_event": ("event",),
    "approval": ("description", "subject"),
    "respond": ("status",),
}


def graph_of(document: Mapping[str, Any], statuses: Mapping[str, str] | None = None) -> Graph:
    """The graph of a definition's document. Arrows that lead nowhere are left out.

    Args:
        document: As a definition writes it: `definition.content()`.
        statuses: Step statuses of a run, by step id.
    """
    steps: list[dict[str, Any]] = document["steps"]
    nodes = tuple(_node(step, statuses or {}) for step in steps)
    places = {node.id: place for place, node in reversed(list(enumerate(nodes)))}
    arrows = dict.fromkeys(arrow for place, step in enumerate(steps) for arrow in _arrows(place, step, places))
    return Graph(nodes, tuple(arrows))


def _node(step: dict[str, Any], statuses: Mapping[str, str]) -> Node:
    step_id, kind = str(step["id"]), step.get("type", "normal")
    config = step.get("config", {})
    words = (str(config[key]) for key in _DETAILS.get(kind, ()) if key in config)
    detail = step.get("task") or next(words, "")
    return Node(step_id, kind, detail, _condition(step.get("skip_if")), statuses.get(step_id, ""))


def _arrows(place: int, step: dict[str, Any], places: Mapping[str, int]) -> Iterator[Arrow]:
    for needed in map(str, step.get("depends_on", ())):
        if needed in places:
            yield Arrow(places[needed], place)
    for role in ("on_failure", "compensate"):
        target = str(step.get(role))
        if target in places:
            yield Arrow(place, places[target], role)


def _condition(condition: Any) -> str:
    """A condition as its author would say it."""
    if condition is None:
        return ""
    said = cast("dict[str, Any]", condition)
    for kind, word in (("all", " and "), ("any", " or ")):
        if kind in said:
            return "(" + word.join(_condition(part) for part in said[kind]) + ")"
    return f"{said['step_id']}.{said['field']} {said['op']} {said['value']!r}"
