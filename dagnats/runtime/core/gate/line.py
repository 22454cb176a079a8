"""A line: keys in an order, of which the first is asked for, and any may leave."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Any)

Order = tuple[int, ...]

_SLACK = 64  # so many places of those who left are kept in any case


class Line(Generic[K]):
    """A heap with keys that can be taken out of its middle."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[Order, K]] = []
        self._order: dict[K, Order] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: K) -> bool:
        return key in self._order

    def put(self, key: K, order: Order) -> None:
        """Let a key in, or give it another place."""
        if self._order.get(key) == order:
            return
        self._order[key] = order
        heappush(self._heap, (order, key))
        if len(self._heap) > 2 * len(self._order) + _SLACK:
            self._heap = [(order, key) for key, order in self._order.items()]
            heapify(self._heap)

    def drop(self, key: K) -> None:
        """Let a key go, wherever it is."""
        self._order.pop(key, None)

    def first(self) -> tuple[Order, K] | None:
        """The first one, and its order; None when nobody is there."""
        heap = self._heap
        while heap:
            order, key = heap[0]
            if self._order.get(key) == order:
                return heap[0]
            heappop(heap)
        return None

    def sorted(self) -> list[K]:
        """All keys, the first one first."""
        return sorted(self._order, key=lambda key: (self._order[key], key))
