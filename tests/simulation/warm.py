"""Imported where processes are forked from: one execution, so that each of them has what only the first has to read."""

from __future__ import annotations

import gc

from tests.simulation.crowd import bounded

bounded(0)
gc.collect()
gc.freeze()
