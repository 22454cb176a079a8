"""A definition may say more than the engine runs yet: such a run fails, visibly, and nothing of it starts."""

from __future__ import annotations

from history import History

from dagnats.runtime.core.graph import UnusableGraph, graph_of

MAP = b'{"name":"w","steps":[{"id":"a","task":"t"},{"id":"b","task":"t","depends_on":["a"],"type":"map"}]}'


def test_a_step_of_a_type_the_engine_does_not_run_fails_the_run_by_name() -> None:
    history = History(graph_of("w", "0123456789abcdef", MAP))
    assert isinstance(history.graph, UnusableGraph)
    history.start()
    assert history.run.status == "failed"
    assert "step 'b' is of type 'map', which this engine does not run yet" in history.run.outcome.error
