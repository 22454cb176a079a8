"""What of a document can be read although it may be broken anywhere: rules between values look through this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dagnats.model.duration import parse_duration
from dagnats.model.finding import did_you_mean
from dagnats.model.identifier import near

if TYPE_CHECKING:
    from datetime import timedelta

_HINT_WORK = 40_000  # names compared for suggestions in one report: 0.3 s, however many are unknown


class Entry(NamedTuple):
    """A step that is an object, and its place in `steps`."""

    at: int
    step: dict[str, Any]

    @property
    def name(self) -> str:
        """The step's id, or its place when it has none."""
        step_id = self.step.get("id")
        return step_id if isinstance(step_id, str) else f"steps[{self.at}]"

    def dependencies(self) -> list[tuple[int, str]]:
        """The readable entries of `depends_on`, with their places."""
        listed = enumerate(items(self.step.get("depends_on")))
        return [(at, target) for at, target in listed if isinstance(target, str)]

    def references(self) -> list[tuple[str, str]]:
        """The steps it names to run for it: the key that names them, and their ids."""
        return [(key, self.step[key]) for key in ("on_failure", "compensate") if isinstance(self.step.get(key), str)]


class Reading:
    """The steps of a document.

    Attributes:
        entries: All steps that are objects.
        steps: Of those, the first of each id.
        index: Where the step of an id is.
        repeated: Later steps with an id that is taken.
        auxiliary: Ids that some other step names to run for it.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        listed = enumerate(items(document.get("steps")))
        self.entries = [Entry(at, members(step)) for at, step in listed if isinstance(step, dict)]
        self.steps: dict[str, Entry] = {}
        self.repeated: list[tuple[int, str]] = []
        for entry in self.entries:
            step_id = entry.step.get("id")
            if isinstance(step_id, str) and self.steps.setdefault(step_id, entry) is not entry:
                self.repeated.append((entry.at, step_id))
        named = ((entry.name, target) for entry in self.entries for _, target in entry.references())
        self.auxiliary = {target for name, target in named if target != name}
        self._hint_work = 0

    def hint(self, target: str) -> str:
        """The step that `target` was probably meant to name, as a hint."""
        if self._hint_work >= _HINT_WORK:  # a thousand wrong names have one cause; comparing them all takes minutes
            return ""
        self._hint_work += len(self.steps)
        return did_you_mean(near(target, self.steps))


def items(value: Any) -> list[Any]:
    """`value` when it is a list, otherwise an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def members(value: Any) -> dict[str, Any]:
    """`value` when it is an object, otherwise an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def duration(value: Any) -> timedelta | None:
    """The duration that `value` spells; None when it spells none."""
    try:
        return parse_duration(value)
    except ValueError:
        return None


def whole(value: Any) -> int | None:
    """`value` when it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
