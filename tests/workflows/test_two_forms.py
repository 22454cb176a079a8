"""Decorators and builders are two ways to say the same: each example's twin in the other form compiles to it."""

from __future__ import annotations

import pytest
from twins import TWINS

from dagnats import Workflow


@pytest.mark.parametrize("workflow", TWINS, ids=lambda workflow: workflow.name)
def test_both_forms_give_equal_definitions(workflow: Workflow) -> None:
    twin = TWINS[workflow]()
    assert twin is not workflow
    assert twin.build() == workflow.build()
    assert twin.to_json() == workflow.to_json()


@pytest.mark.parametrize("workflow", TWINS, ids=lambda workflow: workflow.name)
def test_both_forms_are_served_by_the_same_handlers(workflow: Workflow) -> None:
    ours = {handler.task: handler.function for handler in workflow.handlers}
    assert {handler.task: handler.function for handler in TWINS[workflow]().handlers} == ours


@pytest.mark.parametrize("workflow", TWINS, ids=lambda workflow: workflow.name)
def test_a_workflow_can_be_built_twice(workflow: Workflow) -> None:
    assert workflow.build() == workflow.build()
