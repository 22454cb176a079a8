"""What namespaces may be called."""

from __future__ import annotations

import pytest

from dagnats.model.namespace import RESERVED, checked_namespace
from dagnats.runtime.jetstream import history, inquiry, letter, notice, queue, telemetry
from dagnats.runtime.jetstream.resources import STORED, STREAMS


@pytest.mark.parametrize("text", ["staging", "S", "team_a-2", "h" * 32, "History2"])
def test_a_namespace_is_a_word(text: str) -> None:
    assert checked_namespace(text) == text


@pytest.mark.parametrize("text", ["", "off"])
def test_none_is_said_by_nothing_and_by_off(text: str) -> None:
    assert checked_namespace(text) == ""


@pytest.mark.parametrize("text", ["2nd", "_x", "-x", "a.b", "a b", "a*", "a>", "ä", "a\n", "h" * 33])
def test_what_would_be_no_single_word_of_a_subject_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"letters, digits, '_' and '-', 32 characters"):
        checked_namespace(text)


@pytest.mark.parametrize("text", ["history", "task", "KV", "Telemetry"])
def test_what_dagnats_has_without_a_namespace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 'staging'"):
        checked_namespace(text)


def test_the_first_words_of_all_our_subjects_are_reserved() -> None:
    streams = [subject for config in STREAMS.values() for subject in config["subjects"]]
    modules = (history, inquiry, letter, notice, queue, telemetry)
    constants = [each for module in modules for each in vars(module).values() if isinstance(each, str)]
    subjects = [*streams, STORED, *(each for each in constants if each.endswith((".", ".>")) and " " not in each)]
    assert {subject.partition(".")[0] for subject in subjects} == RESERVED - {"kv", "obj"}
