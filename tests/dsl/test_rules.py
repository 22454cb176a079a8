"""The rules that only Python code can break, each with its example."""

from __future__ import annotations

from typing import Any

import pytest

import dagnats
from dagnats.dsl.rule import RULES, BuilderRule
from dagnats.errors import DefinitionError
from dagnats.model.rule import RULES as DEFINITION_RULES


@pytest.mark.parametrize("rule", RULES, ids=[rule.slug for rule in RULES])
def test_an_example_breaks_its_own_rule_and_no_other(rule: BuilderRule) -> None:
    names: dict[str, Any] = {name: getattr(dagnats, name) for name in ("Workflow", "handler", "Continue")}
    names["__name__"] = "example"
    program = f"{rule.example}\nwf.build()\n"
    with pytest.raises(DefinitionError) as caught:
        exec(compile(program, "example.py", "exec"), names)
    assert [problem.rule for problem in caught.value.problems] == [rule.slug]
    assert caught.value.problems[0].source.startswith("example.py:")


def test_no_slug_means_two_things() -> None:
    slugs = [rule.slug for rule in RULES]
    assert len(set(slugs)) == len(slugs)
    assert not set(slugs) & set(DEFINITION_RULES)


def test_every_rule_says_a_whole_sentence() -> None:
    assert all(rule.says.endswith(".") for rule in RULES)
