"""Steps that are runs of other workflows: `wf.sub_workflow`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from dagnats.dsl.builder import Builder
from dagnats.dsl.step import I_contra, O_co, Step

if TYPE_CHECKING:
    from dagnats.dsl.shape import Shape
    from dagnats.dsl.workflow import Workflow

I = TypeVar("I")  # noqa: E741  # the child's input and output
O = TypeVar("O")  # noqa: E741


class SubWorkflowStep(Step[I_contra, O_co], Generic[I_contra, O_co]):
    """A step that starts a run of another workflow with its input, and completes with that run's output."""

    type: ClassVar[str] = "sub_workflow"

    def __init__(self, workflow: Builder, step_id: str, child: Workflow[Any, Any] | str) -> None:
        super().__init__(workflow, step_id)
        self.child = child
        self._set("config.workflow", _name(child))

    def with_detach(self, detach: bool = True) -> Self:
        """Complete at once, and let the child go on by itself."""
        return self._set("config.detach", detach)

    def takes(self) -> Shape | None:
        return None if isinstance(self.child, str) else self.child.takes()

    def gives(self) -> Shape | None:
        detached = self._settings["config"].get("detach")
        return None if isinstance(self.child, str) or detached else self.child.gives()


class ChildBuilder(Builder):
    """Adds steps of type `sub_workflow`."""

    @overload
    def sub_workflow(self, step_id: str, workflow: Workflow[I, O]) -> SubWorkflowStep[I, O]: ...
    @overload
    def sub_workflow(self, step_id: str, workflow: str) -> SubWorkflowStep[Any, Any]: ...

    def sub_workflow(self, step_id: str, workflow: Workflow[Any, Any] | str) -> SubWorkflowStep[Any, Any]:
        """Add a run of another workflow: the workflow, or its name."""
        return self._add(SubWorkflowStep[Any, Any](self, step_id, workflow))


def _name(child: object) -> str:
    if isinstance(child, Builder):
        return child.name
    if isinstance(child, str):
        return child
    raise TypeError(f"a workflow or the name of one is expected, not {child!r}")
