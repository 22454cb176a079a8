"""A definition, prepared once for deciding: who waits for whom, with numbers instead of scans."""

from __future__ import annotations

from typing import Any

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.definition import RetryPolicy, WorkflowDef
from dagnats.model.duration import duration_nanos, parse_duration

LEGACY_DELAY = parse_duration("5s")  # `retries: n` means n retries, 5 s apart

# Keys that are not carried out yet, with the value that asks for nothing. A run that ignored another one would do
# what nobody wrote. `metadata`, `labels` and a step's `priority` change no run's course.
_STEP_KEYS_TO_COME: dict[str, Any] = {
    "skip_if": None,
    "worker_group": None,
    "rate_limit": None,
    "keyed_rate_limit": None,
    "max_task_concurrency": 0,
    "required_capabilities": (),
}
_WORKFLOW_KEYS_TO_COME: dict[str, Any] = {
    "concurrency": None,
    "idempotency_key": None,
    "priority": None,
    "sticky": "",
    "singleton": None,
    "cancel_on": (),
    "failure_mode": "fail_fast",
    "compensate_on": ("failure", "timeout"),
}


class Node:
    """One step of a graph, with everything a decision about it needs.

    Attributes:
        id: The step's id in the definition.
        task: Its task type.
        auxiliary: Whether it only runs for another step.
        needs: The steps it depends on, in the definition's order.
        dependents: The steps that depend on it, in the definition's order.
        rank: Its place in one topological order; a step's dependencies have lower ranks.
        timeout_ns: Per attempt, from its start; 0 for none.
        queue_timeout_ns: Per attempt, from its queueing to its start; 0 for none.
        heartbeat_timeout_ns: The longest silence of a running attempt; 0 for none.
        retry: Its own policy, or the workflow's, or the legacy one; None when a failure is final.
        on_failure: The step to run when it failed for good, or "".
        compensate: The step that undoes it, or "".
    """

    __slots__ = (
        "auxiliary",
        "compensate",
        "dependents",
        "heartbeat_timeout_ns",
        "id",
        "needs",
        "on_failure",
        "queue_timeout_ns",
        "rank",
        "retry",
        "task",
        "timeout_ns",
    )

    def __init__(
        self,
        *,
        id: str,
        task: str,
        auxiliary: bool,
        needs: tuple[str, ...],
        timeout_ns: int,
        queue_timeout_ns: int,
        heartbeat_timeout_ns: int,
        retry: RetryPolicy | None,
        on_failure: str,
        compensate: str,
    ) -> None:
        self.id = id
        self.task = task
        self.auxiliary = auxiliary
        self.needs = needs
        self.dependents: list[str] = []
        self.rank = 0
        self.timeout_ns = timeout_ns
        self.queue_timeout_ns = queue_timeout_ns
        self.heartbeat_timeout_ns = heartbeat_timeout_ns
        self.retry = retry
        self.on_failure = on_failure
        self.compensate = compensate


