"""The gates as people look at them."""

from __future__ import annotations

from tests.core.gate.world import BEGIN, World, graph, step


def test_a_line_shows_who_waits_in_which_place() -> None:
    world = World(w=graph(step("a", max_task_concurrency=1)))
    for at in range(3):
        world.start(f"r{at}")
    gate = world.view.task("a.task")
    assert gate.concurrency == 1
    assert [(place.run_id, place.place) for place in gate.out] == [("r0", 0)]
    assert [(place.run_id, place.place, place.since_ns) for place in gate.waiting] == [
        ("r1", 1, BEGIN),
        ("r2", 2, BEGIN),
    ]
    ((where, place),) = world.view.steps("r2")
    assert (where.task, place.place) == ("a.task", 2)
    assert world.view.steps("r0") == []


def test_a_type_of_which_nothing_is_known_has_an_open_gate() -> None:
    view = World(w=graph(step("a"))).view
    assert view.task("a.task").waiting == ()
    assert view.run("r0") is None


def test_what_operators_said_shows_without_anybody_there() -> None:
    world = World(w=graph(step("a")))
    world.limit(concurrency=4, by="ann")
    world.limit_runs(max_runs=2, paused=True)
    (tasks,), (runs,) = world.view.tasks, world.view.runs
    assert tasks.said is not None
    assert (tasks.concurrency, tasks.said.by) == (4, "ann")
    assert (runs.max_runs, runs.waiting) == (2, ())


def test_of_several_lines_the_right_one_is_found() -> None:
    limits = {"concurrency": {"max_runs": 1}}
    world = World(v=graph(step("a"), **limits), w=graph(step("a"), **limits))
    for run_id, workflow in {"v0": "v", "w0": "w", "w1": "w", "w2": "w"}.items():
        world.start(run_id, workflow)
    found = world.view.run("w2")
    assert found is not None
    assert (found[0].workflow, found[1].place) == ("w", 2)
    assert world.view.run("v0") is None
