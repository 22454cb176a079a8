"""Finding workflows and handlers in modules, files and folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagnats.dsl.discover import Found, TargetError, discover
from dagnats.errors import DefinitionError, NotFoundError

FLOW = """
from dagnats.dsl.workflow import Workflow
from dagnats.handling.handler import handler

@handler("{name}.work")
async def work() -> None: ...

wf = Workflow("{name}")
wf.task("work", work)

@wf.step
async def more() -> None: ...

other = 5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; imports made from it are forgotten afterwards."""
    known = set(sys.modules)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield here
    for name in set(sys.modules) - known:
        del sys.modules[name]


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def _flow(file: Path, name: str) -> Path:
    return _write(file, FLOW.format(name=name))


def _names(found: Found) -> tuple[list[str], list[str]]:
    return list(found.workflows), list(found.handlers)


def test_a_module_gives_its_workflows_and_handlers(here: Path) -> None:
    _flow(here / "shop.py", "order")
    assert _names(discover(["shop"])) == (["order"], ["order.work", "order.more"])


def test_an_attribute_gives_just_that(here: Path) -> None:
    _flow(here / "pkg" / "shop.py", "order")
    assert _names(discover(["pkg.shop:work"])) == ([], ["order.work"])
    assert _names(discover(["pkg.shop:wf"])) == (["order"], ["order.work", "order.more"])


def test_a_package_that_is_a_folder_here_has_attributes_too(here: Path) -> None:
    _flow(here / "shop" / "__init__.py", "order")
    _flow(here / "shop" / "other.py", "other")
    assert _names(discover(["shop:wf"]))[0] == ["order"]


def test_a_file_is_imported_by_its_dotted_name_below_the_current_folder(here: Path) -> None:
    _flow(here / "flows" / "shop.py", "order")
    assert _names(discover(["flows/shop.py"]))[0] == ["order"]
    assert "flows.shop" in sys.modules
    assert _names(discover(["flows/shop.py:work"])) == ([], ["order.work"])


def test_a_file_elsewhere_is_imported_once_under_its_stem(here: Path) -> None:
    file = _flow(here.parent / "elsewhere" / "stray_flow.py", "stray")
    first, second = discover([str(file)]), discover([str(file)])
    assert _names(first)[0] == ["stray"]
    assert first.workflows["stray"] is second.workflows["stray"]
    assert sys.modules["stray_flow"].__file__ == str(file)


def test_a_file_whose_name_is_no_identifier_can_be_used(here: Path) -> None:
    _flow(here / "my-flow.py", "dashed")
    assert _names(discover(["my-flow.py"]))[0] == ["dashed"]


def test_a_folder_gives_all_its_files_but_hidden_and_built_ones(here: Path) -> None:
    _flow(here / "flows" / "b.py", "b")
    _flow(here / "flows" / "deep" / "a.py", "a")
    for skipped in ("build", "__pycache__", ".venv"):
        _write(here / "flows" / skipped / "x.py", "raise RuntimeError")
    _write(here / "flows" / "notes.txt", "not Python")
    assert _names(discover(["flows"]))[0] == ["b", "a"]


def test_without_a_target_the_workflows_folder_is_used(here: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder 'workflows/'"):
        discover()
    _flow(here / "workflows" / "order.py", "order")
    assert _names(discover())[0] == ["order"]


def test_several_targets_add_up(here: Path) -> None:
    _flow(here / "one.py", "one")
    _flow(here / "two.py", "two")
    assert _names(discover(["one", "two.py", "one:wf"]))[0] == ["one", "two"]


def test_a_workflow_seen_through_two_modules_counts_once(here: Path) -> None:
    _flow(here / "flows" / "order.py", "order")
    _write(here / "flows" / "__init__.py", "from flows.order import wf")
    assert _names(discover(["flows"]))[0] == ["order"]


def test_a_folders_own_module_is_not_run_twice(here: Path) -> None:
    _flow(here / "flows" / "__init__.py", "order")
    _write(here / "flows" / "uses.py", "from flows import wf")
    assert _names(discover(["flows"]))[0] == ["order"]
    assert "flows.__init__" not in sys.modules


def test_the_current_folders_own_init_file_can_be_used(here: Path) -> None:
    _flow(here / "__init__.py", "order")
    assert _names(discover(["__init__.py"]))[0] == ["order"]


def test_the_current_folder_comes_first_on_the_path_once(here: Path) -> None:
    _flow(here / "shop.py", "order")
    discover(["shop"])
    discover(["shop"])
    assert sys.path[0] == str(here)
    assert sys.path.count(str(here)) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("nowhere", "no module or file 'nowhere'"),
        ("nowhere.deep", "no module or file 'nowhere.deep'"),
        ("shop.deep", "no module or file 'shop.deep'"),
        ("missing.py", "no file 'missing.py'"),
        ("shop:nobody", "no name in module 'shop' 'nobody'"),
        ("absent:wf", "no module or file 'absent'"),
    ],
)
def test_a_target_that_does_not_exist_is_not_found(here: Path, target: str, complaint: str) -> None:
    _flow(here / "shop.py", "order")
    with pytest.raises(NotFoundError) as caught:
        discover([target])
    assert complaint in str(caught.value)


def test_a_missing_attribute_comes_with_the_one_that_was_probably_meant(here: Path) -> None:
    _flow(here / "shop.py", "order")
    with pytest.raises(NotFoundError) as caught:
        discover(["shop:works"])
    assert caught.value.hint == "did you mean 'work'?"


def test_an_attribute_that_is_nothing_of_ours_is_refused(here: Path) -> None:
    _flow(here / "shop.py", "order")
    with pytest.raises(TargetError, match="shop:other is int, not a Workflow, a handler or a trigger type"):
        discover(["shop:other"])


@pytest.mark.parametrize("text", ["\n1 / 0", "import nowhere_at_all", "\n\nbroken = ("])
def test_code_that_fails_to_import_is_named_with_its_reason(here: Path, text: str) -> None:
    _write(here / "shop.py", text)
    _write(here.parent / "stray_shop.py", text)
    for target in ("shop", "shop.py", "../stray_shop.py"):
        with pytest.raises(TargetError, match=r"importing .*shop(\.py)? failed: (Zero|Module|Syntax)") as caught:
            discover([target])
        assert caught.value.__cause__ is not None
    assert "stray_shop" not in sys.modules


def test_the_failing_line_is_named(here: Path) -> None:
    file = _write(here / "shop.py", "\n\n1 / 0")
    with pytest.raises(TargetError) as caught:
        discover(["shop"])
    assert str(caught.value) == f"importing shop failed: ZeroDivisionError: division by zero ({file}:3)"


@pytest.mark.parametrize(
    "text",
    ["import os\nos.environ['NO_SUCH_VARIABLE']", "import pydantic\npydantic.TypeAdapter(int).validate_python('x')"],
)
def test_the_users_line_is_named_where_a_library_raises(here: Path, text: str) -> None:
    file = _write(here / "shop.py", text)
    with pytest.raises(TargetError) as caught:
        discover(["shop"])
    assert str(caught.value).endswith(f"({file}:2)")


@pytest.mark.parametrize(
    "text",
    [
        "@wf.step(timeout=5)\nasync def work(): ...",
        "wf.task('work', print)",
        "Workflow('w', default_retry=3)",
        "@handler\nasync def work(): ...",
    ],
)
def test_a_builders_complaint_names_the_users_line_and_not_ours(here: Path, text: str) -> None:
    begin = "from dagnats import Workflow, handler\n\nwf = Workflow('order')\n"
    file = _write(here / "shop.py", begin + text)
    stray = _write(here.parent / "stray_shop.py", begin + text)
    for target, place in (("shop", file), (str(stray), stray)):
        with pytest.raises(TargetError, match="failed: TypeError: ") as caught:
            discover([target])
        assert str(caught.value).endswith(f" ({place}:4)")


def test_a_line_that_fails_in_a_helper_of_the_users_own_is_named(here: Path) -> None:
    file = _write(here / "parts.py", "def half(n):\n    return n / 0\n")
    _write(here / "shop.py", "from parts import half\nhalf(1)\n")
    with pytest.raises(TargetError) as caught:
        discover(["shop"])
    assert str(caught.value).endswith(f"division by zero ({file}:2)")


@pytest.mark.parametrize("target", ["shop", "../elsewhere/stray_shop.py"])
def test_a_syntax_error_names_its_own_file_and_line_once(here: Path, target: str) -> None:
    text = "fine = 1\n\nbroken = (\n"
    files = {
        "shop": _write(here / "shop.py", text),
        "../elsewhere/stray_shop.py": _write(here.parent / "elsewhere" / "stray_shop.py", text),
    }
    with pytest.raises(TargetError) as caught:
        discover([target])
    assert str(caught.value).endswith(f" failed: SyntaxError: '(' was never closed ({files[target]}:3)")


def test_a_syntax_error_of_code_without_a_file_names_the_line_that_ran_it(here: Path) -> None:
    file = _write(here / "shop.py", "\neval('1 +')\n")
    with pytest.raises(TargetError, match="SyntaxError: invalid syntax") as caught:
        discover(["shop"])
    assert str(caught.value).endswith(f" ({file}:2)")


@pytest.mark.parametrize("call", ["sys.exit(0)", "sys.exit()", "raise SystemExit('over')"])
def test_code_that_ends_the_program_is_refused_and_says_so(here: Path, call: str) -> None:
    file = _write(here / "shop.py", f"import sys\n\n{call}\n")
    stray = _write(here.parent / "stray_shop.py", f"import sys\n\n{call}\n")
    for target, place in (("shop", file), (str(stray), stray)):
        with pytest.raises(TargetError) as caught:
            discover([target])
        assert str(caught.value).startswith(f"importing {target} failed: it ends the program with SystemExit")
        assert str(caught.value).endswith(f" ({place}:3)")
        assert caught.value.hint == "put what only a script does under `if __name__ == '__main__':`"
    assert "stray_shop" not in sys.modules


def test_problems_of_a_definition_come_as_they_are(here: Path) -> None:
    text = "from dagnats.handling.handler import handler\nhandler('t')(lambda: None)"
    _write(here / "shop.py", text)
    _write(here.parent / "stray_shop.py", text)
    for target in ("shop", "../stray_shop.py"):
        with pytest.raises(DefinitionError):
            discover([target])
    assert "stray_shop" not in sys.modules


def test_a_file_that_is_not_python_is_refused(here: Path) -> None:
    _write(here / "flow-notes.txt", "hello")
    with pytest.raises(TargetError, match=r"flow-notes\.txt is not a Python file"):
        discover(["flow-notes.txt"])


def test_two_workflows_of_one_name_are_refused_with_both_places(here: Path) -> None:
    _flow(here / "one.py", "order")
    _write(here / "two.py", FLOW.format(name="two").replace('Workflow("two")', 'Workflow("order")'))
    with pytest.raises(TargetError) as caught:
        discover(["one", "two"])
    assert str(caught.value) == "two different objects claim workflow 'order': one.py:8 and two.py:8"
    assert caught.value.hint == "rename one of them, or name the module you mean"


def test_two_handlers_of_one_task_type_are_refused_with_both_places(here: Path) -> None:
    _flow(here / "one.py", "one")
    _write(here / "two.py", FLOW.format(name="one").replace('Workflow("one")', 'Workflow("two")'))
    with pytest.raises(TargetError, match=r"claim task type 'one.work': one\.py:5 and two\.py:5"):
        discover(["one", "two"])


WATCH = """
from dagnats import trigger_type

