"""The example project is run by a test, as people would run it; it is no part of this suite."""

collect_ignore = ["project"]
