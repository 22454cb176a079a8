"""`@trigger_type`: an async function that watches something, and starts runs when there is news."""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from dagnats.errors import DefinitionError, Problem
from dagnats.handling.codec import Codec, UnsupportedType, codec_for
from dagnats.handling.source import source_of
from dagnats.model.identifier import GROUP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

C = TypeVar("C")


class Fire(Protocol):
    """Starts runs of a trigger's workflow, for as long as the trigger is active."""

    @property
    def trigger_id(self) -> str:
        """The trigger's id."""
        ...

    @property
    def workflow(self) -> str:
        """What it starts."""
        ...

    async def __call__(self, data: Any = None, *, key: str | None = None) -> str:
        """Start a run, and give its id. When this returns, the start is in the log and will be carried out.

        Args:
            data: The `data` of the envelope that is the run's input; any value with a JSON form.
            key: What happened, for what may be seen twice: firing this trigger with the same key again starts nothing,
                whoever does it, for as long as the run is kept.

        Raises:
            NotFoundError: The workflow is not registered.
            InputError: The envelope breaks the workflow's `input_schema`.
            ConflictError: The trigger is not active any more.
            CodecError: The data has no JSON form.
        """
        ...


class TriggerType(Generic[C]):
    """A function that watches something for each trigger of its kind. Calling it calls the function.

    Attributes:
        name: The `kind` of triggers in definitions.
        version: Its version. It cannot change while triggers of it are registered.
        function: The function itself.
        config_codec: Reads a trigger's configuration.
        source: `file:line` of the function.
    """

    __name__: str

    def __init__(
        self, name: str, function: Callable[[C, Fire], Awaitable[None]], *, version: str, config: Any = Any
    ) -> None:
        self.name = name
        self.version = version
        self.function = function
        self.source = source_of(function)
        functools.update_wrapper(self, function)
        problems = [*_name_problems(name, version), *_shape_problems(function)]
        try:
            self.config_codec: Codec = codec_for(config)
        except UnsupportedType as error:
            problems.append(("unsupported-type", f"the type of its configuration {error}"))
        if problems:
            found = [Problem("", rule, f"trigger type {name!r}: {said}", source=self.source) for rule, said in problems]
            raise DefinitionError(found, title=f"trigger type {name!r} cannot be used")

    def __call__(self, config: C, fire: Fire) -> Awaitable[None]:
        return self.function(config, fire)

    def __repr__(self) -> str:
        return f"<trigger type {self.name!r} at {self.source}>"

    @property
    def config_schema(self) -> dict[str, Any]:
        """The JSON Schema of its triggers' configuration."""
        return self.config_codec.schema("reading")


def trigger_type(
    name: str, *, version: str, config: type[C]
) -> Callable[[Callable[[C, Fire], Awaitable[None]]], TriggerType[C]]:
    """Make an async function the trigger type `name`: workflows name it as the `kind` of an external trigger.

    The function takes a trigger's configuration and `fire`. It is called once for each trigger that is active, by one
    worker at a time, and is cancelled when its trigger is not any more. When it raises, it is called again, ever more
    rarely; when it returns, it has nothing more to say until its worker, or the trigger, is another one.

    Args:
        name: Letters, digits, `_` and `-`, at most 64.
        version: Cannot change while triggers of the type are registered.
        config: The type of a trigger's configuration: `dict` takes any, a class is checked when a workflow with such a
            trigger is registered.

    Raises:
        DefinitionError: The name is not valid, or the function has another shape.
    """

    def decorate(function: Callable[[C, Fire], Awaitable[None]]) -> TriggerType[C]:
        return TriggerType(name, function, version=version, config=config)

    return decorate


def _name_problems(name: object, version: object) -> Iterator[tuple[str, str]]:
    if not isinstance(name, str) or re.fullmatch(GROUP, name) is None:
        yield "identifier", "its name is not valid: letters, digits, '_' and '-', at most 64 characters"
    if not isinstance(version, str) or not version:
        yield "trigger-type", f"its version is {version!r}; it is text, such as '1'"


def _shape_problems(function: Any) -> Iterator[tuple[str, str]]:
    if not inspect.iscoroutinefunction(function):
        yield "trigger-type", f"{_named(function)} is no `async def` function: it would hold up its worker"
        return
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        shape = inspect.signature(function)
        yield "trigger-type", f"{_named(function)} takes {shape}; write it as (config, fire)"


def _named(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
