"""A definition, prepared once for deciding: who waits for whom, with numbers instead of scans."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.condition import comparisons
from dagnats.model.config import MapConfig, RespondConfig, SleepConfig, WaitForEventConfig
from dagnats.model.duration import duration_nanos
from dagnats.model.event import NOTHING
from dagnats.runtime.core.node import Node
from dagnats.runtime.core.plan import generated

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from dagnats.model.condition import CancelOn, Match
    from dagnats.model.definition import WorkflowDef
    from dagnats.model.policy import Concurrency, Priority, Singleton
    from dagnats.model.run import Run
    from dagnats.model.step import StepDef

_MOST_PLANS = 256


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
        max_steps: How many steps of a run may be in flight; 0 for all.
        concurrency: How many runs may go on at a time, or None.
        singleton: Whether only one run may go on at a time, or None.
        priority: The order of waiting runs, or None.
        cancel_on: Events that cancel a run.
        drains: Whether independent branches go on when a step has failed.
        compensate_on: What makes completed steps be undone.
        labels: Copied to each run.
        sticky: `soft` or `hard` when its runs prefer, or need, one worker.
        output_schema: What a run's output has to fit, or None.
        unusable: Why no run of it can work; "" for a proper one.
        whole: Whether states keep every payload: of two definitions, only then what they decide can be compared.
    """

    unusable = ""
    whole = False

    def __init__(self, definition: WorkflowDef, *, whole: bool = False) -> None:
        self.whole = whole
        self.name = definition.name
        self.identity = definition.identity
        self.timeout_ns = duration_nanos(definition.timeout)
        self.concurrency: Concurrency | None = definition.concurrency
        self.max_steps: int = definition.concurrency.max_steps if definition.concurrency is not None else 0
        self.singleton: Singleton | None = definition.singleton
        self.priority: Priority | None = definition.priority
        self.cancel_on: tuple[CancelOn, ...] = definition.cancel_on
        self.drains = definition.failure_mode == "drain"
        self.compensate_on: frozenset[str] = frozenset(definition.compensate_on)
        self.labels: dict[str, str] = definition.labels
        self.sticky: str = definition.sticky
        self.output_schema: Any = definition.output_schema
        auxiliary = definition.auxiliary
        self._default_retry = definition.default_retry
        self.nodes = {
            step.id: Node(step, self._default_retry, place=at, auxiliary=step.id in auxiliary)
            for at, step in enumerate(definition.steps)
        }
        main = [node for node in self.nodes.values() if not node.auxiliary]
        for node in main:
            for needed in node.needs:
                self.nodes[needed].dependents.append(node.id)
        self.roots = tuple(node.id for node in main if not node.needs)
        self.leaves = tuple(node.id for node in main if not node.dependents)
        self.size = len(main)
        self._shared = _shared(definition)
        self._read = _read(definition)
        self._handed_on = _handed_on(definition, self._read)
        self._plans: OrderedDict[tuple[str, bytes], dict[str, Node]] = OrderedDict()
        # An event asks for one again and again, and the key of the others is long.
        self._newest: tuple[msgspec.Raw, str, dict[str, Node]] = (NOTHING, "", {})
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

    @property
    def is_admitted(self) -> bool:
        """Whether its runs have to be admitted before they begin."""
        return bool(self.singleton or (self.concurrency is not None and self.concurrency.max_runs))

    def reads(self, step_id: str) -> bool:
        """Whether deciding may look into what a step returns, or into the run's input for "".

        Such a payload has to be there whole, whatever its size; of others a reference will do. The output of an item
        becomes part of the map's; what generated steps return, other generated ones may ask for.
        """
        base, dot, _ = step_id.partition(".")
        if base in self._read:
            return True
        node = self.nodes.get(base)
        return dot != "" and node is not None and node.type == "planner"

    def keeps(self, step_id: str) -> bool:
        """Whether a run's state has to have whole what a step returns, or the run's input for "".

        That is what `reads` says, and what is looked into as a part of what somebody hands on.
        """
        return self.whole or self.reads(step_id) or step_id.partition(".")[0] in self._handed_on

    def instance(self, auxiliary: str, step_id: str) -> str:
        """The id under which `auxiliary` runs for `step_id`: its own, or a derived one when several share it."""
        return f"{auxiliary}.for.{step_id}" if auxiliary in self._shared else auxiliary

    def node(self, step_id: str, run: Run) -> Node | None:
        """The node of a step of `run`, as its id came over the wire; None when there is none.

        Besides the definition's own: `{aux}.for.{step}`, `{map}.map.{item}`, `{planner}.{generated step}`, where the
        map and the planner may be a `{aux}.for.{step}` themselves.
        """
        node = self.nodes.get(step_id)
        if node is not None:
            return node
        base, _, rest = step_id.partition(".")
        node = self.nodes.get(base)
        if node is None or node.type != "planner":
            return node
        whole = step_id.rpartition(".")[0]
        if whole == f"{base}.for" and rest.count(".") == 1:
            return node
        return self.plan(run, whole).get(step_id)

    def plan(self, run: Run, planner: str) -> dict[str, Node]:
        """The steps that a planner of `run` has generated, by the ids under which they run."""
        plan = run.plans.get(planner, NOTHING)
        if not plan:
            return {}
        if plan is self._newest[0] and planner == self._newest[1]:
            return self._newest[2]
        key = (planner, bytes(plan))
        nodes = self._plans.get(key)
        if nodes is None:
            nodes = self._plans[key] = generated(planner, key[1], self._default_retry)
            if len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        self._newest = plan, planner, nodes
        return nodes


