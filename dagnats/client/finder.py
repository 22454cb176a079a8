"""A run, by its id or by the beginning of one: how both clients find it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from dagnats.client.inquirer import Inquirer
from dagnats.errors import ConflictError, DagnatsError, NotFoundError
from dagnats.model.identifier import is_run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

RunT = TypeVar("RunT")

_SHORTEST_PREFIX = 8
_MOST_NAMED = 10


class Finder(Inquirer, Generic[RunT]):
    """Calls that find one run, and give a handle on it."""

    @abstractmethod
    def _on(self, run_id: str) -> RunT:
        """A handle on a run of this installation."""

    @abstractmethod
    async def _on_imported(self, run_id: str) -> RunT | None:
        """A handle on a run that was imported, if it is still there."""

    @abstractmethod
    async def _there(self, run_id: str) -> RunT | None:
        """A handle on a run of either kind by its full id; None when there is none."""

    @abstractmethod
    async def _ids(self, prefix: str) -> list[str]:
        """The ids of this installation's runs that begin so; of very many, a few."""

    @abstractmethod
    async def _imported_ids(self) -> list[str]:
        """The ids of the runs that were imported."""

    def handle(self, run_id: str) -> RunT:
        """A handle on a run, by its full id; nothing is asked yet.

        Raises:
            NotFoundError: No run can have this id. A wildcard would stand for other people's runs.
        """
        if not is_run_id(run_id):
            raise NotFoundError("run", run_id)
        return self._on(run_id)

    async def find(self, prefix: str) -> RunT:
        """The one run whose id is, or begins with, `prefix`.

        Raises:
            NotFoundError: None does.
            ConflictError: Several do; the message lists them.
            DagnatsError: The prefix is too short to mean one run.
        """
        if is_run_id(prefix) and (there := await self._there(prefix)) is not None:
            return there
        if len(prefix) < _SHORTEST_PREFIX:
            raise _too_short(prefix)
        found = await self._ids(prefix)
        others = [each for each in await self._imported_ids() if each.startswith(prefix) and each not in found]
        found = [*found, *others]
        if not found:
            raise NotFoundError("run", prefix)
        if len(found) > 1:
            raise _ambiguous(prefix, found)
        return (await self._on_imported(found[0]) if others else None) or self.handle(found[0])

    async def newest(self) -> RunT:
        """The run that was started last. Raises NotFoundError when there is none."""
        for run in await self.runs(limit=1):
            return self.handle(run.run_id)
        raise NotFoundError("run", "newest", hint="start one with `dagnats run start`")


def _too_short(prefix: str) -> DagnatsError:
    """The error for a beginning that may mean too many runs."""
    hint = f"give at least {_SHORTEST_PREFIX} characters of it"
    return DagnatsError(f"{prefix!r} is too short for a run id", hint=hint)


def _ambiguous(prefix: str, run_ids: Sequence[str]) -> ConflictError:
    """The error for a beginning of several ids."""
    listed = ", ".join(sorted(run_ids)[:_MOST_NAMED])
    more = f" and {len(run_ids) - _MOST_NAMED} more" if len(run_ids) > _MOST_NAMED else ""
    return ConflictError(f"{prefix!r} is the beginning of {len(run_ids)} run ids: {listed}{more}")
