"""Options that stand anywhere on the line, and what is not an option."""

from __future__ import annotations

import pytest

from dagnats.cli.option import Options, UsageError, split


@pytest.mark.parametrize(
    "line",
    [
        ["--json", "run", "status", "--last"],
        ["run", "--json", "status", "--last"],
        ["run", "status", "--last", "--json"],
    ],
)
def test_json_is_understood_anywhere_on_the_line(line: list[str]) -> None:
    assert split(line) == (Options(json=True), ["run", "status", "--last"])


@pytest.mark.parametrize("server", [["--server", "nats://h:1"], ["--server=nats://h:1"]])
def test_a_value_may_follow_a_space_or_an_equals_sign(server: list[str]) -> None:
    assert split(["status", *server, "--token", "s"]) == (Options(server="nats://h:1", token="s"), ["status"])


def test_everything_behind_two_dashes_is_left_alone() -> None:
    assert split(["run", "start", "w", "--", "--json", "-5"]) == (
        Options(),
        ["run", "start", "w", "--", "--json", "-5"],
    )


@pytest.mark.parametrize("number", ["-5", "-0", "-1.5", "-2e10", "-3.25E-7"])
def test_a_negative_json_number_is_no_option(number: str) -> None:
    _, rest = split(["run", "start", "w", number])

    assert rest == ["run", "start", "w", f" {number}"]


@pytest.mark.parametrize("word", ["-v5", "-05", "-.5", "-1.", "--5", "-e5", "-"])
def test_what_only_looks_like_a_number_stays_what_it_is(word: str) -> None:
    assert split(["x", word]) == (Options(), ["x", word])


@pytest.mark.parametrize("line", [["status", "--server"], ["status", "--token="]])
def test_an_option_without_its_value_is_a_usage_error(line: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        split(line)

    assert "needs a value" in str(caught.value)


@pytest.mark.parametrize("word", ["--version", "-v"])
def test_the_version_can_be_asked_anywhere(word: str) -> None:
    assert split(["run", "start", word])[0].version
