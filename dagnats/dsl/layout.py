"""Where the boxes and arrows of a picture go. The library decides; this file asks it and puts its answer in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagnats.errors import DagnatsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagnats.dsl.graph import Graph

Point = tuple[float, float]

MOST = 2_000
"""Steps that are laid out: 2,000 take about a second, and more than that is no picture any more."""


@dataclass(frozen=True)
class Layout:
    """Centres of boxes, and the points that arrows go through, in units of one box with its margins.

    Attributes:
        nodes: By place.
        arrows: By place: from the source's centre to the target's.
        size: Width and height of it all.
    """

    nodes: dict[int, Point]
    arrows: dict[int, tuple[Point, ...]]
    size: Point


def layout(graph: Graph) -> Layout:
    """Layers from top to bottom, with few crossings. The same graph gives the same layout.

    Raises:
        DagnatsError: There are too many steps, or the library is not installed.
    """
    if len(graph.nodes) > MOST:
        raise DagnatsError(
            f"the graph has {len(graph.nodes)} steps; a picture is drawn of up to {MOST}", hint="use the Mermaid text"
        )
    pairs = sorted({(arrow.source, arrow.target) for arrow in graph.arrows if arrow.source != arrow.target})
    linked = {place for pair in pairs for place in pair}
    parts = list(_connected(pairs)) if pairs else []
    parts += [_Part({place: (0.0, 0.0)}, {}) for place in range(len(graph.nodes)) if place not in linked]
    whole = _Part({}, {})
    width = 0.0
    for part in sorted(parts, key=lambda part: min(part.points)):
        moved = part.moved(width)
        whole.points.update(moved.points)
        whole.routes.update(moved.routes)
        width += part.width
    drawn = {at: whole.routes.get((arrow.source, arrow.target)) for at, arrow in enumerate(graph.arrows)}
    height = max((y for _, y in whole.points.values()), default=0.0) + 1
    return Layout(whole.points, {at: route for at, route in drawn.items() if route}, (width, height))


@dataclass(frozen=True)
class _Part:
    """Steps that hang together, as far left and as high as they go."""

    points: dict[int, Point]
    routes: dict[tuple[int, int], tuple[Point, ...]]

    @property
    def width(self) -> float:
        routed = [x for route in self.routes.values() for x, _ in route]
        return max([*routed, *(x for x, _ in self.points.values())]) + 1

    def moved(self, right: float) -> _Part:
        points = {place: (x + right, y) for place, (x, y) in self.points.items()}
        routes = {pair: tuple((x + right, y) for x, y in route) for pair, route in self.routes.items()}
        return _Part(points, routes)


def _connected(pairs: list[tuple[int, int]]) -> Iterator[_Part]:
    try:
        from fast_sugiyama import from_edges
    except ImportError:
        raise DagnatsError("pictures need the package fast-sugiyama", hint="pip install fast-sugiyama") from None
    places = sorted({place for pair in pairs for place in pair})
    numbers = {place: number for number, place in enumerate(places)}  # from here on, larger ones are bends
    edges = [(numbers[source], numbers[target]) for source, target in pairs]
    for positions, _, height, drawn in from_edges(edges, vertex_spacing=1, dummy_vertices=True):
        points: dict[Any, Point] = {number: (float(x), height - float(y)) for number, (x, y) in positions}
        routes = {
            (places[route[0]], places[route[-1]]): tuple(points[number] for number in route)
            for route in _routes(list(drawn or ()), len(places))
        }
        yield _Part({places[number]: point for number, point in points.items() if number < len(places)}, routes)


def _routes(drawn: list[tuple[Any, Any]], count: int) -> Iterator[list[int]]:
    """Every edge with its bends, which have numbers from `count` on."""
    onward = {source: target for source, target in drawn if source >= count}
    for source, target in drawn:
        if source < count:
            route = [source, target]
            while route[-1] >= count:
                route.append(onward[route[-1]])
            yield route
