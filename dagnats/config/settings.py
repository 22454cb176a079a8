"""What can be set. A field's name is its key in `dagnats.yaml`, and with `DAGNATS_` before it, its variable."""

from __future__ import annotations

import os
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from dagnats.config.access import AccessSettings
from dagnats.config.policy import Policy
from dagnats.config.scalar import Age, Count, Place, Sync, Whole, host_and_port
from dagnats.config.worker import MOST_WORKERS, WorkerSettings
from dagnats.config.workflow import MOST_WORKFLOWS
from dagnats.model.address import is_http
from dagnats.model.identifier import TASK_TYPE, TASK_TYPE_LENGTH
from dagnats.model.namespace import checked_namespace

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

_TaskType = Annotated[str, Field(pattern=TASK_TYPE, max_length=TASK_TYPE_LENGTH)]
_Port = Annotated[Whole, Field(ge=0, le=65535)]
_SCHEMES = ("nats", "tls", "ws", "wss")

LAYERS: ContextVar[tuple[PydanticBaseSettingsSource, ...]] = ContextVar("layers", default=())
"""Where values come from, the strongest first; `load` sets it."""


def server_url(text: str) -> str:
    """The URL of a NATS server, or of several with commas between, its scheme added where it lacks; "" stays.

    One of DagNats over HTTP stays, too: commands ask there.

    Raises:
        ValueError: It is none; the message does not repeat it.
    """
    if not text or is_http(text):
        return text
    urls = [part if "://" in part else f"nats://{part}" for part in text.split(",")]
    if not all(_has_host(url) for url in urls):
        raise ValueError("it is not the address of a NATS server; such an address is nats://host:4222")
    return ",".join(urls)


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no port
        return False


def _listen_address(text: str) -> str:
    if text != "off":
        host_and_port(text)
    return text


def default_data_dir() -> str:
    """`$XDG_DATA_HOME/dagnats`, else `~/.local/share/dagnats`."""
    share = os.environ.get("XDG_DATA_HOME", "") or "~/.local/share"
    return str(Path(share).expanduser().absolute() / "dagnats")


class Settings(BaseSettings):
    """Everything that can be set, checked."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="DAGNATS_", env_ignore_empty=True, hide_input_in_errors=True
    )

    data_dir: Place = Field(
        default_factory=default_data_dir,
        description="Where `serve` keeps the data of its NATS server, and where others on this machine find it.",
    )
    http_addr: Annotated[str, AfterValidator(_listen_address)] = Field(
        default="127.0.0.1:8080",
        description="Where `serve` listens for HTTP, or `off`. Without a host, `:8080`, that is this machine alone.",
    )
    nats_port: _Port | None = Field(
        default=None,
        description="The port of `serve`'s NATS server; 0 takes any. Without it 4222, or another where that is busy.",
    )
    monitor_port: Annotated[Whole, Field(ge=1, le=65535)] | None = Field(
        default=None, description="The port of that server's own monitoring pages, on this machine alone."
    )
    max_store_bytes: Annotated[Whole, Field(ge=1024 * 1024)] | None = Field(
        default=None, description="The most that it stores on disk. Without it, three quarters of what the disk has."
    )
    http_tokens: bool = Field(
        default=False, description="Whether HTTP wants a token, made with `dagnats token create`."
    )
    url: Annotated[str, AfterValidator(server_url)] = Field(
        default="", repr=False, description="A NATS server of one's own, instead of the one that `serve` starts."
    )
    token: SecretStr = Field(default=SecretStr(""), description="What lets us into that server.")
    token_file: Place = Field(default="", description="The file that holds the token.")
    namespace: Annotated[str, AfterValidator(checked_namespace)] = Field(
        default="",
        description="What every stream, bucket and subject has before its name, so that several installations share a "
        "NATS server; `off` is nothing.",
    )
    sync: Sync = Field(
        default="",
        description="When writes are on disk: `always`, or an interval: `100ms`, the default. With `url`, what that "
        "server is set to.",
    )
    retention: Age = Field(default=timedelta(days=30), description="How long ended runs are kept, or `off`.")
    retention_runs: Count = Field(
        default=1_000_000,
        description="How many ended runs are kept, or `off`. Where `retention` is off, it counts only when it is set.",
    )
    worker: dict[_TaskType, WorkerSettings] = Field(
        default={},
        max_length=MOST_WORKERS,
        description=f"Commands and URLs that serve task types, at most {MOST_WORKERS}.",
    )
    access: AccessSettings = Field(
        default=AccessSettings(), description="Who is let in over HTTP with a password, or by a proxy."
    )
    workflows: tuple[dict[str, Any], ...] = Field(
        default=(),
        max_length=MOST_WORKFLOWS,
        description=f"Definitions that `serve` registers, at most {MOST_WORKFLOWS}.",
    )
    policy: Policy = Field(default=Policy(), description="What workflows may do beyond their own run.")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The layers of `load`, and nothing that pydantic-settings would look for by itself."""
        return LAYERS.get()
