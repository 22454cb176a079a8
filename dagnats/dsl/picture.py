"""A graph as an SVG picture, readable on light and dark pages."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from dagnats.dsl.layout import layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.graph import Arrow, Graph, Node
    from dagnats.dsl.layout import Layout, Point

_HEIGHT = 44  # of a box, in pixels: two lines of text
_GAP_X, _GAP_Y = 28, 40
_LETTER = 7.2  # the width of a letter, about
_LONGEST = 34  # letters in a box; the whole text is its tooltip

_STYLE = """
.dagnats { font: 12px system-ui, sans-serif; }
.dagnats rect { fill: #fff; stroke: #546e7a; }
.dagnats text { fill: #263238; text-anchor: middle; }
.dagnats .id { font-weight: 600; }
.dagnats .detail { fill: #607d8b; font-size: 11px; }
.dagnats .arrow { fill: none; stroke: #546e7a; }
.dagnats .aside { stroke-dasharray: 5 4; }
.dagnats .head { fill: #546e7a; }
.dagnats .asked rect { stroke-dasharray: 3 3; }
.dagnats .completed rect { fill: #c8e6c9; }
.dagnats .running rect, .dagnats .queued rect { fill: #bbdefb; }
.dagnats .failed rect { fill: #ffcdd2; }
.dagnats .cancelled rect, .dagnats .skipped rect { fill: #e0e0e0; }
.dagnats .recovered rect { fill: #fff9c4; }
@media (prefers-color-scheme: dark) {
  .dagnats .head { fill: #b0bec5; }
  .dagnats .arrow { stroke: #b0bec5; }
}
"""


def svg(graph: Graph) -> str:
    """The graph as a picture: boxes in layers, arrows downwards.

    Raises:
        DagnatsError: There are too many steps to draw.
    """
    return _Picture(graph, layout(graph)).drawn()


class _Picture:
    def __init__(self, graph: Graph, places: Layout) -> None:
        self._graph = graph
        self._places = places
        letters = max((len(line) for node in graph.nodes for line in _lines(node)), default=0)
        self._width = round(letters * _LETTER) + 24

    def drawn(self) -> str:
        width, height = (round(size) for size in self._pixels(self._places.size))
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="dagnats" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img">',
            f"<style>{_STYLE}</style>",
            '<defs><marker id="dagnats-head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto"><path class="head" d="M0 0L8 4L0 8z"/></marker></defs>',
            *(self._arrow(self._graph.arrows[at], route) for at, route in self._places.arrows.items()),
            *(line for place, node in enumerate(self._graph.nodes) for line in self._box(place, node)),
            "</svg>",
        ]
        return "\n".join([*parts, ""])

    def _box(self, place: int, node: Node) -> Iterator[str]:
        x, y = self._centre(self._places.nodes[place])
        classes = " ".join(filter(None, ["step", node.kind, node.status, node.condition and "asked"]))
        said = ": ".join(filter(None, [node.id, node.detail]))
        title = f"{said} ({', '.join(filter(None, [node.kind, node.status]))})"
        if node.condition:
            title += f", skipped if {node.condition}"
        yield f'<g class="{escape(classes)}"><title>{escape(title)}</title>'
        corner = f'x="{x - self._width / 2:g}" y="{y - _HEIGHT / 2:g}"'
        yield f'<rect {corner} width="{self._width}" height="{_HEIGHT}" rx="{_corner(node.kind)}"/>'
        lines = _lines(node)
        for line, style, below in zip(lines, ("id", "detail"), (-4, 12) if len(lines) > 1 else (4,), strict=False):
            yield f'<text class="{style}" x="{x:g}" y="{y + below:g}">{escape(line)}</text>'
        yield "</g>"

    def _arrow(self, arrow: Arrow, route: tuple[Point, ...]) -> str:
        points = [self._centre(point) for point in route]
        down = 1 if points[-1][1] > points[0][1] else -1  # upwards only where steps form a cycle
        points[0] = (points[0][0], points[0][1] + down * _HEIGHT / 2)
        points[-1] = (points[-1][0], points[-1][1] - down * _HEIGHT / 2)
        path = f"M{points[0][0]:g} {points[0][1]:g}"
        for (x0, y0), (x1, y1) in pairwise(points):
            middle = (y0 + y1) / 2
            path += f"C{x0:g} {middle:g} {x1:g} {middle:g} {x1:g} {y1:g}"
        classes = f"arrow aside {arrow.role}" if arrow.role else "arrow"
        title = f"<title>{escape(arrow.role)}</title>" if arrow.role else ""
        return f'<path class="{classes}" d="{path}" marker-end="url(#dagnats-head)">{title}</path>'

    def _centre(self, point: Point) -> Point:
        return self._pixels((point[0] + 0.5, point[1] + 0.5))

    def _pixels(self, point: Point) -> Point:
        return point[0] * (self._width + _GAP_X), point[1] * (_HEIGHT + _GAP_Y)


def _lines(node: Node) -> list[str]:
    return [_cut(line) for line in (node.id, node.detail) if line]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _corner(kind: str) -> int:
    """How round a box is: what workers run is nearly square, what the engine waits for is round."""
    return _HEIGHT // 2 if kind in ("sleep", "wait_for_event", "approval") else 5