@trigger_type("files", version="1", config=dict)
async def files(config, fire):
    pass
"""


def test_trigger_types_are_found_and_two_of_one_name_are_refused(here: Path) -> None:
    _write(here / "one.py", WATCH)
    _write(here / "two.py", WATCH)
    assert list(discover(["one"]).trigger_types) == ["files"]
    with pytest.raises(TargetError, match=r"claim trigger type 'files': one\.py:4 and two\.py:4"):
        discover(["one", "two"])


def test_a_found_thing_is_taken_when_it_is_ours() -> None:
    found = Found()
    assert not found.add(5)
    assert _names(found) == ([], [])


@pytest.mark.parametrize("where", ["json.py", "../elsewhere/json.py"])
def test_a_file_named_like_a_module_of_pythons_is_read_and_takes_nothings_place(here: Path, where: str) -> None:
    pythons = sys.modules["json"]
    _flow(here / where, "shadow")
    assert _names(discover([where])) == (["shadow"], ["shadow.work", "shadow.more"])
    assert sys.modules["json"] is pythons


@pytest.mark.parametrize("target", ["./missing", "no-such-thing", "a..b"])
def test_a_target_that_can_be_nothing_is_not_found(here: Path, target: str) -> None:
    with pytest.raises(NotFoundError, match="no file, folder or module"):
        discover([target])


# -- what a worker opens -------------------------------------------------------------------------------------

LIFESPAN = """
from contextlib import contextmanager

