"""The page about the configuration is what the model says, and its example works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from key_table import ROOT, TABLES

from dagnats.config.load import load
from dagnats.config.settings import Settings
from dagnats.handling.context import TaskContext
from dagnats.runtime.embedded import DEFAULT_SYNC
from dagnats.runtime.foreign.command import FOR_GOOD, INHERITED, LATER
from dagnats.runtime.foreign.handler import foreign_handlers
from dagnats.runtime.retention import KEEP

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = str(ROOT / "examples" / "dagnats.yaml")


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_on_the_page_as_the_model_has_it(
    name: str, monkeypatch: pytest.MonkeyPatch, nowhere: Path
) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert f"\n{TABLES[name]()}\n" in page, "`python tests/config/key_table.py` prints the tables"


async def test_the_example_is_valid_and_its_commands_run() -> None:
    found = load(EXAMPLE)
    assert found.settings.data_dir == str(ROOT / "examples" / "dagnats-data")
    assert list(found.settings.worker) == ["text.upper", "text.count", "notify", "inventory", "text.lower"]
    said = {
        handler.task: bytes(await handler(msgspec.Raw(b'"Abc"'), TaskContext("r", "s", "w", handler.task, 1, "x")))
        for handler in foreign_handlers(found.settings.worker)
        if handler.task.startswith("text.")
    }
    assert said == {"text.upper": b'"ABC"', "text.count": b"5", "text.lower": b'"abc"'}


def test_the_defaults_are_those_of_the_parts_that_have_them() -> None:
    settings = load().settings
    assert (settings.retention, settings.retention_runs) == (KEEP.age, KEEP.runs)
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert f"| `sync` | `DAGNATS_SYNC` | `{DEFAULT_SYNC}` |" in page
    assert set(Settings.model_fields) >= {"data_dir", "http_addr", "nats_port", "monitor_port", "max_store_bytes"}


def test_the_page_about_workers_names_the_codes_and_variables() -> None:
    page = (ROOT / "docs" / "configured-workers.md").read_text()
    assert f"| {', '.join(map(str, FOR_GOOD))} | failed for good" in page
    assert f"| {LATER} | try again later" in page
    assert all(f"`{name}`" in page for name in INHERITED)
