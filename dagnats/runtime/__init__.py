"""Runs workflows: the pure core decides, the engine and the workers act, NATS JetStream remembers."""
