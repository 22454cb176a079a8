"""A configuration as people and programs may see it: every key, and no secret."""

from __future__ import annotations

import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from dagnats.config.document import path_text
from dagnats.config.scalar import OFF
from dagnats.model.address import HIDDEN, without_secrets
from dagnats.model.duration import format_duration

if TYPE_CHECKING:
    from dagnats.config.access import AccessSettings
    from dagnats.config.document import Path
    from dagnats.config.load import Configuration
    from dagnats.config.settings import Settings
    from dagnats.config.worker import WorkerSettings

_DEFAULT_PORT = 4222
_DEFAULT_SYNC = "100ms"


class Shown(NamedTuple):
    """A value that may be shown.

    Attributes:
        path: Where it is.
        value: As JSON has it.
        text: As people read it.
        origin: Where it is from.
    """

    path: Path
    value: Any
    text: str
    origin: str

    @property
    def key(self) -> str:
        return path_text(self.path)


def shown(configuration: Configuration) -> list[Shown]:
    """Every value, in the order of the documentation."""
    settings = configuration.settings
    values: dict[Path, tuple[Any, str]] = {}
    for key, value in _flat(settings).items():
        values[key,] = value, _text(value)
    for key, word in _WORDS.items():
        value, text = values[key,]
        values[key,] = (value, text) if value else (value, word)
    for task, worker in settings.worker.items():
        for key, value in shown_worker(worker).items():
            values["worker", task, key] = value, shlex.join(value) if key == "exec" else _text(value)
    for path, value in _access(settings.access).items():
        values["access", *path] = (
            value,
            _text([f"{k}: {v}" for k, v in value.items()] if path[-1] == "users" else value),
        )
    if settings.workflows:
        names = [definition.name for definition in configuration.workflows]
        values["workflows",] = names, _text(names)
    control_plane = settings.policy.control_plane
    for key in ("grant", "promote"):
        names = list(getattr(control_plane, key))
        values["policy", "control_plane", key] = names, _text(names)
    for key, value in control_plane.quotas.model_dump().items():
        values["policy", "control_plane", "quotas", key] = value, _text(value)
    return [Shown(path, value, text, configuration.origin(path)) for path, (value, text) in values.items()]


_WORDS = {
    "monitor_port": "(disabled)",
    "max_store_bytes": "(none)",
}


def _flat(settings: Settings) -> dict[str, Any]:
    return {
        "data_dir": settings.data_dir,
        "http_addr": settings.http_addr,
        "nats_port": _DEFAULT_PORT if settings.nats_port is None else settings.nats_port,
        "monitor_port": settings.monitor_port,
        "max_store_bytes": settings.max_store_bytes,
        "http_tokens": settings.http_tokens,
        "url": without_secrets(settings.url) or None,
        "token": HIDDEN if settings.token.get_secret_value() else None,
        "token_file": settings.token_file or None,
        "namespace": settings.namespace or None,
        "sync": settings.sync or (None if settings.url else _DEFAULT_SYNC),
        "retention": _age(settings.retention),
        "retention_runs": OFF if settings.retention_runs is None else settings.retention_runs,
    }


def _access(access: AccessSettings) -> dict[Path, Any]:
    """Who is let in over HTTP; of passwords, only that there are some."""
    values: dict[Path, Any] = {}
    for name, person in access.basic.items():
        kept = {"password_file": person.password_file} if person.password_file else {"password": HIDDEN}
        for key, value in {**kept, "scope": person.scope, "workflows": list(person.workflows)}.items():
            values["basic", name, key] = value
    if access.forward is not None:
        for key, value in access.forward.model_dump(mode="json").items():
            values["forward", key] = value
    return values


def shown_worker(worker: WorkerSettings) -> dict[str, Any]:
    """A worker's values. Of its URL, only the host: hooks carry their secret in the path. Of headers, the names."""
    limits = {"timeout": format_duration(worker.limit), "max_output_bytes": worker.max_output_bytes}
    if worker.http is None:
        return {"exec": list(worker.exec or ()), "cwd": worker.cwd or None, "env": list(worker.env), **limits}
    return {
        "http": hidden_url(worker.http.get_secret_value()),
        "http_method": worker.http_method,
        "headers": dict.fromkeys(worker.headers, HIDDEN),
        "allow": list(worker.allow),
        **limits,
    }


def hidden_url(url: str) -> str:
    """A URL's scheme, host and port; whatever follows may be a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{HIDDEN}" if parts.path.strip("/") or parts.query else f"{parts.scheme}://{host}"


def _age(value: timedelta | None) -> str:
    if value is None:
        return OFF
    return f"{value.days}d" if value == timedelta(days=value.days) else format_duration(value)


def _text(value: Any) -> str:
    if value in (None, [], {}):
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, cast("list[Any]", value))) if isinstance(value, dict | list) else str(value)
