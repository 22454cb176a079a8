"""The graph as it was said: which step feeds which, as far as it can be followed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagnats.dsl.step import Step, StepRef

# A workflow and its steps are one noun told in several files: reading what was said of a step is this file's work.
# pyright: reportPrivateUsage=false


class Web:
    """The steps of a workflow and the references between them. Those that lead nowhere are told elsewhere."""

    def __init__(self, steps: Iterable[Step[Any, Any]]) -> None:
        self.steps = list(steps)
        self._by_id: dict[str, Step[Any, Any]] = {}
        for step in self.steps:
            self._by_id.setdefault(step.id, step)
        self._own = {id(step) for step in self.steps}
        self._auxiliary = {id(target) for step in self.steps for _, target in self.auxiliaries(step)}

    def needs(self, step: Step[Any, Any]) -> list[Step[Any, Any]]:
        """The steps whose outputs `step` receives, each once."""
        found = (self._found(reference) for reference in step._after)
        return list({id(needed): needed for needed in found if needed is not None}.values())

    def is_whole(self, step: Step[Any, Any]) -> bool:
        """Whether everything `step` depends on is known; otherwise nobody knows what it receives."""
        return all(self._found(reference) is not None for reference in step._after)

    def auxiliaries(self, step: Step[Any, Any]) -> Iterator[tuple[str, Step[Any, Any]]]:
        """The steps that run for `step` alone: what they do (`on_failure`, `compensate`), and which they are."""
        for key, reference in step._references.items():
            target = self._found(reference)
            if target is not None:
                yield key, target

    @cached_property
    def roots(self) -> list[Step[Any, Any]]:
        """The steps that receive the run's input."""
        return [step for step in self.steps if not step._after and id(step) not in self._auxiliary]

    @cached_property
    def leaves(self) -> list[Step[Any, Any]]:
        """The steps whose outputs are the run's."""
        others = {id(target) for step in self.steps for target in self.needs(step)} | self._auxiliary
        return [step for step in self.steps if id(step) not in others]

    def may_be_skipped(self, step: Step[Any, Any]) -> bool:
        """Whether a completed run may lack its output: a condition, or a failure that was recovered from."""
        return step._condition is not None or id(step) in self._recoverable

    @cached_property
    def _recoverable(self) -> set[int]:
        """Steps with an `on_failure` step, and all that depend on them."""
        dependents: dict[int, list[Step[Any, Any]]] = {}
        for step in self.steps:
            for needed in self.needs(step):
                dependents.setdefault(id(needed), []).append(step)
        waiting = [step for step in self.steps if "on_failure" in step._references]
        found = {id(step) for step in waiting}
        for step in waiting:  # grows while it is read
            later = [dependent for dependent in dependents.get(id(step), ()) if id(dependent) not in found]
            waiting += later
            found |= {id(dependent) for dependent in later}
        return found

    def _found(self, reference: StepRef) -> Step[Any, Any] | None:
        if isinstance(reference, str):
            return self._by_id.get(reference)
        return reference if id(reference) in self._own else None
