"""The list of behaviours is complete, and its page is up to date."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.acceptance.page import PAGE, Unknown, behaviours, file_of, files_of_tests, page


def test_every_behaviour_has_a_test_that_shows_it() -> None:
    files = files_of_tests()
    for behaviour in behaviours():
        assert behaviour.tests, f"nothing shows that {behaviour.says!r}"
        for test in behaviour.tests:
            assert file_of(test, files)


def test_no_behaviour_is_said_twice_and_each_is_a_sentence() -> None:
    said = Counter(behaviour.says for behaviour in behaviours())
    assert [says for says, count in said.items() if count > 1] == []
    assert [says for says in said if not says.endswith(".") or says[0].islower()] == []


def test_a_test_that_is_not_there_or_is_there_twice_is_found() -> None:
    files = {"it_works": ["core/test_a.py", "core/test_b.py"]}
    assert file_of("test_a.py::it_works", files) == "core/test_a.py"
    with pytest.raises(Unknown, match=r"'it_works' names 2 tests: core/test_a.py, core/test_b.py"):
        file_of("it_works", files)
    with pytest.raises(Unknown, match="'it_fails' names 0 tests: none is called so"):
        file_of("it_fails", files)


def test_the_page_is_what_the_list_says() -> None:
    assert PAGE.read_text() == page(), "run python tests/acceptance/page.py"
