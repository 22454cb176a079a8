"""Seeds that have to hold, that one seed is one execution, and that the simulation finds what it is there for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from tests.simulation import scenario
from tests.simulation.crowd import bounded, failure, run
from tests.simulation.mutation import MUTATIONS, Mutation, caught
from tests.simulation.scenario import Scenario, execute

SEEDS = int(os.environ.get("DAGNATS_SIMULATION_SEEDS", "6"))
"""How many are run; CI runs more after the tests, with `make simulate`."""

MOST = 120
"""Seeds within which a mutation is found."""


@pytest.mark.timeout(600)
def test_every_execution_keeps_what_is_promised() -> None:
    crowd = run(range(SEEDS), jobs=2 if SEEDS > 20 else 1)
    assert not crowd.failed, "\n".join(line for report in crowd.failed for line in failure(report))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "hash_seed"), [(3, "1"), (129, "2")])
def test_a_seed_is_one_execution_whatever_the_process(seed: int, hash_seed: str) -> None:
    code = f"from tests.simulation.scenario import execute; print(execute({seed}).hash)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}  # ours is any
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert ended.stdout.strip() == execute(seed).hash


def test_an_empty_log_is_not_settled_before_an_engine_has_led(monkeypatch: pytest.MonkeyPatch) -> None:
    class NobodyLed(Scenario):
        async def _rough(self) -> None:
            # Whoever comes next waits for the dead one's lease to run out: longer than it takes to settle nothing.
            self.world.settings.pace = 1.0
            self.world.network.doom("engine", ("engine.position", "unsent"), 0)
            await asyncio.sleep(0.01)
            assert self.world.network.faults["killed at a call"]
            assert not self.world.server.history.last_seq

    monkeypatch.setattr(scenario, "Scenario", NobodyLed)
    assert not execute(1).wrong


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mistake_put_into_the_code_is_found(mutation: Mutation) -> None:
    # Where it was found last time is looked at first: most changes leave it there.
    seed, _ = caught(mutation, [mutation.lately, *range(MOST)], bounded)
    assert seed is not None, f"{mutation.name}: nothing was wrong in {MOST} seeds"
