"""The Python client: workflows, runs, and what operators do with them."""

from dagnats.client.bulk import Done as Done
from dagnats.client.client import AsyncClient as AsyncClient
from dagnats.client.connect import connect as connect
from dagnats.client.difference import Difference as Difference
from dagnats.client.letter import DeadLetter as DeadLetter
from dagnats.client.queue import QueueView as QueueView
from dagnats.client.registrar import Registration as Registration
from dagnats.client.registrar import Version as Version
from dagnats.client.run import RunHandle as RunHandle
from dagnats.client.surface import AnyClient as AnyClient
from dagnats.client.surface import AnyRun as AnyRun
from dagnats.client.sync import Client as Client
from dagnats.client.sync import Run as Run
from dagnats.client.verify import Verified as Verified
from dagnats.client.view import EventView as EventView
from dagnats.client.view import RunView as RunView
from dagnats.client.view import StepView as StepView
from dagnats.model.summary import RunSummary as RunSummary
from dagnats.model.summary import Tally as Tally
from dagnats.model.worker import WorkerEntry as WorkerEntry
from dagnats.runtime.ports import Chunk as Chunk

__all__ = [
    "AnyClient",
    "AnyRun",
    "AsyncClient",
    "Chunk",
    "Client",
    "DeadLetter",
    "Difference",
    "Done",
    "EventView",
    "QueueView",
    "Registration",
    "Run",
    "RunHandle",
    "RunSummary",
    "RunView",
    "StepView",
    "Tally",
    "Verified",
    "Version",
    "WorkerEntry",
    "connect",
]
