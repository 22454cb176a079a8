"""What somebody over HTTP may do: the scopes, in order, and patterns of the workflows that they are limited to."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

Scope = Literal["read", "run", "operate", "admin"]
"""To look; to start and answer runs, and to work for them; to hold and repair; to change what is set up."""

SCOPES: tuple[Scope, ...] = ("read", "run", "operate", "admin")
"""Each allows what is before it, too."""

PATTERN = r"^[A-Za-z0-9_.*?-]{1,256}$"
"""Names of workflows, in which `*` stands for any characters and `?` for one: the same for us and for the index."""


def allows(held: Scope, needed: Scope) -> bool:
    """Whether whoever holds one scope may do what takes another one."""
    return SCOPES.index(held) >= SCOPES.index(needed)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a workflow is one of those that the patterns name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
