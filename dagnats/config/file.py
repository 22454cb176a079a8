"""Which file counts. It loads nothing else: whoever finds none needs no more."""

from __future__ import annotations

import os
from pathlib import Path as File

from dagnats.errors import ConfigurationError, Problem

NAME = "dagnats.yaml"


def find_file(named: str) -> File | None:
    """The file that counts: the one that is named, else the first that is there.

    Raises:
        ConfigurationError: The one that is named is not there.
    """
    if named:
        file = File(named).expanduser()
        if not _is_file(file):
            why = "is not a file" if file.exists() else "does not exist"
            problem = Problem("", "no-file", f"configuration file {named!r} {why}")
            raise ConfigurationError("the configuration cannot be read", [problem])
        return file
    places = [File(NAME), _own_folder() / NAME, File("/etc/dagnats") / NAME]
    return next((place for place in places if _is_file(place)), None)


def contexts_file() -> File:
    """Where somebody's contexts are kept, beside their configuration."""
    return _own_folder() / "config.yaml"


def _own_folder() -> File:
    """`$XDG_CONFIG_HOME/dagnats`, else `~/.config/dagnats`."""
    home = os.environ.get("XDG_CONFIG_HOME", "") or "~/.config"
    return File(home).expanduser().absolute() / "dagnats"


def _is_file(place: File) -> bool:
    try:
        return place.is_file()
    except OSError:  # a folder that is not ours to look into
        return False
