"""What can be seen of a running system beyond its histories: logs, spans, metrics. None of it is ever waited for."""
