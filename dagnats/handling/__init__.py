"""Handlers: the Python functions that do a step's work. What the DSL and the worker both know."""