@contextmanager
def lifespan():
    yield "pool"
"""


def test_what_a_module_calls_lifespan_is_found_once_through_whatever_target(here: Path) -> None:
    _write(here / "pool.py", LIFESPAN)
    _write(here / "shop.py", "from pool import lifespan\n" + FLOW.format(name="order"))
    _write(here / "till.py", "from pool import lifespan\n" + FLOW.format(name="till"))
    assert discover(["shop", "till:wf"]).lifespan is sys.modules["pool"].lifespan
    assert discover(["pool"]).lifespan is not None
    _flow(here / "bare.py", "bare")
    assert discover(["bare"]).lifespan is None


def test_two_different_lifespans_are_an_error_for_whoever_asks(here: Path) -> None:
    _write(here / "a.py", LIFESPAN)
    _write(here / "b.py", LIFESPAN)
    found = discover(["a", "b"])
    with pytest.raises(TargetError, match="two different objects are called lifespan, in a and in b"):
        _ = found.lifespan


@pytest.mark.parametrize("line", ["def lifespan(app): ...", "lifespan = 5"])
def test_a_lifespan_that_takes_something_is_an_error_for_whoever_asks(here: Path, line: str) -> None:
    _write(here / "web.py", line)
    found = discover(["web"])
    with pytest.raises(TargetError, match=r"lifespan in web is .*; a worker calls it with nothing"):
        _ = found.lifespan
