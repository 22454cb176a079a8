"""The ports on NATS JetStream. The only package that imports nats."""