class UnusableGraph(Graph):
    """Stands in for a definition that is not there or not valid: a run of it fails, visibly."""

    def __init__(self, name: str, identity: str, reason: str) -> None:
        self.name = name
        self.identity = identity
        self.timeout_ns = self.max_steps = self.size = 0
        self.concurrency = self.singleton = self.priority = None
        self.cancel_on = ()
        self.drains = False
        self.compensate_on = frozenset()
        self.labels = {}
        self.sticky = ""
        self.output_schema = None
        self.nodes = {}
        self.roots = self.leaves = ()
        self._shared = frozenset[str]()
        self._read = self._handed_on = frozenset[str]()
        self._plans = OrderedDict()
        self._newest = NOTHING, "", {}
        self._default_retry = None
        self.unusable = f"the definition {identity[:12]!r} of workflow {name!r} {reason}"


def graph_of(name: str, identity: str, data: bytes | None, *, whole: bool = False) -> Graph:
    """The graph of a stored definition, whatever state the store is in. For `whole` see `Graph`."""
    if data is None:
        return UnusableGraph(name, identity, "is not stored")
    try:
        definition = load_definition(data)
    except DefinitionError as error:
        return UnusableGraph(name, identity, f"is not valid: {error.problems[0]}")
    return Graph(definition, whole=whole)


def _shared(definition: WorkflowDef) -> frozenset[str]:
    """Auxiliary steps that more than one use names; each use runs as its own instance."""
    seen: set[str] = set()
    shared: set[str] = set()
    for step in definition.steps:
        for target in (step.on_failure, step.compensate):
            if target is not None:
                (shared if target in seen else seen).add(target)
    return frozenset(shared)


_INPUT = ""


def _read(definition: WorkflowDef) -> frozenset[str]:
    """Steps whose outputs decisions look into, and "" when they look into the run's input."""
    read: set[str] = set()
    keyed = (definition.concurrency, definition.singleton, definition.priority)
    if any(part is not None and part.key for part in keyed):
        read.add(_INPUT)
    for cancel in definition.cancel_on:
        if cancel.match is not None:
            read.update(_referred(cancel.match))
    for step in definition.steps:
        read.update(_read_by(step))
    return frozenset(read)


def _read_by(step: StepDef) -> Iterator[str]:
    if step.type == "planner":
        yield step.id
    if step.skip_if is not None:
        yield from (comparison.step_id for comparison in comparisons(step.skip_if))
    config = step.config
    if _looks(step):
        yield from step.depends_on or (_INPUT,)
    if isinstance(config, SleepConfig) and config.until_input_path is not None:
        yield _INPUT
    if isinstance(config, WaitForEventConfig):
        yield from _referred(config.match)


def _looks(step: StepDef) -> bool:
    """Whether a step is decided by what it receives."""
    config = step.config
    picks = isinstance(config, RespondConfig) and config.body_from is not None
    return isinstance(config, MapConfig) or picks or step.keyed_rate_limit is not None


def _handed_on(definition: WorkflowDef, read: frozenset[str]) -> frozenset[str]:
    """What is looked into, without being `read` itself, in what is made of it: auxiliary steps are told of the inputs
    and outputs of those that they run for, and a respond step gives what it receives."""
    steps, auxiliary = definition.steps, definition.auxiliary
    looking = {step.id for step in steps if step.id in auxiliary and _looks(step)}
    served = [step for step in steps if looking.intersection((step.on_failure, step.compensate))]
    found = {each for step in served for each in (step.id, *(step.depends_on or (_INPUT,)))}
    gives = {step.id: step.depends_on or (_INPUT,) for step in steps if step.type == "respond"}
    waiting = [*(found | read)]
    for step_id in waiting:  # grows while it is read
        new = [each for each in gives.get(step_id, ()) if each not in found]
        found.update(new)
        waiting += new
    return frozenset(found)


def _referred(match: Match) -> Iterator[str]:
    """What the right side of a match is taken from."""
    if isinstance(match.right, str):
        root, _, rest = match.right.partition(".")
        yield rest.partition(".")[0] if root == "step" else _INPUT
