"""What things are: definitions, events, runs, tasks, durations. Frozen values, no I/O."""
