"""What `init` writes: Python that builds, runs and passes its own test as it is."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING

import dagnats

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODULE = '''\
"""{name}: greets somebody, then says it loudly."""

from dagnats import Exponential, Workflow

wf = Workflow("{name}", timeout="10m")


@wf.step(timeout="30s", retry=Exponential(max_attempts=3))
async def greet(name: str) -> str:
    return f"Hello, {{name}}!"


@wf.step(after=greet, timeout="30s")
async def shout(greeting: str) -> str:
    return greeting.upper()
'''

_TEST = '''\
"""{name}: its graph is valid, and its handlers do what they say. No server is needed."""

import asyncio

from dagnats.testing import validate
from workflows.{module} import greet, shout, wf


def test_the_steps_are_in_line() -> None:
    steps = {{step.id: step.depends_on for step in validate(wf).steps}}
    assert steps == {{"greet": (), "shout": ("greet",)}}


def test_the_greeting_is_loud() -> None:
    greeting = asyncio.run(greet("Ada"))
    assert asyncio.run(shout(greeting)) == "HELLO, ADA!"
'''

_PROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["dagnats>={dagnats}"]

[dependency-groups]
dev = ["pytest"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
"""

_CHAIN = '''\
"""{name}: {steps}."""

from dagnats import Workflow

wf = Workflow("{name}")
'''

_HANDLER = """\
@handler("{task}")
async def {function}(input: Any) -> Any:
    return input  # TODO: implement {step}
"""


def module_name(name: str) -> str:
    """`name` as Python can import it: `my-pipeline` is `my_pipeline`."""
    module = name.replace("-", "_")
    return module if module.isidentifier() and not keyword.iskeyword(module) else f"workflow_{module}"


def project_files(name: str) -> dict[str, str]:
    """The files of a new project, by their paths in its folder."""
    module = module_name(name)
    return {
        "pyproject.toml": _PROJECT.format(name=name, dagnats=dagnats.__version__),
        f"workflows/{module}.py": _MODULE.format(name=name),
        f"tests/test_{module}.py": _TEST.format(name=name, module=module),
    }


def chain_module(name: str, steps: Sequence[str]) -> str:
    """A module with a workflow whose steps are in line; its task types are `<name>-<step>`."""
    lines = [_CHAIN.format(name=name, steps=", then ".join(steps))]
    for before, step in zip([None, *steps], steps, strict=False):
        after = f'.after("{before}")' if before is not None else ""
        lines.append(f'wf.task("{step}", "{task_type(name, step)}"){after}\n')
    return "".join(lines)


def handler_snippet(name: str, steps: Sequence[str]) -> str:
    """A module with a handler for every step."""
    handlers = [
        _HANDLER.format(task=task_type(name, step), function=function, step=step)
        for step, function in zip(steps, _functions(steps), strict=True)
    ]
    return "\n\n".join(["from typing import Any\n\nfrom dagnats import handler\n", *handlers])


def task_type(name: str, step: str) -> str:
    """What workers serve for a step."""
    return f"{name}-{step}"


def _functions(steps: Sequence[str]) -> list[str]:
    """A name for each handler; `a-b` and `a_b` have different ones."""
    names: list[str] = []
    for step in steps:
        name = f"handle_{step.replace('-', '_')}"
        while name in names:
            name += "_"
        names.append(name)
    return names
