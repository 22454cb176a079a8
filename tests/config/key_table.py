"""The tables of `docs/configuration.md`, made from the model. Run this file to see them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from dagnats.config.access import Forward, Person  # noqa: E402  (found through the line above, when run as a file)
from dagnats.config.load import load  # noqa: E402
from dagnats.config.policy import ControlPlane, Quotas  # noqa: E402
from dagnats.config.settings import Settings  # noqa: E402
from dagnats.config.view import shown  # noqa: E402
from dagnats.config.worker import MAX_OUTPUT_BYTES, WorkerSettings  # noqa: E402

if TYPE_CHECKING:
    from pydantic import BaseModel

_SECTIONS = ("worker", "access", "workflows", "policy")
_NAMED = {"exec", "http", "http_method"}


def keys() -> str:
    """The keys with a value of their own."""
    defaults = {value.key: value.text for value in shown(load())}
    defaults["data_dir"] = "$XDG_DATA_HOME/dagnats, else ~/.local/share/dagnats"
    rows = [
        (f"`{name}`", f"`DAGNATS_{name.upper()}`", _default(defaults[name]), str(field.description))
        for name, field in Settings.model_fields.items()
        if name not in _SECTIONS
    ]
    return _table(("key", "variable", "default", "what it is"), rows)


def worker_keys() -> str:
    """The keys of one worker."""
    defaults = {"http_method": "POST", "max_output_bytes": str(MAX_OUTPUT_BYTES)}
    rows = [
        (
            f"`{name}`",
            f"`DAGNATS_WORKER_<TASK>_{name.upper()}`" if name in _NAMED else "",
            _default(defaults.get(name, "")),
            str(field.description),
        )
        for name, field in WorkerSettings.model_fields.items()
    ]
    return _table(("key", "variable", "default", "what it is"), rows)


def policy_keys() -> str:
    """The keys of `policy.control_plane`."""
    rows = _plain(ControlPlane, "", ("quotas",)) + _plain(Quotas, "quotas.", ())
    return _table(("key", "default", "what it is"), rows)


def access_keys() -> str:
    """The keys of `access`."""
    rows = _plain(Person, "basic.<user>.", ()) + _plain(Forward, "forward.", ())
    rows = [(key, "required" if "Undefined" in default else default, text) for key, default, text in rows]
    return _table(("key", "default", "what it is"), rows)


def _plain(model: type[BaseModel], prefix: str, without: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [
        (f"`{prefix}{name}`", _default(str(field.default or "")).replace("`()`", ""), str(field.description))
        for name, field in model.model_fields.items()
        if name not in without
    ]


def _default(text: str) -> str:
    return "" if text in ("", "(none)", "(disabled)") else f"`{text}`"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("|".join(["", *(f" {cell} " if cell else " " for cell in line), ""]) for line in lines).replace(
        " --- ", "---"
    )


TABLES = {"keys": keys, "worker keys": worker_keys, "access keys": access_keys, "policy keys": policy_keys}

if __name__ == "__main__":
    sys.stdout.write("\n\n".join(table() for table in TABLES.values()) + "\n")
