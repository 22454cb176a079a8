"""The demo's stage: a server, an engine and a client in one process, and the example workflows."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagnats.client import connect
from dagnats.dsl.discover import Found
from dagnats.errors import DagnatsError
from dagnats.runtime.serve import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import ModuleType

    from dagnats.client import AsyncClient
    from dagnats.dsl.workflow import Workflow
    from dagnats.runtime.serve import Serving


@asynccontextmanager
async def everything() -> AsyncGenerator[AsyncClient, None]:
    """A server and an engine on a temporary folder, and a client on them."""
    stop = asyncio.Event()
    ready: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()

    async def announce(serving: Serving) -> None:
        ready.set_result(serving)

    with tempfile.TemporaryDirectory(prefix="dagnats-demo-") as folder:
        serving = asyncio.create_task(serve(folder=Path(folder), port=0, ready=announce, stop=stop), name="demo server")
        try:
            await asyncio.wait([serving, ready], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            up = ready.result()
            async with connect(up.url, token=up.token, namespace=up.namespace) as client:
                yield client
        finally:
            stop.set()
            await serving


def load_workflow(name: str) -> Workflow:
    """The example workflow in `<name>.py`, from the package or from the checkout that it lies in."""
    file = _workflow_file(name)
    found = Found()
    for value in vars(_module(name, file)).values():
        found.add(value)
    (workflow,) = found.workflows.values()
    return workflow


def _workflow_file(name: str) -> Path:
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_workflows", package.parent / "workflows"):
        file = folder / f"{name}.py"
        if file.is_file():
            return file
    raise DagnatsError(f"the example workflow {name}.py is not installed", hint="install dagnats again")


def _module(name: str, file: Path) -> ModuleType:
    """The module in `file`, under a name that no module of the user's can have."""
    full_name = f"dagnats._workflows.{name}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    spec = importlib.util.spec_from_file_location(full_name, file)
    assert spec is not None, f"{file} is a Python file"
    assert spec.loader is not None, f"{file} is a Python file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    return module
