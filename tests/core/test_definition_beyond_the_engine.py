"""A definition may say more than the engine runs yet: such a run fails, visibly, and nothing of it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from history import History

from dagnats.model.json import encode
from dagnats.runtime.core.graph import Graph, UnusableGraph, graph_of

BUILT = Path(__file__).parents[2] / "workflows" / "build"


def _graph(workflow: dict[str, Any] | None = None, **step: Any) -> Graph:
    steps = [{"id": "a", "task": "t"}, {"id": "b", "task": "t", "depends_on": ["a"], **step}]
    return graph_of("w", "0123456789abcdef", bytes(encode({"name": "w", "steps": steps, **(workflow or {})})))


STEP_KEYS: dict[str, Any] = {
    "skip_if": {"step_id": "a", "field": "n", "op": "==", "value": 0},
    "worker_group": "gpu",
    "rate_limit": {"limit": 1, "period": "1s"},
    "keyed_rate_limit": {"key": "id", "limit": 1, "period": "1s"},
    "max_task_concurrency": 1,
    "required_capabilities": ["control-plane"],
}
WORKFLOW_KEYS: dict[str, Any] = {
    "concurrency": {"max_runs": 1},
    "idempotency_key": "id",
    "priority": {"key": "tier", "rules": {"gold": -60}},
    "sticky": "soft",
    "singleton": {"mode": "skip"},
    "cancel_on": [{"event": "order.cancelled"}],
    "failure_mode": "drain",
    "compensate_on": ["failure"],
}
BEYOND = [
    pytest.param(_graph(type="map"), "step type 'map' (step 'b')", id="type"),
    *(pytest.param(_graph(**{key: value}), f"{key} (step 'b')", id=key) for key, value in STEP_KEYS.items()),
    *(pytest.param(_graph({key: value}), key, id=f"workflow {key}") for key, value in WORKFLOW_KEYS.items()),
]


@pytest.mark.parametrize(("graph", "what"), BEYOND)
def test_what_the_engine_does_not_run_fails_the_run_by_name(graph: Graph, what: str) -> None:
    assert isinstance(graph, UnusableGraph)
    history = History(graph)
    history.start()
    assert history.run.status == "failed"
    assert f"workflow 'w' uses {what}, which this engine does not run yet" in history.run.outcome.error
    assert not history.run.steps


def test_everything_the_engine_does_not_run_is_named_once_with_its_first_step() -> None:
    later = {"depends_on": ["b"], "type": "map", "worker_group": "gpu"}
    steps = [
        {"id": "a", "task": "t"},
        {"id": "b", "task": "t", "worker_group": "cpu"},
        {"id": "c", "task": "t", **later},
    ]
    said = _graph({"steps": steps, "failure_mode": "drain"}).unusable
    assert "uses worker_group (step 'b'), step type 'map' (step 'c'), failure_mode, which" in said


@pytest.mark.parametrize("name", ["order", "hello-pipeline"])
def test_the_examples_of_normal_steps_run(name: str) -> None:
    assert not graph_of(name, "", (BUILT / f"{name}.json").read_bytes()).unusable


def test_what_asks_for_nothing_special_runs() -> None:
    usual = {"compensate_on": ["timeout", "failure"], "failure_mode": "fail_fast", "labels": {"team": "a"}}
    assert not _graph(usual, priority=3, metadata={"k": "v"}, max_task_concurrency=0).unusable
