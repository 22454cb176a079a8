"""How people say a workflow in Python, and how it becomes a definition."""
