"""The registry of rules: every example breaks its rule and no other, and the pages are made from it."""

from __future__ import annotations

import ast

import pytest
from page import PAGES, ROOT, problems_of

from dagnats.model.check import check
from dagnats.model.rule import RULES, Rule


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.slug)
def test_the_example_of_a_rule_breaks_it_and_no_other(rule: Rule) -> None:
    assert [(problem.path, problem.rule) for problem in problems_of(rule)] == [(rule.path, rule.slug)]


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES.values() if rule.severity == "warning" or rule.dialect], ids=lambda rule: rule.slug
)
def test_what_only_warns_or_belongs_to_a_dialect_is_a_valid_definition(rule: Rule) -> None:
    assert isinstance(rule.example, dict)
    assert check(rule.example) == []


def test_rules_have_sentences_and_slugs_of_their_own() -> None:
    assert all(rule.says.endswith(".") for rule in RULES.values())
    assert len({rule.says for rule in RULES.values()}) == len(RULES)
    assert all(slug == slug.lower().replace(" ", "-").replace("_", "-") for slug in RULES)


def test_no_file_of_the_model_makes_up_a_rule() -> None:
    made: set[object] = set()
    for file in (ROOT / "dagnats" / "model").glob("*.py"):
        if file.name == "payload.py":  # what it finds is about values, not about definitions
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("Finding", "Problem")
            ):
                made |= {rule.value for rule in node.args[1:2] if isinstance(rule, ast.Constant)}
    assert made - RULES.keys() == set()
    assert {"cycle", "required", "json", "no-effect", "extension"} <= made


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_model_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run `python tests/model/page.py`"
