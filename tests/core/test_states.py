"""The page of states is what the tables say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dagnats.runtime.core import transition

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


S = TypeVar("S", bound=str)


def diagram(table: Mapping[S, frozenset[S]], first: tuple[str, ...]) -> str:
    """A table of statuses as a mermaid diagram."""
    lines = [f"    [*] --> {status}" for status in first]
    for status, following in table.items():
        lines += [f"    {status} --> {after}" for after in table if after in following]
        lines += [] if following else [f"    {status} --> [*]"]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def test_the_page_shows_the_tables_the_core_goes_by() -> None:
    page = PAGE.read_text()
    assert diagram(transition.RUN, ("scheduled", "pending")) in page
    assert diagram(transition.STEP, ("pending",)) in page
