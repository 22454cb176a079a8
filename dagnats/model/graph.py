"""Graph rules: who waits for whom, and who runs only for another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.model.finding import Finding
from dagnats.model.reading import items

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagnats.model.reading import Entry, Reading


def graph_findings(document: dict[str, Any], reading: Reading) -> Iterator[Finding]:
    """What is wrong between the steps that can be read."""
    for at, step_id in reading.repeated:
        first = reading.steps[step_id].at
        yield Finding(("steps", at, "id"), "duplicate-step", f'step id "{step_id}" is used by steps[{first}] too')
    for entry in reading.steps.values():
        yield from _dependency_findings(reading, entry)
        yield from _reference_findings(reading, entry)
    if reading.steps and reading.auxiliary.issuperset(reading.steps):
        message = "every step is named by an `on_failure` or `compensate` of another: none starts"
        yield Finding(("steps",), "nothing-to-run", message)
    else:
        for step_id in reading.auxiliary & reading.steps.keys():
            yield from _auxiliary_findings(reading.steps[step_id])
    if "compensate_on" in document and items(document["compensate_on"]) == document["compensate_on"] == []:
        yield from _never_compensated(reading)
    yield from _cycle_findings(reading)


def _dependency_findings(reading: Reading, entry: Entry) -> Iterator[Finding]:
    step_id, seen = entry.name, set[str]()
    for position, target in entry.dependencies():
        location = ("steps", entry.at, "depends_on", position)
        if target in seen:
            yield Finding(location, "duplicate-dependency", f'step "{step_id}" names dependency "{target}" twice')
        elif target == step_id:
            yield Finding(location, "self-dependency", f'step "{step_id}" depends on itself')
        elif target not in reading.steps:
            message = f'step "{step_id}" depends on non-existent step "{target}"'
            yield Finding(location, "unknown-step", message, reading.hint(target))
        elif target in reading.auxiliary and step_id not in reading.auxiliary:
            message = (
                f'step "{step_id}" depends on "{target}", which only runs as a failure or compensation step'
                " and may never run"
            )
            yield Finding(location, "depends-on-auxiliary", message)
        seen.add(target)


def _reference_findings(reading: Reading, entry: Entry) -> Iterator[Finding]:
    for key, target in entry.references():
        location = ("steps", entry.at, key)
        if target == entry.name:
            yield Finding(location, "self-reference", f'step "{entry.name}" names itself as its {key} step')
        elif target not in reading.steps:
            message = f'step "{entry.name}" names as {key} non-existent step "{target}"'
            yield Finding(location, "unknown-step", message, reading.hint(target))


def _auxiliary_findings(entry: Entry) -> Iterator[Finding]:
    for key in ("depends_on", "on_failure", "compensate", "skip_if"):
        if entry.step.get(key):
            message = f'step "{entry.name}" runs only for another step, so it cannot have `{key}`'
            yield Finding(("steps", entry.at, key), "auxiliary-step", message)


def _never_compensated(reading: Reading) -> Iterator[Finding]:
    for entry in reading.steps.values():
        for key, target in entry.references():
            if key == "compensate":
                message = f'step "{target}" can never run: `compensate_on` is empty, so nothing is undone'
                yield Finding(("steps", entry.at, key), "unreachable-auxiliary", message)


# -- cycles ------------------------------------------------------------------------------------------------


def _cycle_findings(reading: Reading) -> Iterator[Finding]:
    """One finding per knot of cycles, with one cycle's path. Kahn's algorithm first: linear, no recursion."""
    edges = {
        step_id: [target for _, target in entry.dependencies() if target in reading.steps and target != step_id]
        for step_id, entry in reading.steps.items()
    }
    stuck = _stuck(edges)
    walked: set[str] = set()
    for start in stuck:
        cycle = _cycle_from(start, edges, stuck, walked)
        if cycle:
            # Edges point from a step to what it needs; people read the order in which steps would run.
            order = [cycle[0], *reversed(cycle)]
            location = ("steps", reading.steps[cycle[0]].at, "depends_on")
            yield Finding(location, "cycle", f"the steps form a cycle: {_arrows(order)}")


def _stuck(edges: Mapping[str, Sequence[str]]) -> Mapping[str, int]:
    """The steps that can never start, because each waits for another one of them."""
    waiting = {step_id: len(targets) for step_id, targets in edges.items()}
    dependents: dict[str, list[str]] = {}
    for step_id, targets in edges.items():
        for target in targets:
            dependents.setdefault(target, []).append(step_id)
    ready = [step_id for step_id, count in waiting.items() if count == 0]
    while ready:
        done = ready.pop()
        del waiting[done]
        for dependent in dependents.get(done, ()):
            waiting[dependent] -= 1
            if waiting[dependent] == 0:
                ready.append(dependent)
    return waiting


def _cycle_from(
    start: str, edges: Mapping[str, Sequence[str]], stuck: Mapping[str, int], walked: set[str]
) -> list[str]:
    """The cycle reached from `start` along dependencies that are stuck themselves (each stuck step has one).

    Empty when the walk meets a step that an earlier walk passed: that walk has found its cycle.
    """
    position: dict[str, int] = {}
    step_id = start
    while step_id not in position:
        if step_id in walked:
            return []
        walked.add(step_id)
        position[step_id] = len(position)
        step_id = next(target for target in edges[step_id] if target in stuck)
    return list(position)[position[step_id] :]


def _arrows(order: Sequence[str], most: int = 24) -> str:
    if len(order) <= most:
        return " → ".join(order)
    half = most // 2
    left_out = f"… {len(order) - most} more …"
    return " → ".join([*order[:half], left_out, *order[-half:]])
