"""What a handler may ask of the control plane, where its step is granted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dagnats.handling.value import written
from dagnats.model.definition import WorkflowDef
from dagnats.model.json import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """What the tree of runs that this one belongs to has used, and may use.

    Attributes:
        active_runs: Runs that its handlers have started and that have not ended.
        max_active_runs: How many of them there may be at a time.
        registered_defs: Workflows that its handlers have registered.
        max_registered_defs: How many of them there may be.
    """

    active_runs: int
    max_active_runs: int
    registered_defs: int
    max_registered_defs: int


class Buildable(Protocol):
    """A workflow, seen from here."""

    def build(self) -> WorkflowDef: ...


class HasName(Protocol):
    """The same, when only its name counts."""

    @property
    def name(self) -> str: ...


class PlaneOperations(Protocol):
    """What a worker, or a test, does for it. All of it raises ControlPlaneError for a no."""

    async def register(self, definition: bytes) -> str: ...

    async def start(self, workflow: str, input: bytes, key: str) -> str: ...

    async def budget(self) -> Budget: ...


class ControlPlane:
    """Registers workflows and starts runs of them, for the attempt that has it and for as long as that goes on.

    Every method raises a `ControlPlaneError` for a no; its class says why.
    """

    __slots__ = ("_operations",)

    def __init__(self, operations: PlaneOperations) -> None:
        self._operations = operations

    async def register(self, workflow: Buildable | WorkflowDef) -> str:
        """Register a workflow and give its full name: `agent.<root>.<name>`, which goes with the tree's first run.

        It is `promoted.<name>`, and stays, where the policy lets this run's workflow promote. The same definition
        again changes nothing; another one of the same name replaces it for the runs that are started from then on.

        Raises:
            DefinitionError: It cannot be built.
        """
        return await self._operations.register(_document(workflow))

    async def start(self, workflow: HasName | str, input: Any = None, *, key: str = "") -> str:
        """Start a run and give its id. It goes on by itself: nobody waits for it, and it outlives this run.

        An attempt that is repeated finds the run that its first start began: see `TaskContext.start`.

        Args:
            workflow: A name as `register` gave it, or one without dots: then of this tree's own, else of all.
            input: Any value with a JSON form.
            key: See `TaskContext.start`.
        """
        return await self._operations.start(_name(workflow), written(input), key)

    async def budget(self) -> Budget:
        """What is used, and what is left."""
        return await self._operations.budget()


class SyncControlPlane:
    """The same for a sync handler: its methods block.

    Args:
        wait: Has the worker's loop do it.
    """

    __slots__ = ("_operations", "_wait")

    def __init__(self, operations: PlaneOperations, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._operations = operations
        self._wait = wait

    def register(self, workflow: Buildable | WorkflowDef) -> str:
        """As `ControlPlane.register`."""
        return self._wait(self._operations.register(_document(workflow)))

    def start(self, workflow: HasName | str, input: Any = None, *, key: str = "") -> str:
        """As `ControlPlane.start`."""
        return self._wait(self._operations.start(_name(workflow), written(input), key))

    def budget(self) -> Budget:
        """As `ControlPlane.budget`."""
        return self._wait(self._operations.budget())


def _document(workflow: Buildable | WorkflowDef) -> bytes:
    definition = workflow if isinstance(workflow, WorkflowDef) else workflow.build()
    return compact(definition.model_dump(mode="json", exclude_defaults=True))


def _name(workflow: HasName | str) -> str:
    return workflow if isinstance(workflow, str) else workflow.name
