"""Where the engine's own dead letters go, by their reason; the run's id follows."""

PARKED = "orchestrator.parked"
UNREADABLE = "orchestrator.unmarshal-failed"
NEVER_BEGAN = "orchestrator.never-began"
EVENT_UNREADABLE = "event-correlator.unmarshal-failed"
