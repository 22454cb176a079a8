"""Finds workflows, handlers and trigger types: in `module`, `module:attribute`, a file or a folder, or `workflows/`.

Nothing registers itself on import: objects are found by looking at a module's names.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagnats.dsl.workflow import Workflow
from dagnats.errors import DagnatsError, NotFoundError
from dagnats.handling.handler import Handler
from dagnats.handling.source import is_ours, shown_source
from dagnats.handling.trigger_type import TriggerType
from dagnats.model.identifier import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

DEFAULT_TARGET = "workflows"
# Where Python's own modules and installed ones are; "<" begins what has no file.
_LIBRARIES = ("<", *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")))
_SKIPPED_FOLDERS = {"build", "__pycache__"}


class TargetError(DagnatsError):
    """A target cannot be used: its code fails to import, or two objects claim one name."""


@dataclass
class Found:
    """What targets hold.

    Attributes:
        workflows: By name, in the order they were found.
        handlers: By task type; a workflow's own handlers included.
        trigger_types: By name.
        lifespans: What modules call `lifespan`, by where they do.
    """

    workflows: dict[str, Workflow] = field(default_factory=dict[str, Workflow])
    handlers: dict[str, Handler[..., Any]] = field(default_factory=dict[str, Handler[..., Any]])
    trigger_types: dict[str, TriggerType[Any]] = field(default_factory=dict[str, TriggerType[Any]])
    lifespans: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def lifespan(self) -> Callable[[], Any] | None:
        """What gives a worker's resources; None when no module has any.

        Raises:
            TargetError: Two modules have different ones, or it cannot be called with nothing.
        """
        first = next(iter(self.lifespans), "")
        for module, lifespan in self.lifespans.items():
            if lifespan is not self.lifespans[first]:
                raise TargetError(
                    f"two different objects are called lifespan, in {first} and in {module}: a worker has one",
                    hint="let one of them open everything, or start a worker for each",
                )
        lifespan = self.lifespans.get(first)
        if lifespan is not None and not _takes_nothing(lifespan):
            raise TargetError(
                f"lifespan in {first} is {lifespan!r}; a worker calls it with nothing, and enters what it gives",
                hint="write it as an @asynccontextmanager without parameters, or give it another name",
            )
        return lifespan

    def add(self, value: object) -> bool:
        """Take `value` if it is a workflow, a handler or a trigger type."""
        if isinstance(value, Workflow):
            self._claim(self.workflows, value.name, value, "workflow")
            for handler in value.handlers:
                self._claim(self.handlers, handler.task, handler, "task type")
            return True
        if isinstance(value, Handler):
            self._claim(self.handlers, value.task, value, "task type")
            return True
        if isinstance(value, TriggerType):
            self._claim(self.trigger_types, value.name, value, "trigger type")
            return True
        return False

    def _claim(self, claims: dict[str, Any], name: str, value: Any, kind: str) -> None:
        first = claims.setdefault(name, value)
        if first is not value:
            raise TargetError(
                f"two different objects claim {kind} {name!r}:"
                f" {shown_source(first.source)} and {shown_source(value.source)}",
                hint="rename one of them, or name the module you mean",
            )


def discover(targets: Iterable[str] = ()) -> Found:
    """Everything the targets hold.

    Raises:
        NotFoundError: A target does not exist, or `module:attribute` names nothing of ours.
        TargetError: A target's code fails to import, or two objects claim one name.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found = Found()
    for target in list(targets) or [DEFAULT_TARGET]:
        _take(target, found)
    return found


def _take(target: str, found: Found) -> None:
    name, _, attribute = target.partition(":")
    path = Path(name)
    if path.is_dir() and not attribute:
        for file in sorted(_python_files(path)):
            _take_names(_import_file(file), found)
    elif path.suffix == ".py" or path.is_file():
        if not path.is_file():
            raise NotFoundError("file", name)
        _take_module(_import_file(path), attribute, found)
    elif name == DEFAULT_TARGET and not attribute:
        raise NotFoundError(
            "folder", f"{DEFAULT_TARGET}/", hint="name a module, a file or a folder that holds workflows"
        )
    elif not all(part.isidentifier() for part in name.split(".")):
        raise NotFoundError("file, folder or module", name)
    else:
        _take_module(_import_module(name), attribute, found)


def _python_files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in _SKIPPED_FOLDERS and not entry.name.startswith("."):
            yield from _python_files(entry)
        elif entry.suffix == ".py":
            yield entry


def _take_module(module: ModuleType, attribute: str, found: Found) -> None:
    if not attribute:
        _take_names(module, found)
        return
    _take_lifespan(module, found)
    value = getattr(module, attribute, None)
    if value is None:
        raise NotFoundError(f"name in module {module.__name__!r}", attribute, near=near(attribute, vars(module)))
    if not found.add(value):
        kind = type(value).__name__
        raise TargetError(f"{module.__name__}:{attribute} is {kind}, not a Workflow, a handler or a trigger type")


def _take_names(module: ModuleType, found: Found) -> None:
    for value in vars(module).values():
        found.add(value)
    _take_lifespan(module, found)


def _take_lifespan(module: ModuleType, found: Found) -> None:
    lifespan = getattr(module, "lifespan", None)
    if lifespan is not None:
        found.lifespans[module.__name__] = lifespan


def _takes_nothing(lifespan: Any) -> bool:
    try:
        inspect.signature(lifespan).bind()
    except (TypeError, ValueError):
        return False
    return True


def _import_file(file: Path) -> ModuleType:
    """A file below the current folder by its dotted name, another one under its stem."""
    file = file.resolve()
    here = Path.cwd().resolve()
    if file.is_relative_to(here):
        parts = file.relative_to(here).with_suffix("").parts
        if parts[-1] == "__init__":  # the folder's own module; under another name it would run twice
            parts = parts[:-1]
        if parts and all(part.isidentifier() for part in parts):
            module = _import_module(".".join(parts))
            if getattr(module, "__file__", None) == str(file):
                return module  # otherwise the name belongs to another module: `json.py` beside Python's json
    return _import_alone(file)


def _import_alone(file: Path) -> ModuleType:
    name = file.stem
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(file):
        name = f"{name}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"  # taken, perhaps by Python itself
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TargetError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except DagnatsError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        del sys.modules[name]
        raise _failed(str(file), error) from error
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotFoundError("module or file", name, hint="is it importable from the current folder?") from None
        raise _failed(name, error) from error
    except DagnatsError:
        raise
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise _failed(name, error) from error


def _failed(target: str, error: Exception | SystemExit) -> TargetError:
    hint = ""
    if isinstance(error, SystemExit):
        why = f"it ends the program with {error!r}"
        hint = "put what only a script does under `if __name__ == '__main__':`"
    elif isinstance(error, SyntaxError):
        why = f"{type(error).__name__}: {error.msg}"  # its text repeats the place
    else:
        why = f"{type(error).__name__}: {error}"
    place = _place(error)
    return TargetError(f"importing {target} failed: {why}{f' ({place})' if place else ''}", hint=hint)


def _place(error: BaseException) -> str:
    """`file:line` of what failed: the deepest line of the user's own before it called into this package, or into a
    library. "" when there is none."""
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno}"
    own = library = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if is_ours(file):
            if own:
                break
        elif not file.startswith(_LIBRARIES):
            own = f"{file}:{line}"
        elif not file.startswith("<") and not str(frame.f_globals.get("__name__")).startswith("importlib"):
            library = f"{file}:{line}"
    return own or library
