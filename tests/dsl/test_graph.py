"""A workflow as a picture: Mermaid text, and SVG laid out by a library."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from syrupy.assertion import SnapshotAssertion

from dagnats.dsl.graph import Graph, Node, graph_of
from dagnats.dsl.layout import MOST, layout
from dagnats.dsl.mermaid import mermaid
from dagnats.dsl.picture import svg
from dagnats.dsl.workflow import Workflow
from dagnats.errors import DagnatsError

SVG = "{http://www.w3.org/2000/svg}"


def _order() -> Workflow[Any, Any]:
    wf = Workflow("order")
    reserve = wf.task("reserve", "inventory.reserve").with_compensation("release")
    charge = wf.task("charge", "payment.charge").after(reserve)
    ship = wf.task("ship", "shipping.ship").after(reserve, charge)
    record = wf.task("record", "billing.record").after(charge).with_on_failure("sorry")
    record.skip_if((charge.output["free"] == True) | ~(charge.output["cents"] > 0))  # noqa: E712  # an expression
    wf.approval("end", subject="asked", timeout="1h", description='Fine & "good" <now>? #1').after(ship, record)
    wf.task("release", "inventory.release")
    wf.task("sorry", "mail.sorry")
    wf.task("alone", "alone")
    return wf


def _every_kind() -> Workflow[Any, Any]:
    wf = Workflow("kinds")
    wf.task("list", "t")
    wf.agent("agent", "t")
    wf.agent_loop("loop", "t").with_max_iterations(3)
    wf.map("map", "t", over="list")
    wf.planner("plan", "t").with_max_steps(3)
    wf.sub_workflow("child", "another")
    wf.sleep("sleep", "7d")
    wf.sleep("cron", cron="0 9 * * *")
    wf.wait_for_event("wait", "paid", match=wf.event["id"] == 1, timeout="1h")
    wf.approval("ask", subject="asked", timeout="1h")
    wf.respond("answer", status=201)
    wf.respond("plain")
    return wf


def _drawn(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def test_a_workflow_is_mermaid_text(snapshot: SnapshotAssertion) -> None:
    text = _order().graph()
    assert text == snapshot
    assert "  s0 -. compensate .-> s5" in text.splitlines()


def test_every_kind_of_step_has_its_shape_and_says_what_it_does(snapshot: SnapshotAssertion) -> None:
    text = _every_kind().graph()
    assert text == snapshot
    assert len({re.sub(r'".*"', "", line)[3:] for line in text.splitlines()[1:]}) > 7


def test_the_text_holds_nothing_that_mermaid_would_read(snapshot: SnapshotAssertion) -> None:
    (line,) = [line for line in _order().graph().splitlines() if "Fine" in line]
    assert line == '  s4{{"end<br/>Fine #amp; #quot;good#quot; #lt;now#gt;? #35;1"}}'


def test_a_picture_is_the_same_each_time(snapshot: SnapshotAssertion) -> None:
    pictures = {_order().graph("svg") for _ in range(5)}
    assert len(pictures) == 1
    assert pictures.pop() == snapshot


def test_a_picture_has_a_box_for_each_step_and_an_arrow_for_each_edge() -> None:
    root = _drawn(_order().graph("svg"))
    titles = [title.text for title in root.findall(f"{SVG}g/{SVG}title")]
    assert titles[0] == "reserve: inventory.reserve (normal)"
    assert titles[3] == ("record: billing.record (normal), skipped if (charge.free == True or charge.cents <= 0)")
    assert len(titles) == 8
    assert len(root.findall(f"{SVG}path")) == 8
    assert {path.get("class") for path in root.findall(f"{SVG}path")} == {
        "arrow",
        "arrow aside compensate",
        "arrow aside on_failure",
    }


def _boxes(root: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    boxes = [rect.attrib for group in root.findall(f"{SVG}g") for rect in group.findall(f"{SVG}rect")]
    return [(float(box["x"]), float(box["y"]), float(box["width"]), float(box["height"])) for box in boxes]


@pytest.mark.parametrize("build", [_order, _every_kind])
def test_boxes_lie_inside_the_picture_and_never_on_each_other(build: Callable[[], Workflow[Any, Any]]) -> None:
    root = _drawn(build().graph("svg"))
    boxes = _boxes(root)
    for at, (x, y, width, height) in enumerate(boxes):
        assert 0 <= x <= x + width <= float(root.attrib["width"])
        assert 0 <= y <= y + height <= float(root.attrib["height"])
        for other_x, other_y, _, _ in boxes[at + 1 :]:
            assert abs(x - other_x) >= width or abs(y - other_y) >= height


def _numbers(path: ElementTree.Element) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", path.attrib["d"])]


def test_arrows_point_downwards_from_the_edge_of_one_box_to_the_edge_of_another() -> None:
    wf = Workflow("w")
    wf.task("a", "t")
    wf.task("b", "t").after("a")
    root = _drawn(wf.graph("svg"))
    (_, top, _, height), (_, below, _, _) = _boxes(root)
    (path,) = root.findall(f"{SVG}path")
    assert (_numbers(path)[1], _numbers(path)[-1]) == (top + height, below)


def test_an_arrow_that_closes_a_cycle_goes_up_from_the_top_of_a_box() -> None:
    wf = Workflow("w")
    wf.task("a", "t").after("b")
    wf.task("b", "t").after("a")
    root = _drawn(wf.graph("svg"))
    tops = sorted(y for _, y, _, _ in _boxes(root))
    height = _boxes(root)[0][3]
    arrows = sorted((_numbers(path)[1], _numbers(path)[-1]) for path in root.findall(f"{SVG}path"))
    assert arrows == [(tops[0] + height, tops[1]), (tops[1], tops[0] + height)]


def test_one_line_stands_in_the_middle_of_its_box_and_two_around_it() -> None:
    wf = Workflow("w")
    wf.respond("plain")
    wf.task("full", "t")
    root = _drawn(wf.graph("svg"))
    lines = [
        [float(text.attrib["y"]) - float(group.find(f"{SVG}rect").attrib["y"]) for text in group.findall(f"{SVG}text")]  # pyright: ignore[reportOptionalMemberAccess]  # each has one
        for group in root.findall(f"{SVG}g")
    ]
    assert lines == [[26.0], [18.0, 34.0]]


def test_long_names_are_cut_in_a_picture_and_whole_in_its_tooltips() -> None:
    wf = Workflow("w")
    wf.task("a" * 100, "t")
    root = _drawn(wf.graph("svg"))
    assert root.findtext(f"{SVG}g/{SVG}text") == "a" * 33 + "…"
    assert root.findtext(f"{SVG}g/{SVG}title") == "a" * 100 + ": t (normal)"
    wf = Workflow("w")
    wf.task("a" * 34, "t")
    assert _drawn(wf.graph("svg")).findtext(f"{SVG}g/{SVG}text") == "a" * 34


def test_a_run_colours_its_steps() -> None:
    graph = graph_of(_order().build().content(), {"reserve": "completed", "charge": "running", "nobody": "failed"})
    assert [node.status for node in graph.nodes[:3]] == ["completed", "running", ""]
    text = mermaid(graph)
    assert '  s0["reserve<br/>inventory.reserve"]:::completed' in text
    assert "  classDef completed fill:#c8e6c9" in text
    assert "classDef failed" not in text
    assert '<g class="step normal completed"><title>reserve: inventory.reserve (normal, completed)</title>' in svg(
        graph
    )


def test_a_workflow_that_does_not_build_is_drawn_as_far_as_it_goes() -> None:
    wf = Workflow("w")
    wf.task("a", "t").after("c").with_on_failure("nobody")
    wf.task("b", "t").after("a", "nowhere", "a")
    wf.task("c", "t").after("b")
    wf.task("a", "t").after("a")
    wf.task("d", "t").after("d")
    assert wf.graph().splitlines()[6:] == ["  s2 --> s0", "  s0 --> s1", "  s1 --> s2", "  s0 --> s3", "  s4 --> s4"]
    root = _drawn(wf.graph("svg"))
    assert (len(_boxes(root)), len(root.findall(f"{SVG}path"))) == (5, 4)


def test_an_empty_workflow_is_an_empty_picture() -> None:
    assert Workflow("w").graph() == "flowchart TD\n"
    assert _boxes(_drawn(Workflow("w").graph("svg"))) == []


def test_notebooks_show_a_picture_and_those_that_cannot_show_text() -> None:
    wf = _order()
    bundle: dict[str, str] = vars(Workflow)["_repr_mimebundle_"](wf, include=None, exclude=None)
    assert bundle["text/plain"] == "<workflow 'order', 8 steps>"
    assert bundle["text/vnd.mermaid"] == wf.graph()
    assert bundle["image/svg+xml"] == wf.graph("svg")


def test_too_many_steps_are_no_picture_but_still_text() -> None:
    wf = Workflow("w")
    for number in range(MOST):
        wf.task(f"s{number}", "t")
    assert wf.graph("svg").startswith("<svg")
    wf.task("one-more", "t")
    with pytest.raises(DagnatsError, match="the graph has 2001 steps; a picture is drawn of up to 2000") as caught:
        wf.graph("svg")
    assert caught.value.hint == "use the Mermaid text"
    assert set(vars(Workflow)["_repr_mimebundle_"](wf)) == {"text/plain", "text/vnd.mermaid"}


def test_without_the_library_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_sugiyama", None)
    with pytest.raises(DagnatsError, match="pictures need the package fast-sugiyama"):
        _order().graph("svg")


def test_steps_without_arrows_stand_side_by_side() -> None:
    places = layout(Graph((Node("a", "normal"), Node("b", "normal")), ()))
    assert places.nodes == {0: (0.0, 0.0), 1: (1.0, 0.0)}
    assert places.size == (2.0, 1)
