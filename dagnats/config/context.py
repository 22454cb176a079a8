"""Contexts: the servers that somebody uses, by names of their own, in `config.yaml` of their configuration folder.

The file may hold tokens: it is theirs alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from dagnats.config.document import path_text, read_document
from dagnats.config.file import contexts_file
from dagnats.config.settings import server_url
from dagnats.errors import ConfigurationError, DagnatsError, NotFoundError, Problem
from dagnats.model.identifier import near
from dagnats.model.namespace import checked_namespace

LOCAL = "local"
"""The context that is always there: the `serve` of this machine."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_TITLE = "the contexts cannot be read"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _namespace(text: str) -> str:
    try:
        return checked_namespace(text)
    except ValueError as error:
        raise ValueError(f"{text!r} cannot be a namespace: {error}") from None


class Context(_Model):
    """A server.

    Attributes:
        url: Its address, of NATS or of HTTP.
        token: What lets us in.
        token_file: The file that holds the token instead.
        namespace: Which of the installations there is meant; "" for the one without a namespace.
    """

    url: Annotated[str, Field(min_length=1), AfterValidator(server_url)]
    token: SecretStr = SecretStr("")
    token_file: str = ""
    namespace: Annotated[str, AfterValidator(_namespace)] = ""

    def secret(self) -> str:
        """The token. Raises DagnatsError when its file cannot be read."""
        if not self.token_file:
            return self.token.get_secret_value()
        try:
            return Path(self.token_file).expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise DagnatsError(f"the token in {self.token_file} cannot be read: {why}") from None


class _Document(_Model):
    current: str = ""
    contexts: dict[Annotated[str, Field(pattern=_NAME)], Context] = {}


@dataclass(frozen=True, slots=True)
class Contexts:
    """Those that somebody has.

    Attributes:
        file: Where they are kept.
        known: By name.
        current: The name of the one in use; "" for the local server.
    """

    file: Path
    known: Mapping[str, Context]
    current: str = ""

    @property
    def used(self) -> Context | None:
        """The one in use; None for the local server. Raises NotFoundError when it is gone."""
        return self.named(self.current) if self.current else None

    def named(self, name: str) -> Context:
        """One of them. Raises NotFoundError, with near names."""
        if name not in self.known:
            hint = "" if near(name, self.known) else "`dagnats context list` lists those there are"
            raise NotFoundError("context", name, near=near(name, self.known), hint=hint)
        return self.known[name]

    def adding(self, name: str, **values: str) -> Contexts:
        """With one more, or with another one of that name.

        Raises:
            DagnatsError: It cannot have that name.
            ConfigurationError: Something of it cannot be.
        """
        if name == LOCAL:
            raise DagnatsError(f"the context {LOCAL!r} is this machine's own", hint="choose another name")
        said = {key: value for key, value in values.items() if value}
        context = _validated({"contexts": {name: said}}, "the context cannot be").contexts[name]
        return replace(self, known={**self.known, name: context})

    def using(self, name: str) -> Contexts:
        """With another one in use. Raises NotFoundError."""
        if name != LOCAL:
            self.named(name)
        return replace(self, current="" if name == LOCAL else name)

    def without(self, name: str) -> Contexts:
        """With one less; the local server is in use when it was that. Raises NotFoundError."""
        self.named(name)
        known = {each: context for each, context in self.known.items() if each != name}
        return replace(self, known=known, current="" if self.current == name else self.current)

    def to_yaml(self) -> bytes:
        """What the file has, secrets and all."""
        document: dict[str, Any] = {"current": self.current} if self.current else {}
        document["contexts"] = {name: _plain(context) for name, context in sorted(self.known.items())}
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()


def load_contexts() -> Contexts:
    """The contexts that there are. Raises ConfigurationError: the file says what cannot be."""
    file = contexts_file()
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return Contexts(file, {})
    document = read_document(data, str(file))
    if document.problems:
        raise ConfigurationError(f"{_TITLE}: {file}", document.problems)
    found = _validated(document.values, f"{_TITLE}: {file}", source=str(file))
    return Contexts(file, found.contexts, "" if found.current == LOCAL else found.current)


def _validated(values: Mapping[str, Any], title: str, source: str = "") -> _Document:
    try:
        return _Document.model_validate(values)
    except ValidationError as error:
        problems = [
            Problem(
                path_text(each["loc"]),
                each["type"].replace("_", "-"),
                _message(each["type"], each["msg"], each["loc"]),
                _meant(each["type"], each["loc"]),
                source,
            )
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ConfigurationError(title, problems) from None


def _message(type: str, message: str, path: tuple[str | int, ...]) -> str:
    if type == "extra_forbidden":
        return f"{path[-1]!r} is no key that there is"
    if path[-1] == "[key]":
        return f"{path[-2]!r} cannot name a context: use letters, digits, '.', '_' and '-', at most 64 of them"
    return message.removeprefix("Value error, ")


def _meant(type: str, path: tuple[str | int, ...]) -> str:
    if type != "extra_forbidden":
        return ""
    known = list(_Document.model_fields if len(path) == 1 else Context.model_fields)
    close = near(str(path[-1]), known)
    return f"did you mean {close[0]!r}?" if close else f"there is {', '.join(known)}"


def _plain(context: Context) -> dict[str, str]:
    said = {
        "url": context.url,
        "token": context.token.get_secret_value(),
        "token_file": context.token_file,
        "namespace": context.namespace,
    }
    return {key: value for key, value in said.items() if value}
