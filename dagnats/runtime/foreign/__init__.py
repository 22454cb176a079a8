"""Workers that are only configured: a command or a URL that serves a task type."""
