"""What draws the help, loaded without what it would load in vain."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

_PAINTER = "typer.rich_utils"
_UNUSED = "rich.markdown"


def load_help() -> None:
    """Load what draws the help, but for a parser of Markdown: a sixth of `--help`'s time, and our help is plain text.

    Only typer goes without: whoever else asks for `rich.markdown` gets it.
    """
    if _PAINTER in sys.modules or _UNUSED in sys.modules:
        return
    absent = ModuleType(_UNUSED)
    absent.__dict__["Markdown"] = None
    sys.modules[_UNUSED] = absent
    try:
        import_module(_PAINTER)
    finally:
        del sys.modules[_UNUSED]
