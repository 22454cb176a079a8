"""`init` and `init workflow`: what they write works as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

_FILES = ["pyproject.toml", "workflows/my_pipeline.py", "tests/test_my_pipeline.py"]


@pytest.fixture
def empty(offline: CommandLine, tmp_path: Path) -> CommandLine:
    """An empty folder, and no server."""
    return type(offline)(tmp_path, tmp_path / "data")


@pytest.fixture
def begun(empty: CommandLine) -> CommandLine:
    """The folder of a project that `init` made."""
    assert empty("init", "my-pipeline").code == 0
    return type(empty)(empty.folder / "my-pipeline", empty.data)


def test_a_project_is_told_in_the_words_of_the_cli_reference(empty: CommandLine) -> None:
    begun = empty("init", "my-pipeline")

    assert begun.code == 0
    assert begun.lines == ["Created my-pipeline/", *(f"  my-pipeline/{file}" for file in _FILES)]
    assert all((empty.folder / "my-pipeline" / file).is_file() for file in _FILES)
    assert empty("init", "other", "--json").json() == {
        "name": "other",
        "directory": "other",
        "files": ["pyproject.toml", "workflows/other.py", "tests/test_other.py"],
    }


def test_a_new_project_builds_and_passes_its_own_tests(begun: CommandLine) -> None:
    assert begun.process("build").lines[0] == "created: workflows/build/my-pipeline.json"
    ran = begun.process("-q", "-p", "no:cacheprovider", module="pytest")
    assert ran.code == 0, ran.out
    assert "2 passed" in ran.out


def test_a_new_project_runs_on_a_server(begun: CommandLine) -> None:
    with begun.start("serve", "--port", "0") as server:
        server.reads("Ctrl-C stops")
        assert begun.process("register").out == "Workflow created: my-pipeline (2 steps)\n"
        with begun.start("worker") as worker:
            worker.reads("Ctrl-C stops")
            ran = begun.process("run", "start", "my-pipeline", '"Ada"', "--output")
            worker.stop()
        server.stop()
    assert ran.code == 0, ran.err
    assert "HELLO, ADA!" in ran.out


@pytest.mark.parametrize("name", ["2fast", "class", "workflow-", "project", "X"])
def test_whatever_a_project_is_called_python_can_import_it(name: str, empty: CommandLine) -> None:
    assert empty("init", name).code == 0
    folder = empty.folder / name

    built = type(empty)(folder, empty.data).process("build")

    assert built.code == 0, built.err
    assert (folder / "workflows" / "build" / f"{name}.json").is_file()
    (test,) = (folder / "tests").iterdir()
    compile(test.read_text(), str(test), "exec")


@pytest.mark.parametrize("name", ["my_pipeline", "a/b", "", "..", "a" * 129, "-", "ä"])
def test_a_project_has_a_name_of_letters_digits_and_hyphens(name: str, empty: CommandLine) -> None:
    refused = empty("init", "--", name) if name.startswith("-") else empty("init", name)

    assert refused.code == 2
    assert refused.err.startswith(f"error: {name!r} cannot be a name\nhint: ")
    assert not list(empty.folder.iterdir())


def test_nothing_that_is_there_is_overwritten(empty: CommandLine) -> None:
    (empty.folder / "mine").mkdir()
    (empty.folder / "workflows").mkdir()
    (empty.folder / "workflows" / "mine.py").write_text("mine")

    assert empty("init", "mine") == (2, "", "error: mine/ exists already\nhint: choose another name\n")
    assert empty("init", "workflow", "mine").err.startswith("error: workflows/mine.py exists already\n")
    assert (empty.folder / "workflows" / "mine.py").read_text() == "mine"


# -- workflow ----------------------------------------------------------------------------------------------


def test_a_workflow_has_its_steps_in_line_and_prints_their_handlers(empty: CommandLine) -> None:
    begun = empty("init", "workflow", "image-pipeline", "--steps=fetch,resize,upload")

    assert begun.code == 0
    assert begun.lines[:4] == ["Created workflows/image_pipeline.py", "", "Register handlers in your worker:", ""]
    handlers = [line for line in begun.lines if line.startswith("@handler(")]
    assert handlers == [f'@handler("image-pipeline-{step}")' for step in ("fetch", "resize", "upload")]
    empty.process("build")
    built = "workflows/build/image-pipeline.json"
    assert empty("workflow", "graph", built).lines[1:] == [
        '  s0["fetch<br/>image-pipeline-fetch"]',
        '  s1["resize<br/>image-pipeline-resize"]',
        '  s2["upload<br/>image-pipeline-upload"]',
        "  s0 --> s1",
        "  s1 --> s2",
    ]


def test_the_printed_handlers_serve_every_step(empty: CommandLine) -> None:
    begun = empty("init", "workflow", "odd", "--steps=a-b,a_b,class,2nd")
    (empty.folder / "workflows" / "handlers.py").write_text("\n".join(begun.lines[4:]) + "\n")

    with empty.start("serve", "--port", "0") as server:
        server.reads("Ctrl-C stops")
        assert empty.process("register").code == 0
        with empty.start("worker") as worker:
            worker.reads("Ctrl-C stops")
            ran = empty.process("run", "start", "odd", "7", "--output")
            worker.stop()
        server.stop()
    assert ran.code == 0, ran.err
    assert ran.lines[-1].endswith("7")


def test_without_steps_there_is_one_that_processes(empty: CommandLine) -> None:
    assert empty("init", "workflow", "simple-job", "--json").json() == {
        "name": "simple-job",
        "file": "workflows/simple_job.py",
        "steps": ["process"],
        "tasks": ["simple-job-process"],
    }


def test_a_workflow_of_one_letter_or_too_many_steps_is_refused(empty: CommandLine) -> None:
    many = ",".join(f"s{at}" for at in range(21))

    assert empty("init", "workflow", "x").err.startswith("error: 'x' cannot be a name\nhint: use 2 to 128 letters")
    assert empty("init", "workflow", "many", "--steps", many).err.startswith("error: these are 21 steps; the limit is")
    assert not list(empty.folder.iterdir())


def test_steps_that_cannot_be_are_told_all_at_once(empty: CommandLine) -> None:
    refused = empty("init", "workflow", "bad", "--steps=a,a,b c,")

    assert refused.code == 2
    assert refused.err.startswith("error: workflow 'bad' has ")
    assert "; nothing was written\n" in refused.err
    assert refused.err.count("invalid: ") >= 3
    assert not list(empty.folder.iterdir())


def test_a_misspelt_word_is_a_project_with_one_word_too_many(empty: CommandLine) -> None:
    refused = empty("init", "worklow", "mine")

    assert refused.code == 2
    assert refused.err.startswith("error: got unexpected extra argument")
    assert not list(empty.folder.iterdir())
