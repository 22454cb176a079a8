"""Warnings: what a valid definition may say, but its author probably did not mean."""

from __future__ import annotations

from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

from dagnats.model.condition import comparisons
from dagnats.model.finding import Finding, did_you_mean
from dagnats.model.identifier import near
from dagnats.model.step import WORKER_RUN, RespondStep, StepDef, SubWorkflowStep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dagnats.model.definition import WorkflowDef

_PAIRS = 1_000  # of responses compared: a workflow that has more of them is no typing error
_WORKER_KEYS = (
    "timeout",
    "queue_timeout",
    "heartbeat_timeout",
    "retry",
    "retries",
    "worker_group",
    "rate_limit",
    "keyed_rate_limit",
    "max_task_concurrency",
    "priority",
    "required_capabilities",
)
_DEFAULTS = {key: StepDef.model_fields[key].default for key in _WORKER_KEYS}


def advice_findings(definition: WorkflowDef, known: Collection[str] | None) -> Iterator[Finding]:
    """What looks wrong in `definition`, in document order."""
    for at, step in enumerate(definition.steps):
        yield from _idle_findings(at, step)
        if isinstance(step, SubWorkflowStep) and known is not None:
            yield from _child_findings(at, step, {*known, definition.name})
    yield from _respond_findings(definition)


def _idle_findings(at: int, step: StepDef) -> Iterator[Finding]:
    if step.type in WORKER_RUN:
        return
    for key in _WORKER_KEYS:
        if getattr(step, key) != _DEFAULTS[key]:
            message = f'`{key}` does nothing on "{step.id}": no worker runs a step of type {step.type!r}'
            yield Finding(("steps", at, key), "no-effect", message)


def _child_findings(at: int, step: SubWorkflowStep, known: Collection[str]) -> Iterator[Finding]:
    child = step.config.workflow
    if child not in known:
        message = f'step "{step.id}" runs workflow {child!r}, which is not known here'
        yield Finding(
            ("steps", at, "config", "workflow"), "unknown-workflow", message, did_you_mean(near(child, known))
        )


# -- responses ---------------------------------------------------------------------------------------------


def _respond_findings(definition: WorkflowDef) -> Iterator[Finding]:
    auxiliary = definition.auxiliary
    responds = ((at, step.id) for at, step in enumerate(definition.steps) if isinstance(step, RespondStep))
    main = [(at, step_id) for at, step_id in responds if step_id not in auxiliary]
    asked = _Asked(definition)
    for (_, first), (at, second) in islice(combinations(main, 2), _PAIRS):
        if not asked.apart(first, second):
            message = f'both "{first}" and "{second}" can run in one run; only the first response is sent'
            yield Finding(("steps", at), "duplicate-respond", message, "give both a `skip_if` on the same value")
            break
    for at, trigger in enumerate(definition.triggers):
        if trigger.http is not None and not main:
            message = f'callers of "{trigger.http.path}" get no answer: no `respond` step runs when all goes well'
            yield Finding(("triggers", at, "http"), "missing-respond", message)


class _Asked:
    """Which comparisons decide whether a step runs: its own, and those of all it depends on."""

    def __init__(self, definition: WorkflowDef) -> None:
        self._steps = {step.id: step for step in definition.steps}
        self._known: dict[str, dict[tuple[str, str], set[tuple[str, Any]]]] = {}

    def apart(self, first: str, second: str) -> bool:
        """Whether the two ask different things of one value: then normally only one of them runs."""
        one, other = self._of(first), self._of(second)
        return any(len(one[value] | other[value]) > 1 for value in one.keys() & other.keys())

    def _of(self, step_id: str) -> dict[tuple[str, str], set[tuple[str, Any]]]:
        """What is asked, by the value that is asked for."""
        if step_id not in self._known:
            asked = self._known[step_id] = {}
            for above in self._above(step_id):
                condition = self._steps[above].skip_if
                for part in comparisons(condition) if condition is not None else ():
                    asked.setdefault((part.step_id, part.field), set()).add((part.op, part.value))
        return self._known[step_id]

    def _above(self, step_id: str) -> list[str]:
        found = {step_id: None}
        waiting = [step_id]
        for above in waiting:  # grows while it is read
            new = [target for target in self._steps[above].depends_on if target not in found]
            found.update(dict.fromkeys(new))
            waiting += new
        return waiting
