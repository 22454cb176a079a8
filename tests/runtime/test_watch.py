"""What is watched for is found by what an event says, not by comparing it with everything."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dagnats.model.json import encode
from dagnats.model.waiter import Waiter
from dagnats.runtime.ports import Happening
from dagnats.runtime.watch import Watch, Watches, body_of

EVENT = "payment.done"


def watch(run_id: str, right: Any, *, left: str = "order", op: str = "eq") -> Watch:
    right = right if isinstance(right, msgspec.Raw) else encode(right)
    return Watch(
        Waiter(
            id=f"{run_id}.1.0", run_id=run_id, step_id="wait", attempt=1, event=EVENT, left=left, op=op, right=right
        ),
        0,
    )


def near(watches: Watches, said: Any) -> list[Watch]:
    return watches.near(EVENT, body_of(Happening(1, 1, EVENT, bytes(encode(said)))))


def takers(watches: Watches, said: Any) -> list[str]:
    event = Happening(1, 1, EVENT, bytes(encode(said)))
    return [each.waiter.run_id for each in near(watches, said) if each.takes(event, body_of(event))]


def test_an_event_is_compared_with_those_only_that_wait_for_what_it_says() -> None:
    watches = Watches()
    for at in range(1_000):
        watches.add(watch(f"r{at}", f"order {at}"))
    assert [each.waiter.run_id for each in near(watches, {"order": "order 7"})] == ["r7"]
    assert near(watches, {"order": "unknown"}) == near(watches, {}) == near(watches, {"order": ["order 7"]}) == []


VALUES = [None, True, False, 1, 1.0, 0, 2, "1", "true", "", [1], [True], {"a": 1}, {}, 10**30]


@pytest.mark.parametrize("op", ["eq", "ne", "in", "lt"])
def test_whatever_is_compared_the_same_ones_are_found(op: str) -> None:
    watches, all_of_them = Watches(), [watch(f"r{at}", value, op=op) for at, value in enumerate(VALUES)]
    all_of_them += [watch("any", None, left="", op=""), watch("deep", 1, left="order.a"), watch("lost", b"")]
    for each in all_of_them:
        assert watches.add(each)
    for value in VALUES:
        event = Happening(1, 1, EVENT, bytes(encode({"order": value})))
        wanted = [each.waiter.run_id for each in all_of_them if each.takes(event, body_of(event))]
        assert sorted(takers(watches, {"order": value})) == sorted(wanted), value


def test_nothing_is_left_of_what_is_dropped() -> None:
    watches, all_of_them = Watches(), [watch("a", "1"), watch("b", "1"), watch("c", [1]), watch("d", 1, op="gt")]
    for each in all_of_them:
        watches.add(each)
    watches.drop(all_of_them[0].key)
    assert takers(watches, {"order": "1"}) == ["b"]
    for each in all_of_them:
        watches.drop(each.key)
    assert not watches.any_of(EVENT)
    assert not watches._by_type  # pyright: ignore[reportPrivateUsage]  # memory follows use
