"""A graph as Mermaid text: for pages, notebooks and pull requests, which draw it themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.graph import Arrow, Graph, Node

_SHAPES = {  # Mermaid's brackets by step type; a plain box for all others
    "map": ("[[", "]]"),
    "agent": ("([", "])"),
    "agent_loop": ("([", "])"),
    "planner": ("([", "])"),
    "sub_workflow": ("[(", ")]"),
    "sleep": ("((", "))"),
    "wait_for_event": (">", "]"),
    "approval": ("{{", "}}"),
    "respond": ("[/", "/]"),
}
_COLOURS = {
    "completed": "#c8e6c9",
    "running": "#bbdefb",
    "queued": "#e3f2fd",
    "failed": "#ffcdd2",
    "cancelled": "#e0e0e0",
    "skipped": "#f5f5f5",
    "recovered": "#fff9c4",
}


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart. Ids are numbers: a step may be called `end`, which Mermaid is not."""
    return "\n".join(["flowchart TD", *_nodes(graph), *(_arrow(arrow) for arrow in graph.arrows), *_classes(graph), ""])


def _nodes(graph: Graph) -> Iterator[str]:
    for place, node in enumerate(graph.nodes):
        opening, closing = _SHAPES.get(node.kind, ("[", "]"))
        mark = f":::{node.status}" if node.status in _COLOURS else ""
        yield f'  s{place}{opening}"{_label(node)}"{closing}{mark}'


def _label(node: Node) -> str:
    lines = [_escaped(node.id)]
    if node.detail:
        lines.append(_escaped(node.detail))
    if node.condition:
        lines.append(f"skipped if {_escaped(node.condition)}")
    return "<br/>".join(lines)


def _arrow(arrow: Arrow) -> str:
    line = f"-. {arrow.role} .->" if arrow.role else "-->"
    return f"  s{arrow.source} {line} s{arrow.target}"


def _classes(graph: Graph) -> Iterator[str]:
    used = {node.status for node in graph.nodes}
    yield from (f"  classDef {status} fill:{colour}" for status, colour in _COLOURS.items() if status in used)


def _escaped(text: str) -> str:
    """`text` as a quoted label holds it: Mermaid reads `#name;` as a character, and the rest as HTML."""
    text = text.replace("#", "#35;").replace("&", "#amp;").replace('"', "#quot;")
    return text.replace("<", "#lt;").replace(">", "#gt;").replace("\n", " ")
