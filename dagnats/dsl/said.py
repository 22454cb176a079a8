"""What was said about a workflow or a step, key by key, and on which of the user's lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

from dagnats.handling.source import Place, caller_place


class Said:
    """Holds settings as the definition writes them. The last word on a key counts."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}
        self._created = caller_place()
        self._places: dict[str, Place] = {}
        self._types: dict[str, Any] = {}

    def _set(self, path: str, value: Any) -> Self:
        """Say `value` for the key at `path`; `config.detach` is a key of the object `config`."""
        *parents, key = path.split(".")
        target = self._settings
        for parent in parents:
            target = target.setdefault(parent, {})
        target[key] = value
        return self._mark(path)

    def _declare(self, path: str, declared: Any) -> Self:
        """Say a JSON Schema for the key at `path`, or a type, whose schema is read at build.

        A type may refer to others that are defined further down.
        """
        if isinstance(declared, dict):
            return self._set(path, cast("dict[str, Any]", declared))
        self._types[path] = declared
        return self._mark(path)

    def _mark(self, path: str) -> Self:
        """Remember that the calling line spoke about `path`."""
        self._places[path] = caller_place()
        return self

    def _place(self, path: str) -> Place:
        """The line that spoke about `path`, or about the nearest thing around it."""
        while path not in self._places and path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._places.get(path, self._created)


def given(**settings: Any) -> dict[str, Any]:
    """`settings` without those that were not given, which are None."""
    return {key: value for key, value in settings.items() if value is not None}


def text_map(values: object, more: Mapping[str, str]) -> dict[str, str]:
    """A map of texts, from a mapping, from keywords, or from both.

    Raises:
        TypeError: `values` is no mapping.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"a mapping of texts is expected, such as {{'team': 'billing'}}, not {values!r}")
    return {**cast("Mapping[str, str]", values), **more}
