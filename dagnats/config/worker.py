"""`worker.<task type>`: a command or a URL that serves a task type, without a line of Python."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from dagnats.config.scalar import Period, Whole
from dagnats.model.identifier import HEADER

MOST_WORKERS = 50
EXEC_TIMEOUT = timedelta(minutes=5)
HTTP_TIMEOUT = timedelta(seconds=60)
_MOST_TIMEOUT = timedelta(days=1)
MAX_OUTPUT_BYTES = 10 * 1024 * 1024

EXEC_KEYS = ("exec", "cwd", "env")
HTTP_KEYS = ("http", "http_method", "headers", "allow")

_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
# What says how long the message is or where it goes is ours to say; with one more, two servers read two messages.
_OURS = {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect"}


def _words(value: Any) -> Any:
    """A command line as its words, as a shell would split it; there is no shell."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"it cannot be split into words: {str(error).lower()}") from None


def _program(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0]:
        raise ValueError("it names no program")
    if any("\0" in word for word in words):
        raise ValueError("no program takes a NUL character")
    return words


def _is_url(secret: SecretStr) -> SecretStr:
    """Check a URL. What is said about it holds nothing of it: hooks carry their secret in the path."""
    text = secret.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has a character that a URL cannot have; escape it as %XX")
    if "#" in text or "\\" in text:
        raise ValueError("a URL that is called has no '#' and no backslash")
    if not _has_host(text):
        raise ValueError("it is no URL such as https://example.com/hook")
    return secret


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no port, brackets around no address
        return False


def _header_name(name: str) -> str:
    if re.fullmatch(HEADER, name) is None or len(name) > 200:
        raise ValueError(f"{name!r} is no name of a header")
    if name.lower() in _OURS:
        raise ValueError(f"header {name!r} is set by the sender alone")
    return name


def _header_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.isascii() or not text.replace("\t", " ").isprintable() or text != text.strip():
        raise ValueError("it is not printable ASCII, or has spaces around it")
    return secret


def _pattern(text: str) -> str:
    """A host (`hooks.example.com`, `*.example.com`) or a network (`10.0.0.0/8`, `127.0.0.1`)."""
    try:
        return str(ip_network(text))
    except ValueError:
        if "/" in text or ":" in text or re.fullmatch(r"[0-9.]+", text):
            raise ValueError(f"{text!r} is no network; one is 10.0.0.0/8, an address is 127.0.0.1") from None
    if len(text) > 253 or _HOST.fullmatch(text.lower()) is None:
        raise ValueError(f"{text!r} is no host and no network, such as hooks.example.com, *.example.com or 10.0.0.0/8")
    return text.lower()


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class WorkerSettings(BaseModel):
    """What serves one task type: `exec` or `http`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    exec: (
        Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_program), Field(max_length=1_000)] | None
    ) = Field(default=None, description="The command and its arguments: a list, or one line as a shell splits it.")
    cwd: str = Field(default="", description="The folder that the command runs in; without it, the worker's own.")
    env: tuple[Annotated[str, Field(pattern=_VARIABLE)], ...] = Field(
        default=(), max_length=100, description="The names of further variables of the worker that the command gets."
    )
    http: Annotated[SecretStr, AfterValidator(_is_url)] | None = Field(
        default=None, description="The URL that gets the input."
    )
    http_method: Annotated[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], BeforeValidator(_upper)] = Field(
        default="POST", description="How it gets it. `GET` and `DELETE` send no input."
    )
    headers: dict[Annotated[str, AfterValidator(_header_name)], Annotated[SecretStr, AfterValidator(_header_value)]] = (
        Field(default={}, max_length=50, description="What goes along.")
    )
    allow: tuple[Annotated[str, AfterValidator(_pattern)], ...] = Field(
        default=(), max_length=100, description="The hosts and networks that it may reach; see below."
    )
    timeout: Annotated[Period, Field(le=_MOST_TIMEOUT)] | None = Field(
        default=None, description="The longest an attempt may take: `5m` for a command, `60s` for a URL."
    )
    max_output_bytes: Whole = Field(
        default=MAX_OUTPUT_BYTES, ge=1, le=MAX_OUTPUT_BYTES, description="The longest output."
    )

    @property
    def limit(self) -> timedelta:
        """The longest an attempt may take."""
        return self.timeout or (EXEC_TIMEOUT if self.exec else HTTP_TIMEOUT)


def worker_faults(entry: Any) -> list[tuple[str, str, str]]:
    """What is wrong with an entry as a whole, as (key, rule, message); single values are the model's to check."""
    if not isinstance(entry, dict):
        return []
    keys = cast("dict[str, Any]", entry)
    if ("exec" in keys) == ("http" in keys):
        both = "both 'exec' and 'http' are given" if "exec" in keys else "neither 'exec' nor 'http' is given"
        return [("", "worker-kind", f"{both}; one of them serves a task type")]
    kind, foreign = ("exec", HTTP_KEYS) if "exec" in keys else ("http", EXEC_KEYS)
    return [(key, "worker-kind", f"{key!r} does nothing for {kind!r}") for key in foreign if key in keys]
