"""A configuration whose file may change while a program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagnats.config.load import load

if TYPE_CHECKING:
    from dagnats.config.load import Configuration

RELOADED = ("workflows", "policy")
"""What counts without a restart."""

_Trace = tuple[int, int, int] | None


class Watch:
    """Looks whether a configuration says something else by now.

    It looks at the file that counted at first, and at no other one: while an editor replaces that, the next one in
    line must not count.

    Args:
        first: What holds.
        flags: What the command line said, as `load` takes it.
    """

    def __init__(self, first: Configuration, **flags: Any) -> None:
        self.first = first
        self._flags = flags
        self._read = self._seen = self._trace()
        self._is_asked = False

    def ask(self) -> None:
        """Have it read anew, changed or not: somebody wants that."""
        self._is_asked = True

    def has_changed(self) -> bool:
        """Whether the file is another one than when it was read, and the same as at the last look: nobody is writing
        it just now."""
        now, before = self._trace(), self._seen
        self._seen = now
        return self._is_asked or (now == before and now != self._read)

    def read(self) -> Configuration:
        """What it says now. Raises ConfigurationError."""
        self._is_asked = False
        self._read = self._trace()  # before reading: what is written meanwhile is another change
        return load(str(self.first.file or ""), **self._flags)

    def _trace(self) -> _Trace:
        """What changes with the file; None when it is not there."""
        try:
            state = self.first.file.stat() if self.first.file is not None else None
        except OSError:
            return None
        return (state.st_mtime_ns, state.st_size, state.st_ino) if state is not None else None


def needs_restart(first: Configuration, now: Configuration) -> tuple[str, ...]:
    """The keys that differ, and count from the next start."""
    names = (name for name in type(now.settings).model_fields if name not in RELOADED)
    return tuple(name for name in names if getattr(first.settings, name) != getattr(now.settings, name))
