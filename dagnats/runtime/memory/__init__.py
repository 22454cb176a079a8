"""The ports in memory, with a clock that tests and simulations own. No NATS, no sockets, no files."""
