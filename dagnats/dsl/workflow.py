"""`Workflow`: the builder people type. A value: it connects to nothing and can be built twice."""

from __future__ import annotations

from datetime import timedelta
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from typing_extensions import TypeVar

from dagnats.dsl.agent import AgentBuilder
from dagnats.dsl.child import ChildBuilder
from dagnats.dsl.compile import compile_workflow
from dagnats.dsl.document import document_of
from dagnats.dsl.expression import Body, Input
from dagnats.dsl.graph import graph_of
from dagnats.dsl.loop import LoopBuilder
from dagnats.dsl.map import MapBuilder
from dagnats.dsl.mermaid import mermaid
from dagnats.dsl.option import OptionBuilder
from dagnats.dsl.picture import svg
from dagnats.dsl.planner import PlannerBuilder
from dagnats.dsl.respond import RespondBuilder
from dagnats.dsl.retry import RetryValue
from dagnats.dsl.schema import shape_of
from dagnats.dsl.shape import Schema, Shape
from dagnats.dsl.task import TaskBuilder
from dagnats.dsl.trigger import TriggerBuilder
from dagnats.dsl.waitpoint import WaitpointBuilder
from dagnats.errors import DagnatsError
from dagnats.handling.source import shown_place

if TYPE_CHECKING:
    from dagnats.handling.handler import Handler
    from dagnats.model.definition import Dialect, WorkflowDef

I_contra = TypeVar("I_contra", contravariant=True, default=Any)
O_co = TypeVar("O_co", covariant=True, default=Any)


class Workflow(
    TaskBuilder,
    AgentBuilder,
    LoopBuilder,
    MapBuilder,
    PlannerBuilder,
    ChildBuilder,
    WaitpointBuilder,
    RespondBuilder,
    OptionBuilder,
    TriggerBuilder,
    Generic[I_contra, O_co],
):
    """A named graph of steps.

    Args:
        name: What runs are started by: letters, digits, `_` and `-`.
        input: What a run is started with: a type, or a JSON Schema. Otherwise what the first steps take.
        output: What a run returns: a type, or a JSON Schema. Otherwise what the last steps give.
        version: A label for people. Identity is the content of the definition.
        timeout: The deadline of a whole run.
        default_retry: For steps without a retry policy of their own.
        idempotency_key: Dot path into the run's input: starts with the same value there give one run.
    """

    def __init__(
        self,
        name: str,
        *,
        input: type[I_contra] | UnionType | Schema | None = None,
        output: type[O_co] | UnionType | Schema | None = None,
        version: str = "1",
        timeout: timedelta | str | None = None,
        default_retry: RetryValue | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(name)
        self._set("version", version)
        for path, declared in (("input_schema", input), ("output_schema", output)):
            if declared is not None:
                self._declare(path, declared)
        if timeout is not None:
            self.with_timeout(timeout)
        if default_retry is not None:
            self.with_default_retry(default_retry)
        if idempotency_key is not None:
            self.with_idempotency_key(idempotency_key)

    def __repr__(self) -> str:
        return f"<workflow {self.name!r}, {len(self._steps)} steps>"

    @property
    def version(self) -> str:
        """A label for people."""
        return cast("str", self._settings["version"])

    @property
    def source(self) -> str:
        """`file:line` of the call that made it."""
        return shown_place(self._created)

    @property
    def input(self) -> Input:
        """The run's input, to match events with: `wf.event["order_id"] == wf.input["id"]`."""
        return Input()

    @property
    def event(self) -> Body:
        """The body of an event that is waited for."""
        return Body()

    @property
    def handlers(self) -> tuple[Handler[..., Any], ...]:
        """The handlers its steps were given, each once."""
        return tuple({id(step.handler): step.handler for step in self._steps if step.handler is not None}.values())

    def takes(self) -> Shape | None:
        """What a run's input must be; None when it was not declared as a type."""
        return shape_of(self._types.get("input_schema"), "reading")

    def gives(self) -> Shape | None:
        """What a run's output is; None when it was not declared as a type."""
        return shape_of(self._types.get("output_schema"), "writing")

    def build(self) -> WorkflowDef:
        """The definition.

        Raises:
            DefinitionError: Something is wrong; `problems` lists everything, with your own file and line.
        """
        return compile_workflow(self)

    def to_json(self, dialect: Dialect = "native") -> bytes:
        """The JSON artefact, as `dagnats build` writes it.

        Raises:
            DefinitionError: Like `build`; with the dialect `go` also for whatever the Go engine has not.
        """
        return self.build().to_json(dialect)

    def graph(self, form: Literal["mermaid", "svg"] = "mermaid") -> str:
        """The graph, as Mermaid text or as an SVG picture. Also of a workflow that does not build yet.

        Raises:
            DagnatsError: There are too many steps for a picture.
        """
        graph = graph_of(document_of(self))
        return mermaid(graph) if form == "mermaid" else svg(graph)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """How notebooks show it: as a picture, or as the text of one."""
        bundle = {"text/plain": repr(self), "text/vnd.mermaid": self.graph()}
        try:
            return {**bundle, "image/svg+xml": self.graph("svg")}
        except DagnatsError:
            return bundle
