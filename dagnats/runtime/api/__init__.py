"""Everything that is said over HTTP: one application, on one listener."""
