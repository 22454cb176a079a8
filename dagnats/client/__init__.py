"""The Python client: register, start, watch, result, cancel."""

from dagnats.client.client import AsyncClient as AsyncClient
from dagnats.client.client import Registration as Registration
from dagnats.client.client import Version as Version
from dagnats.client.connect import connect as connect
from dagnats.client.run import RunHandle as RunHandle
from dagnats.client.view import EventView as EventView
from dagnats.client.view import RunView as RunView
from dagnats.client.view import StepView as StepView

__all__ = ["AsyncClient", "EventView", "Registration", "RunHandle", "RunView", "StepView", "Version", "connect"]
