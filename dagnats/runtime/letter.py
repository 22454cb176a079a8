"""Where the engine's own dead letters go, by their reason; the run's id follows."""

PARKED = "orchestrator.parked"
UNREADABLE = "orchestrator.unmarshal-failed"
