"""Options that stand anywhere on the line, and what is not an option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagnats.cli.app import tree
from dagnats.cli.option import Options, UsageError, split

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_behind_its_name_a_command_gets_the_option_that_it_has_of_its_own(verb: str) -> None:
    options, rest = split(["--token", "server", "run", "--context=c", verb, "r-1", "--token", "asked", "--json"])

    assert options == Options(token="server", context="c", json=True)
    assert rest == ["run", verb, "r-1", "--token", "asked"]


def test_no_other_command_has_an_option_that_every_command_takes() -> None:
    everywhere = {name for param in tree().params for name in param.opts} - {"--help", "-h"}

    assert {
        words for words, command in commands(tree()) if everywhere & {o for p in command.params for o in p.opts}
    } == {
        "run approve",
        "run reject",
    }


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, and its words."""
    for name, command in group.commands.items():
        words = f"{before} {name}".strip()
        yield words, command
        if hasattr(command, "commands"):
            yield from commands(command, words)


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
