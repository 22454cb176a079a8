"""The pure core: no clock, no randomness, no I/O. `advance` is all of it."""
