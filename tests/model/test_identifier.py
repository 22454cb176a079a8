"""Names: what may become a subject token, and what was probably meant."""

from __future__ import annotations

import pytest

from dagnats.errors import DefinitionError
from dagnats.model.check import load_definition
from dagnats.model.identifier import (
    is_reserved,
    is_run_id,
    is_scoped,
    is_workflow_name,
    name_token,
    near,
    root_of,
    worker_token,
)


@pytest.mark.parametrize("text", ["0123456789abcdef0123456789abcdef", "my-run_1", "x", "x" * 128])
def test_one_subject_token_can_name_a_run(text: str) -> None:
    assert is_run_id(text)


@pytest.mark.parametrize("text", ["", "_ops", "_", "a.b", "a b", "*", ">", "a\n", "é", "x" * 129])
def test_what_is_not_one_subject_token_cannot_name_a_run(text: str) -> None:
    assert not is_run_id(text)


def test_histories_of_dagnats_own_are_no_runs() -> None:
    assert (is_reserved("_ops.retention"), is_reserved("r_1")) == (True, False)


@pytest.mark.parametrize("name", ["order", "x", "A_1-b", "agent", "agent.r-1.order", "promoted.order", "x" * 128])
def test_a_workflow_has_a_name_of_its_own_or_one_that_a_run_was_given(name: str) -> None:
    assert is_workflow_name(name)
    assert is_scoped(name) == ("." in name)
    assert is_run_id(name_token(name).replace("/", ""))
    assert name_token(name_token(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "a.b", "_a", "-a", "a/b", "agent.", "agent.r", "agent.r.", "agent.r.a.b", "agent._r.a", "promoted.a.b", "a\n"],
)
def test_no_other_name_is_a_workflows(name: str) -> None:
    assert not is_workflow_name(name)


def test_what_a_run_has_registered_knows_the_first_run_of_its_tree() -> None:
    assert [root_of(name) for name in ("agent.r.a", "promoted.a", "agent", "order")] == ["r", "", "", ""]


@pytest.mark.parametrize("worker_id", ["w1", "worker-0a_b", "", "my host", "a.b", "a-b", "*", ">", "é", "\ud800"])
def test_every_workers_name_makes_a_token_of_its_own(worker_id: str) -> None:
    names = ["w1", "worker-0a_b", "", "my host", "a.b", "a-b", "*", ">", "é", "\ud800"]
    token = worker_token(worker_id)
    assert is_run_id(f"x{token}")
    assert [name for name in names if worker_token(name) == token] == [worker_id]


def test_a_workers_name_that_is_a_token_stays_as_it_is() -> None:
    assert worker_token("worker-0a_b") == "worker-0a_b"


def test_near_names_come_best_first_and_at_most_two() -> None:
    assert near("fetchh", ["load", "fetch", "fetched", "fetches"])[0] == "fetch"
    assert len(near("fetchh", ["load", "fetch", "fetched", "fetches"])) == 2
    assert near("zebra", ["load", "fetch"]) == []


def _workflow(name: str = "w", step_id: str = "a", task: str = "t") -> dict[str, object]:
    return {"name": name, "steps": [{"id": step_id, "task": task}]}


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "A" * 128])
def test_letters_digits_underscores_and_dashes_name_workflows_and_steps(name: str) -> None:
    assert load_definition(_workflow(name=name, step_id=name)).steps[0].id == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a.b", "a b", "a*", "a>", "a\n", "ä", "A" * 129])
def test_other_workflow_names_and_step_ids_are_refused(name: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_definition(_workflow(name=name, step_id=name))
    assert [(p.path, p.rule) for p in caught.value.problems] == [
        ("name", "identifier"),
        ("steps[0].id", "identifier"),
    ]


@pytest.mark.parametrize("task", ["a", "inventory.reserve", "-.-", "a.b.c", "t" * 128])
def test_tokens_joined_by_single_dots_are_task_types(task: str) -> None:
    assert load_definition(_workflow(task=task)).steps[0].task == task


@pytest.mark.parametrize("task", ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a\n"])
def test_other_task_types_are_refused(task: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_definition(_workflow(task=task))
    assert [(p.path, p.rule) for p in caught.value.problems] == [("steps[0].task", "identifier")]
