"""Gates: what crosses runs. Each is a small state, folded from the log after the run, at the same event."""
