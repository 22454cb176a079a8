"""Triggers that workers provide: which are to be stored, which of them run, and what may not change beneath them."""

from __future__ import annotations

import pytest

from dagnats.errors import ConflictError, DecodeError
from dagnats.model.check import load_definition
from dagnats.model.trigger_type import (
    External,
    TriggerEntry,
    TriggerTypeEntry,
    decode,
    encode,
    expect_version,
    external_triggers,
    triggers_of,
)


def entry(id: str, kind: str = "files", *, enabled: bool = True) -> TriggerEntry:
    return TriggerEntry(id=id, workflow_id="mail", enabled=enabled, external=External(kind=kind))


OTHERS = [entry("off", enabled=False), entry("feed", "feeds"), TriggerEntry(id="nightly", workflow_id="mail")]
"""None of them is run by a trigger type called `files`."""


def test_of_a_definition_only_the_triggers_of_workers_are_stored() -> None:
    files = {"kind": "files", "config": {"folder": "/in"}}
    triggers = [
        {"id": "inbox", "external": files},
        {"id": "off", "external": {"kind": "files"}, "enabled": False},
        {"id": "nightly", "cron": {"expression": "0 3 * * *"}},
    ]
    steps = [{"id": "a", "task": "do"}]
    definition = load_definition({"name": "mail", "steps": steps, "triggers": triggers})
    inbox = External(kind="files", config={"folder": "/in"})
    assert external_triggers(definition) == {
        "inbox": TriggerEntry(id="inbox", workflow_id="mail", source="definition", external=inbox),
        "off": TriggerEntry(
            id="off", workflow_id="mail", source="definition", enabled=False, external=External(kind="files")
        ),
    }


def test_a_trigger_type_runs_the_enabled_triggers_of_its_name_in_the_order_of_their_ids() -> None:
    assert triggers_of("files", [entry("b"), *OTHERS, entry("a")]) == [entry("a"), entry("b")]


def test_an_entry_that_was_written_reads_as_it_was() -> None:
    assert decode(encode(entry("inbox")), TriggerEntry) == entry("inbox")


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b'{"id":"\xff"}', b'{"id":7}', b"{}"])
def test_what_is_no_entry_is_told_with_its_bytes(data: bytes) -> None:
    with pytest.raises(DecodeError, match="this is no TriggerEntry") as refused:
        decode(data, TriggerEntry)
    assert refused.value.data == data


@pytest.mark.parametrize(
    ("known", "version", "entries"),
    [("1", "1", [entry("a")]), ("", "2", [entry("a")]), ("1", "2", OTHERS)],
    ids=["the same", "none before", "nothing runs with it"],
)
def test_a_version_comes_where_it_changes_nothing_that_runs(
    known: str, version: str, entries: list[TriggerEntry]
) -> None:
    expect_version(TriggerTypeEntry(name="files", version=known), version, entries)


def test_another_version_is_refused_while_triggers_run_with_the_one_there_is() -> None:
    known = TriggerTypeEntry(name="files", version="1")
    with pytest.raises(ConflictError) as refused:
        expect_version(known, "2", [entry("a"), *OTHERS])
    assert str(refused.value).startswith(
        "trigger type 'files' is version '1' here, and cannot become '2' while triggers of it are registered:"
        " 'a' of workflow 'mail'"
    )
    assert "more" not in str(refused.value)


def test_of_many_triggers_that_are_in_the_way_ten_are_named() -> None:
    known = TriggerTypeEntry(name="files", version="1")
    with pytest.raises(ConflictError) as refused:
        expect_version(known, "2", [entry(f"t{at:02}") for at in range(12)])
    assert "'t09' of workflow 'mail', and 2 more" in str(refused.value)
    assert "t10" not in str(refused.value)
