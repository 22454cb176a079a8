"""A folder whose new files start runs: `dagnats worker examples.inbox`, beside `dagnats serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dagnats import Fire, Workflow, trigger_type


# --8<-- [start:type]
class Inbox(BaseModel):
    folder: str
    every_s: float = 1.0


@trigger_type("inbox", version="1", config=Inbox)
async def inbox(config: Inbox, fire: Fire) -> None:
    seen: set[Path] = set()
    while True:
        for path in await asyncio.to_thread(files_in, config.folder):
            if path not in seen:
                await fire({"path": str(path)}, key=str(path))
                seen.add(path)
        await asyncio.sleep(config.every_s)


# --8<-- [end:type]


def files_in(folder: str) -> list[Path]:
    """What is in a folder, by name."""
    return sorted(path for path in Path(folder).iterdir() if path.is_file())


# --8<-- [start:workflow]
wf = Workflow("ingest").on_external("inbox", {"folder": "/var/spool/inbox"}, id="spool")


@wf.step
async def size(fired: dict[str, Any]) -> int:
    return Path(fired["data"]["path"]).stat().st_size


# --8<-- [end:workflow]
