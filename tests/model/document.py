"""The complete definitions that lie beside the tests, as JSON values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "documents"
NAMES = sorted(str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.rglob("*.json"))
GO_NAMES = [name.removeprefix("go/") for name in NAMES if name.startswith("go/")]


def document(name: str) -> dict[str, Any]:
    """The one in `documents/<name>.json`."""
    return json.loads((FOLDER / f"{name}.json").read_bytes())