class Graph:
    """What `advance` knows of a workflow. Built once per definition, shared by all its runs, never changed.

    Attributes:
        name: The workflow's name.
        identity: The definition's content hash.
        nodes: All steps by id, in the definition's order.
        roots: Steps of the graph that wait for nothing.
        leaves: Steps of the graph nobody depends on: their outputs are the run's.
        size: How many steps belong to the graph; auxiliary ones do not.
        timeout_ns: Of a whole run; 0 for none.
        unusable: Why no run of it can work; "" for a proper one.
    """

    unusable = ""

    def __init__(self, definition: WorkflowDef) -> None:
        self.name = definition.name
        self.identity = definition.identity
        self.timeout_ns = duration_nanos(definition.timeout)
        auxiliary = definition.auxiliary
        self.nodes = {
            step.id: Node(
                id=step.id,
                task=step.task,
                auxiliary=step.id in auxiliary,
                needs=step.depends_on,
                timeout_ns=duration_nanos(step.timeout),
                queue_timeout_ns=duration_nanos(step.queue_timeout),
                heartbeat_timeout_ns=duration_nanos(step.heartbeat_timeout),
                retry=step.retry or definition.default_retry or _legacy(step.retries),
                on_failure=step.on_failure or "",
                compensate=step.compensate or "",
            )
            for step in definition.steps
        }
        main = [node for node in self.nodes.values() if not node.auxiliary]
        for node in main:
            for needed in node.needs:
                self.nodes[needed].dependents.append(node.id)
        self.roots = tuple(node.id for node in main if not node.needs)
        self.leaves = tuple(node.id for node in main if not node.dependents)
        self.size = len(main)
        self._shared = _shared(definition)
        self._rank()

    def _rank(self) -> None:
        """Kahn's algorithm; steps that could run side by side rank in the definition's order."""
        waiting = {node.id: len(node.needs) for node in self.nodes.values()}
        ready = list(self.roots)
        for rank, step_id in enumerate(ready):  # grows while it is read
            node = self.nodes[step_id]
            node.rank = rank
            for dependent in node.dependents:
                waiting[dependent] -= 1
                if not waiting[dependent]:
                    ready.append(dependent)

    def instance(self, auxiliary: str, step_id: str) -> str:
        """The id under which `auxiliary` runs for `step_id`: its own, or a derived one when several share it."""
        return f"{auxiliary}.for.{step_id}" if auxiliary in self._shared else auxiliary

    def node(self, step_id: str) -> Node | None:
        """The node that `step_id`, as it came over the wire, is an instance of; None when there is none."""
        return self.nodes.get(step_id) or self.nodes.get(step_id.partition(".for.")[0])

    def reads(self, step_id: str) -> bool:
        """Whether a decision looks into this step's output; "" asks for the run's input.

        Such a payload comes to `advance` whole, whatever its size; of others it may see a reference.
        """
        return False


class UnusableGraph(Graph):
    """Stands in for a definition that is not there or not valid: a run of it fails, visibly."""

    def __init__(self, name: str, identity: str, reason: str) -> None:
        self.name = name
        self.identity = identity
        self.timeout_ns = 0
        self.nodes = {}
        self.roots = self.leaves = ()
        self.size = 0
        self._shared = frozenset[str]()
        self.unusable = f"the definition {identity[:12]!r} of workflow {name!r} {reason}"


def graph_of(name: str, identity: str, data: bytes | None) -> Graph:
    """The graph of a stored definition, whatever state the store is in."""
    if data is None:
        return UnusableGraph(name, identity, "is not stored")
    try:
        definition = load_definition(data)
    except DefinitionError as error:
        return UnusableGraph(name, identity, f"is not valid: {error.problems[0]}")
    beyond = _beyond(definition)
    if beyond:
        return UnusableGraph(name, identity, f"uses {', '.join(beyond)}, which this engine does not run yet")
    return Graph(definition)


def _beyond(definition: WorkflowDef) -> list[str]:
    """What changes how a run goes and is not carried out here: each once, with the first step that has it."""
    found: dict[str, str] = {}
    for step in definition.steps:
        if step.type != "normal":
            found.setdefault(f"step type {step.type!r}", f" (step {step.id!r})")
        for key, usual in _STEP_KEYS_TO_COME.items():
            if getattr(step, key) != usual:
                found.setdefault(key, f" (step {step.id!r})")
    for key, usual in _WORKFLOW_KEYS_TO_COME.items():
        if getattr(definition, key) != usual:
            found[key] = ""
    return [f"{what}{where}" for what, where in found.items()]


def _shared(definition: WorkflowDef) -> frozenset[str]:
    """Auxiliary steps that more than one use names; each use runs as its own instance."""
    seen: set[str] = set()
    shared: set[str] = set()
    for step in definition.steps:
        for target in (step.on_failure, step.compensate):
            if target is not None:
                (shared if target in seen else seen).add(target)
    return frozenset(shared)


def _legacy(retries: int) -> RetryPolicy | None:
    if not retries:
        return None
    return RetryPolicy(max_attempts=retries, initial_delay=LEGACY_DELAY, max_delay=LEGACY_DELAY)
