"""A configuration file: what its words mean, and what of YAML it may not have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagnats.config.document import MOST_BYTES, Document, read_document


def read(text: str | bytes) -> Document:
    return read_document(text.encode() if isinstance(text, str) else text, "dagnats.yaml")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("8080", 8080),
        ("-1", -1),
        ("010", 10),
        ("1.5", 1.5),
        ("12:30:45", "12:30:45"),
        (":8080", ":8080"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2026-01-01", "2026-01-01"),
        ("99999999999999999999", "99999999999999999999"),
        ("'8080'", "8080"),
        ('"true"', "true"),
        ("[1, a]", [1, "a"]),
        ("{a: {b: []}}", {"a": {"b": []}}),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_a_word_means_what_it_looks_like(word: str, value: Any) -> None:
    document = read(f"key: {word}")
    assert not document.problems
    assert document.values == {"key": value}


def test_every_value_has_its_line() -> None:
    document = read("a: 1\n\nb:\n  c: 2\n  d:\n    - 3\n    - e: 4\n")
    assert document.values == {"a": 1, "b": {"c": 2, "d": [3, {"e": 4}]}}
    assert document.lines == {
        ("a",): 1,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "d"): 5,
        ("b", "d", 0): 6,
        ("b", "d", 1): 7,
        ("b", "d", 1, "e"): 7,
    }


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null"])
def test_an_empty_file_says_nothing(text: str) -> None:
    document = read(text)
    assert (document.values, document.problems) == ({}, [])


@pytest.mark.parametrize(
    ("text", "rule", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", 3, "key 'a' is there twice, first on line 1"),
        ("a:\n  b: 1\n  b: {c: [2]}\n", "duplicate-key", 3, "key 'b' is there twice, first on line 2"),
        ("a: &x 1\n", "anchor", 1, "the anchor &x is not allowed"),
        ("a: 1\nb: *x\n", "anchor", 2, "the alias *x is not allowed"),
        ("a: 1\n*x : 2\n", "anchor", 2, "the alias *x is not allowed"),
        ("a: !!python/object/apply:os.system [x]\n", "tag", 1, "os.system' is not allowed"),
        ("a: 1\n---\nb: 2\n", "yaml", 2, "a second document begins"),
        ("- a\n", "yaml", 1, "a configuration is a mapping"),
        ("just words\n", "yaml", 1, "a configuration is a mapping"),
        ("? [a]\n: 1\n", "yaml", 1, "a key is text"),
        ("a: 1\n? {b: c}\n: 1\n", "yaml", 2, "a key is text"),
        ("a: [\n", "yaml", 2, "this is no YAML"),
        ("a: 1\nb: @x\n", "yaml", 2, "this is no YAML"),
        ("a: 1\nb: \0\n", "encoding", 2, "the control character '\\x00'"),
        (b"a: 1\nb: \xff\n", "encoding", 2, "byte 8 is not UTF-8"),
        ("a: " + "[" * 50, "too-deep", 1, "nested more than 20 deep"),
        ("a: " + "{b: " * 50, "too-deep", 1, "nested more than 20 deep"),
        ("a: [" + "1," * 20_000 + "]", "too-large", 1, "there are more than 10000 keys and values"),
        ("#" * (MOST_BYTES + 1), "too-large", 1, "the file is larger than 262144 bytes"),
    ],
)
def test_what_no_configuration_needs_is_refused_with_its_line(
    text: str | bytes, rule: str, line: int, said: str
) -> None:
    problem = read(text).problems[0]
    assert (problem.rule, problem.source) == (rule, f"dagnats.yaml:{line}")
    assert said in problem.message


def test_what_follows_a_duplicate_key_is_read_all_the_same() -> None:
    document = read("a: 1\na: {b: [1, {c: 2}], d: e}\nf: 3\n")
    assert document.values == {"a": 1, "f": 3}
    assert len(document.problems) == 1


def test_a_billion_laughs_are_one_problem_each_and_no_memory() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    document = read("\n".join(lines))
    assert {problem.rule for problem in document.problems} == {"anchor"}
    assert len(document.problems) <= 51


def test_a_line_that_is_no_yaml_is_not_quoted() -> None:
    (problem,) = read('token: "s3cr3t-and-no-end\n').problems
    assert "s3cr3t" not in str(problem)


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t?~", max_size=60).map(str.encode))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    document = read(data)
    assert isinstance(document.values, dict)
