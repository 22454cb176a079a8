"""A file that changes under a program that runs: noticed once it is whole, and no other file in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagnats.config.load import load
from dagnats.config.watch import Watch, needs_restart
from dagnats.errors import ConfigurationError

FILE = Path("dagnats.yaml")


def watch(text: str) -> Watch:
    FILE.write_text(text)
    return Watch(load())


def test_a_file_counts_once_nobody_is_writing_it() -> None:
    watched = watch("sync: 1s\n")
    assert not watched.has_changed()
    FILE.write_text("sync: 10s\n")
    assert not watched.has_changed()  # perhaps there is more to come
    FILE.write_text("sync: 10s\nretention: 1d\n")
    assert not watched.has_changed()
    assert watched.has_changed()
    assert watched.read().settings.sync == "10s"
    assert not watched.has_changed()


def test_a_file_that_is_broken_is_told_once() -> None:
    watched = watch("sync: 1s\n")
    FILE.write_text("sync: often\n")
    assert [watched.has_changed(), watched.has_changed()] == [False, True]
    with pytest.raises(ConfigurationError, match="often"):
        watched.read()
    assert [watched.has_changed(), watched.has_changed()] == [False, False]


def test_a_file_that_is_gone_leaves_its_place_to_no_other_one(nowhere: Path) -> None:
    elsewhere = nowhere.parent / "home" / "dagnats" / "dagnats.yaml"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("sync: 5s\n")
    watched = watch("sync: 1s\n")
    FILE.unlink()
    assert [watched.has_changed(), watched.has_changed()] == [False, True]
    with pytest.raises(ConfigurationError, match="does not exist"):
        watched.read()


def test_who_asks_has_it_read_again_unchanged_and_with_the_same_options() -> None:
    FILE.write_text("sync: 1s\n")
    watched = Watch(load(retention="2d"), retention="2d")
    watched.ask()
    assert watched.has_changed()
    assert watched.read().settings == watched.first.settings
    assert not watched.has_changed()


def test_keys_that_a_server_reads_at_its_start_only_are_named() -> None:
    first = watch("sync: 1s\ntoken: a\n").first
    FILE.write_text("sync: 2s\ntoken: b\npolicy: {control_plane: {grant: [a]}}\nworker: {a: {exec: x}}\n")
    assert needs_restart(first, load()) == ("token", "sync", "worker")
    assert needs_restart(first, first) == ()
