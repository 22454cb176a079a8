"""Reads the configuration: defaults < file < environment < flags. Everything that is wrong is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, cast

from pydantic import SecretStr, ValidationError

from dagnats.config.access import AccessSettings, Forward, Person, access_faults
from dagnats.config.document import Path, path_text
from dagnats.config.file import find_file
from dagnats.config.layer import environment_layer, file_layer, flag_layer, source
from dagnats.config.policy import ControlPlane, Policy, Quotas, policy_faults
from dagnats.config.settings import LAYERS, Settings
from dagnats.config.worker import WorkerSettings, worker_faults
from dagnats.config.workflow import definitions_of, workflow_faults
from dagnats.errors import ConfigurationError, Problem
from dagnats.model.identifier import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from dagnats.config.layer import Layer
    from dagnats.model.definition import WorkflowDef

_SECRET = {"token", "url", "exec", "http", "headers", "basic"}  # their values are in no message
_MOST_SHOWN = 80
_PLACE = ("url", "token", "token_file", "namespace", "data_dir")
_NO_LEAF = "a leaf node would store what others on its hub publish, so that `serve` makes none"
_HINTS = {
    "leaf_remotes": _NO_LEAF,
    "leaf_credentials": _NO_LEAF,
}
# Names that other programs know.
_OTHER_NAMES = {
    "runs_max_age": "retention",
    "port": "nats_port",
    "server": "url",
    "max_active_runs_per_root": "policy.control_plane.quotas.max_active_runs",
    "max_defs_per_root": "policy.control_plane.quotas.max_registered_defs",
    "max_generation_depth": "policy.control_plane.quotas.max_depth",
    "max_registers_per_minute_per_root": "policy.control_plane.quotas.registers_per_minute",
}


@dataclass(frozen=True)
class Configuration:
    """What holds, and why.

    Attributes:
        settings: Every value.
        file: The file that was read; None without one.
        origins: Where a value is from, by its path; what is not there is a default.
    """

    settings: Settings
    file: File | None
    origins: Mapping[Path, str]

    @property
    def token(self) -> str:
        """The token for the server that `url` names, or ""."""
        return self.settings.token.get_secret_value()

    @property
    def workflows(self) -> tuple[WorkflowDef, ...]:
        """The definitions that are to be registered."""
        return definitions_of(self.settings.workflows)

    def worker_origin(self, task: str) -> str:
        """Where a task type's worker is configured."""
        return self.origin(("worker", task))

    def origin(self, path: Path) -> str:
        """Where a value is from."""
        return self.origins.get(path, "default")


def load(file: str = "", **flags: Any) -> Configuration:
    """The configuration that holds.

    Args:
        file: The file to read. Without one, the first of `./dagnats.yaml`, `$XDG_CONFIG_HOME/dagnats/dagnats.yaml`
            (`~/.config`), `/etc/dagnats/dagnats.yaml`.
        flags: What the command line says, by key; None and "" say nothing.

    Raises:
        ConfigurationError: With every problem.
    """
    problems: list[Problem] = []
    found = find_file(file)
    return _checked(_layers(found, flags, problems), problems, found)


def load_place(file: str = "", **flags: Any) -> Configuration:
    """Where the server is, by what can be read: whatever is wrong with the other keys, which have their defaults here.

    Takes arguments like `load`, and raises like it for the keys that say where.
    """
    found = find_file(file)
    layers = [
        (
            {key: value for key, value in values.items() if key in _PLACE},
            {path: where for path, where in wheres.items() if path[0] in _PLACE},
        )
        for values, wheres in _layers(found, flags, [])
    ]
    return _checked(layers, [], found)


def _layers(found: File | None, flags: Mapping[str, Any], problems: list[Problem]) -> list[Layer]:
    of_file: Layer = file_layer(found, problems) if found is not None else ({}, {})
    return [flag_layer(flags), environment_layer(_tasks(of_file), problems), of_file]


def _checked(layers: list[Layer], problems: list[Problem], found: File | None) -> Configuration:
    _prefer_stronger(layers, "token", "token_file")
    origins = {path: where for _, wheres in reversed(layers) for path, where in wheres.items()}
    settings, faults = _validated(layers, origins)
    problems += faults
    problems += _faults_of_the_whole(_merged(layers), origins)
    if settings is not None and not problems:
        settings = _with_token(settings, origins, problems)
        if settings.token_file:
            origins["token",] = origins["token_file",]
    if settings is None or problems:
        raise ConfigurationError(_title(problems, found), sorted(problems, key=_place))
    return Configuration(settings, found, origins)


def _tasks(of_file: Layer) -> list[str]:
    workers: Any = of_file[0].get("worker")
    return list(cast("dict[str, Any]", workers)) if isinstance(workers, dict) else []


def _prefer_stronger(layers: list[Layer], one: str, other: str) -> None:
    """Of two keys that exclude each other, the one on the stronger layer counts; on one layer they are a mistake."""
    for stronger, (values, _) in enumerate(layers):
        if one in values or other in values:
            for weaker, wheres in layers[stronger + 1 :]:
                for key in (one, other):
                    weaker.pop(key, None)
                    wheres.pop((key,), None)
            return


