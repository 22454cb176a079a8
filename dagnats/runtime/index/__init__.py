"""The runs as lists, counts and searches see them: a projection of the log in SQLite, made anew at any time."""
