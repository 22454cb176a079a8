"""Settings for the whole suite: the Hypothesis profiles. `--hypothesis-profile thorough` looks longer."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick",
    deadline=None,  # a busy machine is not a failure; pytest's own timeout ends what hangs
    derandomize=False,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1_000)
settings.load_profile("quick")