def _validated(layers: list[Layer], origins: Mapping[Path, str]) -> tuple[Settings | None, list[Problem]]:
    reset = LAYERS.set(tuple(source(layer) for layer in layers))
    try:
        return Settings(), []
    except ValidationError as error:
        return None, [_problem(detail, origins) for detail in error.errors(include_url=False, include_context=False)]
    finally:
        LAYERS.reset(reset)


def _merged(layers: list[Layer]) -> dict[str, Any]:
    """What all layers say together; of the environment's workers, only the keys that it has."""
    merged: dict[str, Any] = {}
    for values, _ in reversed(layers):
        workers: Any = merged.get("worker")
        merged.update(values)
        if isinstance(workers, dict):
            merged["worker"] = _updated(cast("dict[str, Any]", workers), values.get("worker", {}))
    return merged


def _updated(workers: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A file's workers with what the environment says of them."""
    both = dict(workers)
    for task, keys in overrides.items():
        entry: Any = workers.get(task)
        if isinstance(entry, dict):
            both[task] = {**cast("dict[str, Any]", entry), **keys}
    return both


def _faults_of_the_whole(values: Mapping[str, Any], origins: Mapping[Path, str]) -> Iterator[Problem]:
    """What no single value shows."""
    if values.get("token") and values.get("token_file"):
        yield _at(("token_file",), origins, "token", "both 'token' and 'token_file' are given; one of them counts")
    workers: Any = values.get("worker")
    for task, entry in cast("dict[str, Any]", workers).items() if isinstance(workers, dict) else ():
        for key, rule, message in worker_faults(entry):
            yield _at(("worker", task, key) if key else ("worker", task), origins, rule, message)
    for name, message in access_faults(values.get("access")):
        yield _at(("access", "basic", name), origins, "access", message)
    for path, problem in workflow_faults(values.get("workflows")):
        yield _at(path, origins, problem.rule, problem.message, problem.hint)
    policy: Any = values.get("policy")
    section = cast("dict[str, Any]", policy).get("control_plane") if isinstance(policy, dict) else None
    for index, message, hint in policy_faults(section):
        yield _at(("policy", "control_plane", "promote", index), origins, "policy", message, hint)


def _with_token(settings: Settings, origins: Mapping[Path, str], problems: list[Problem]) -> Settings:
    """With the token from its file."""
    if not settings.token_file:
        return settings
    try:
        token = File(settings.token_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        problems.append(_at(("token_file",), origins, "no-file", f"{settings.token_file!r} cannot be read: {why}"))
        return settings
    if not token:
        problems.append(_at(("token_file",), origins, "no-file", f"{settings.token_file!r} is empty"))
    return settings.model_copy(update={"token": SecretStr(token)})


# -- problems ----------------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails, origins: Mapping[Path, str]) -> Problem:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    key = str(path[-1])
    if detail["type"] == "extra_forbidden":
        return _at(path, origins, "unknown-key", f"there is no key {key!r}", _meant(path))
    why = detail["msg"].removeprefix("Value error, ")
    why = f"{why[:1].lower()}{why[1:]}"
    if _SECRET & set(map(str, path)) or "[key]" in detail["loc"]:
        return _at(path, origins, "value", f"{path_text(path)} is not valid: {why}")
    shown = repr(detail["input"])
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"
    if isinstance(detail["input"], dict | list):
        shown = f"a {'mapping' if isinstance(detail['input'], dict) else 'list'}"
    return _at(path, origins, "value", f"{path_text(path)} is {shown}: {why}")


def _at(path: Path, origins: Mapping[Path, str], rule: str, message: str, hint: str = "") -> Problem:
    """A problem with the place that said it: its own, or the nearest one around it."""
    around = (path[:length] for length in range(len(path), 0, -1))
    where = next((origins[part] for part in around if part in origins), "")
    return Problem(path_text(path), rule, message, hint, where)


def _meant(path: Path) -> str:
    """The key that was probably meant."""
    key = str(path[-1])
    if len(path) == 1 and key in _HINTS:
        return _HINTS[key]
    if len(path) == 1 and key in _OTHER_NAMES:
        return f"here it is called {_OTHER_NAMES[key]!r}"
    known = _keys(path[:-1])
    close = near(key.lower().replace("-", "_"), known)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _keys(path: Path) -> list[str]:
    model: type[BaseModel] = Settings
    if path[:1] == ("worker",):
        model = WorkerSettings
    elif path[:1] == ("access",):
        model = AccessSettings if len(path) == 1 else Forward if path[1] == "forward" else Person
    elif path[:1] == ("policy",):
        model = (Policy, ControlPlane, Quotas)[min(len(path), 3) - 1]
    return list(model.model_fields)


def _title(problems: list[Problem], file: File | None) -> str:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"the configuration has {count}" + (f" ({file})" if file is not None else "")


def _place(problem: Problem) -> tuple[str, int]:
    """Problems of the file come in its order."""
    file, _, line = problem.source.rpartition(":")
    return (file, int(line)) if line.isdigit() else (problem.source, 0)
