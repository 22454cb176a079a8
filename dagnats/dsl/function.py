"""Steps made from functions by decorators: each a step, and still the function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar

from dagnats.dsl.expression import Condition
from dagnats.dsl.limit import KeyedRateLimit, RateLimit
from dagnats.dsl.retry import RetryValue
from dagnats.dsl.step import Step, StepRef, several

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class CallableStep(Step[Any, Any], Generic[P, R]):
    """A step that is still its function."""

    @property
    def function(self) -> Callable[P, R]:
        """The function itself."""
        assert self.handler is not None, "it is made with one"
        return self.handler.function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)


class StepSettings(TypedDict, total=False):
    """What every decorator takes: the setters of a step, by their names without `with_`."""

    id: str
    task: str
    abort_on: tuple[type[Exception], ...]
    process: bool
    after: StepRef | Iterable[StepRef]
    timeout: timedelta | str
    queue_timeout: timedelta | str
    heartbeat_timeout: timedelta | str
    retry: RetryValue
    retries: int
    on_failure: StepRef
    compensation: StepRef
    skip_if: Condition
    worker_group: str
    rate_limit: RateLimit
    keyed_rate_limit: KeyedRateLimit
    task_concurrency: int
    metadata: Mapping[str, str]
    priority: int
    capabilities: Iterable[str]


_LISTS = {"rate_limit", "keyed_rate_limit", "capabilities", "allowed_tasks"}  # given as one value, set one by one


def apply_settings(step: Step[Any, Any], settings: Mapping[str, Any]) -> None:
    """Call the setter of each setting, in the order they were given.

    Raises:
        TypeError: A step of this kind has no such setter, or the setter refuses the value.
    """
    for name, value in settings.items():
        if name == "after":
            step.after(*several(value))
        elif name == "skip_if":
            step.skip_if(value)
        else:
            setter = getattr(step, f"with_{name}", None)
            if setter is None:
                raise TypeError(f"a step of type {step.type!r} has no setting {name!r}")
            setter(*value) if name in _LISTS and not isinstance(value, str) else setter(value)
