"""DagNats: durable DAG workflows, written in Python, decided by a log in NATS JetStream.

The names most programs need. They are loaded when first used: `import dagnats` brings in no NATS code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagnats.client import AnyClient as AnyClient
    from dagnats.client import AnyRun as AnyRun
    from dagnats.client import AsyncClient as AsyncClient
    from dagnats.client import Client as Client
    from dagnats.client import Run as Run
    from dagnats.client import RunHandle as RunHandle
    from dagnats.client import connect as connect
    from dagnats.client.http import connect_http as connect_http
    from dagnats.dsl.expression import Match as Match
    from dagnats.dsl.limit import Debounce as Debounce
    from dagnats.dsl.limit import KeyedRateLimit as KeyedRateLimit
    from dagnats.dsl.limit import RateLimit as RateLimit
    from dagnats.dsl.retry import Exponential as Exponential
    from dagnats.dsl.retry import Fixed as Fixed
    from dagnats.dsl.retry import Linear as Linear
    from dagnats.dsl.step import Step as Step
    from dagnats.dsl.workflow import Workflow as Workflow
    from dagnats.errors import Abort as Abort
    from dagnats.errors import ConflictError as ConflictError
    from dagnats.errors import DagnatsError as DagnatsError
    from dagnats.errors import DefinitionError as DefinitionError
    from dagnats.errors import InputError as InputError
    from dagnats.errors import NotFoundError as NotFoundError
    from dagnats.errors import ResultTimeout as ResultTimeout
    from dagnats.errors import Retry as Retry
    from dagnats.errors import RunCancelled as RunCancelled
    from dagnats.errors import RunCompensated as RunCompensated
    from dagnats.errors import RunError as RunError
    from dagnats.errors import RunFailed as RunFailed
    from dagnats.errors import UnavailableError as UnavailableError
    from dagnats.handling.context import SyncTaskContext as SyncTaskContext
    from dagnats.handling.context import TaskContext as TaskContext
    from dagnats.handling.handler import Handler as Handler
    from dagnats.handling.handler import handler as handler
    from dagnats.handling.info import Compensation as Compensation
    from dagnats.handling.info import FailureInfo as FailureInfo
    from dagnats.handling.loop import Continue as Continue
    from dagnats.handling.trigger_type import Fire as Fire
    from dagnats.handling.trigger_type import TriggerType as TriggerType
    from dagnats.handling.trigger_type import trigger_type as trigger_type
    from dagnats.runtime.worker import Worker as Worker

_HOMES = {
    "Abort": "dagnats.errors",
    "AnyClient": "dagnats.client",
    "AnyRun": "dagnats.client",
    "AsyncClient": "dagnats.client",
    "Client": "dagnats.client",
    "Compensation": "dagnats.handling.info",
    "ConflictError": "dagnats.errors",
    "Continue": "dagnats.handling.loop",
    "DagnatsError": "dagnats.errors",
    "Debounce": "dagnats.dsl.limit",
    "DefinitionError": "dagnats.errors",
    "Exponential": "dagnats.dsl.retry",
    "FailureInfo": "dagnats.handling.info",
    "Fire": "dagnats.handling.trigger_type",
    "Fixed": "dagnats.dsl.retry",
    "Handler": "dagnats.handling.handler",
    "InputError": "dagnats.errors",
    "KeyedRateLimit": "dagnats.dsl.limit",
    "Linear": "dagnats.dsl.retry",
    "Match": "dagnats.dsl.expression",
    "NotFoundError": "dagnats.errors",
    "RateLimit": "dagnats.dsl.limit",
    "ResultTimeout": "dagnats.errors",
    "Retry": "dagnats.errors",
    "Run": "dagnats.client",
    "RunCancelled": "dagnats.errors",
    "RunCompensated": "dagnats.errors",
    "RunError": "dagnats.errors",
    "RunFailed": "dagnats.errors",
    "RunHandle": "dagnats.client",
    "Step": "dagnats.dsl.step",
    "SyncTaskContext": "dagnats.handling.context",
    "TaskContext": "dagnats.handling.context",
    "TriggerType": "dagnats.handling.trigger_type",
    "UnavailableError": "dagnats.errors",
    "Worker": "dagnats.runtime.worker",
    "Workflow": "dagnats.dsl.workflow",
    "connect": "dagnats.client",
    "connect_http": "dagnats.client.http",
    "handler": "dagnats.handling.handler",
    "trigger_type": "dagnats.handling.trigger_type",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]  # the same names as above
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dagnats' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
