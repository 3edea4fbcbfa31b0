"""`coordkit ring`: plans, what happens to a ring, documents, pictures, simulations."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from cli.program import Program
from coordkit import Node, Ring, Session
from support.servers import RedisServer

# -- plans ------------------------------------------------------------------------------


def test_a_plan_shows_and_changes_nothing(coordkit: Program, ring: Ring) -> None:
    change = ("--add", "cache-4=4", "--remove", "cache-1", "--reweight", "cache-3=2")
    ran = coordkit.run("ring", "plan", "shards", *change)
    assert (ran.code, ran.err) == (0, "")
    plan = ring.plan(
        add={"cache-4": 4.0}, remove=["cache-1"], reweight={"cache-3": 2.0}
    )
    assert ran.words[0] == ["for", "version", "2"]
    assert f"moved        {100 * plan.moved:.2f} %, at least" in ran.out
    assert "cache-1  ->  cache-4" in ran.out
    (record,) = coordkit.run("ring", "plan", "shards", *change, "--json").objects
    assert (record["version"], record["moved"]) == (2, plan.moved)
    assert record["moves"] == [list(move) for move in plan.moves]
    assert record["after"]["max_over_mean"] == plan.after.max_over_mean
    assert ring.info() is not None
    assert ring.version == 2


def test_few_of_many_flows_are_listed(coordkit: Program, session: Session) -> None:
    ring = session.ring("wide")
    ring.create(slots=1024)
    ring.add({f"n{n}": 1.0 for n in range(30)})
    rows = coordkit.run("ring", "plan", "wide", "--add", "new").words
    assert len([row for row in rows if "->" in row]) == 20
    assert rows[-1][:3] == ["and", "10", "more"]


def test_a_plan_is_applied_in_steps(coordkit: Program, ring: Ring) -> None:
    step = ("--max-move", "10%", "--every", "10ms")
    ran = coordkit.run("ring", "apply", "shards", "--add", "cache-4=4", *step)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "version 3: +cache-4, 102 slots (9.96 %) moved"
    assert len(lines) == 6
    assert all("moved on" in line for line in lines[1:])
    assert ring.plan().moves == []
    ran = coordkit.run("ring", "apply", "shards")
    assert (ran.code, ran.out) == (0, "nothing is left to be moved\n")
    ran = coordkit.run("ring", "apply", "shards", "--remove", "cache-4", "--json")
    assert [record["version"] for record in ran.objects] == [9]


def test_what_was_interrupted_is_finished(
    coordkit: Program, session: Session, ring: Ring
) -> None:
    args = ("ring", "apply", "shards", "--remove", "cache-1", "--max-move", "0.05")
    with coordkit.start(*args, "--every", "1h") as child:
        child.wait_for_output("version 3: -cache-1, 51 slots (4.98 %) moved\n")
        child.sigint()
        assert child.wait() == 130
    assert [node.state for node in session.ring("shards").nodes()].count("leaving") == 1
    assert coordkit.run("ring", "apply", "shards").code == 0
    assert {row[0] for row in coordkit.run("ring", "nodes", "shards").words} == {
        "cache-2",
        "cache-3",
    }


def test_a_plan_that_somebody_else_has_overtaken_stops(
    coordkit: Program, ring: Ring
) -> None:
    args = ("ring", "apply", "shards", "--add", "cache-4", "--max-move", "5%")
    with coordkit.start(*args, "--every", "500ms") as child:
        child.wait_for_output("moved\n")
        ring.reweight("cache-3", 2)
        assert child.wait() == 75
        assert "plan again" in child.output()


def test_a_difference(coordkit: Program, ring: Ring) -> None:
    ring.add("cache-4")
    ring.remove("cache-1")
    ran = coordkit.run("ring", "diff", "shards", "2")
    assert (ran.code, ran.err) == (0, "")
    diff = ring.diff(2)
    moved = diff.changes[1].moved
    share = f"{100 * moved / 1024:.2f} %"
    assert ran.out.splitlines()[:2] == [
        "version 3: +cache-4, 204 slots (19.92 %) moved",
        f"version 4: -cache-1, {moved} slots ({share}) moved",
    ]
    assert f"moved  {100 * diff.moved:.2f} %" in ran.out
    (record,) = coordkit.run("ring", "diff", "shards", "2", "3", "--json").objects
    assert (record["since"], record["until"], record["moved"]) == (2, 3, 204 / 1024)
    assert [change["added"] for change in record["changes"]] == [["cache-4"]]


# -- watching ---------------------------------------------------------------------------


def test_who_watches_sees_every_change(coordkit: Program, ring: Ring) -> None:
    with (
        coordkit.start("ring", "watch", "shards") as child,
        coordkit.start("ring", "watch", "shards", "--json") as program,
    ):
        child.wait_for_output("shards is at version 2: 3 nodes, 1024 slots, balanced\n")
        program.wait_for_output("\n")
        began = time.monotonic()
        ring.add("cache-4")
        said = child.wait_for_output("+cache-4, 204 slots moved, by ")
        assert time.monotonic() - began < 5
        program.wait_for_output(
            '"added":["cache-4"]'
        )  # a watcher may be behind the other
        ring.delete()
        child.wait_for_output("there is no ring shards\n")
        program.wait_for_output('"version":0')
        program.sigint()
        child.sigint()
        assert child.wait() == program.wait() == 130
        events = [json.loads(line) for line in program.output().splitlines()]
    assert said.splitlines()[1].startswith("2")
    assert [event["event"] for event in events] == ["ring", "change", "ring"]
    assert (events[1]["added"], events[1]["moved"]) == (["cache-4"], 204)


@pytest.mark.slow
def test_who_watches_is_told_of_silence(
    coordkit: Program, ring: Ring, server: RedisServer
) -> None:
    with coordkit.start("ring", "watch", "shards", "--json") as child:
        child.wait_for_output('"event":"ring"')
        server.pause()
        try:
            child.wait_for_output('"event":"suspended"')
        finally:
            server.resume()
        child.wait_for_output('"event":"resumed"')


# -- documents --------------------------------------------------------------------------


def test_a_ring_goes_out_and_comes_in(
    coordkit: Program, session: Session, ring: Ring
) -> None:
    document = coordkit.run("ring", "export", "shards").out
    assert json.loads(document) == ring.export()
    ran = coordkit.run("ring", "import", "copy", stdin=document)
    assert ran.out == "version 1: +cache-1 +cache-2 +cache-3, 0 slots (0.00 %) moved\n"
    path = coordkit.directory / "ring.json"
    path.write_text(document)
    said = coordkit.run("ring", "import", "copy", "ring.json").refused(78)
    assert "there is a ring 'copy' already" in said
    session.ring("copy").remove("cache-1")
    assert coordkit.run("ring", "import", "copy", "ring.json", "--over").code == 0
    keys = [str(n) for n in range(99)]
    assert session.ring("copy").owner_many(keys) == ring.owner_many(keys)


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        ("", "stdin holds no JSON"),
        ("[]", "stdin holds no ring"),
        ("{}", "this document holds no ring"),
        ('{"kind":"coordkit ring","format":9}', "a ring of format 9"),
    ],
)
def test_what_is_no_document(
    coordkit: Program, session: Session, stdin: str, says: str
) -> None:
    said = coordkit.run("ring", "import", "x", stdin=stdin).refused(64)
    assert says in said
    assert session.rings() == []


# -- pictures ---------------------------------------------------------------------------


def test_a_plot_draws_a_bar_for_each_node(coordkit: Program, ring: Ring) -> None:
    ran = coordkit.run("ring", "plot", "shards", env={"COLUMNS": "100"})
    assert (ran.code, ran.err) == (0, "")
    title, *rows, legend = ran.out.splitlines()
    assert title == "shards, version 2: max/mean 1.0000, cv 0.00 %"
    assert legend == "| what its weight asks for"
    bars = {row.split()[0]: row.count("█") for row in rows}
    assert abs(bars["cache-2"] - 2 * bars["cache-1"]) <= 1
    assert bars["cache-1"] == bars["cache-3"]
    assert all(len(row) <= 100 and row.endswith("|") for row in rows)


def test_a_plot_compares_before_and_after(coordkit: Program, ring: Ring) -> None:
    change = ("--add", "cache-4=4", "--remove", "cache-1")
    out = coordkit.run("ring", "plot", "shards", *change).out
    assert "░ before  █ after" in out
    rows = out.splitlines()
    assert sum("░" in row for row in rows) == 4  # three nodes, and the legend
    gone = next(row for row in rows if row.startswith("cache-1"))
    assert "leaves" in gone
    assert "█" not in gone
    assert ring.info() is not None
    assert ring.version == 2, "nothing was changed"


def test_a_plot_needs_no_unicode(coordkit: Program, ring: Ring) -> None:
    env = {"PYTHONIOENCODING": "ascii"}
    out = coordkit.run("ring", "plot", "shards", "--add", "x", env=env).out
    assert out.isascii()
    assert "- before  # after" in out


def test_of_many_nodes_the_ends_are_drawn(coordkit: Program, session: Session) -> None:
    session.ring("wide").add({f"n{n:03}": 1.0 for n in range(100)})
    rows = coordkit.run("ring", "plot", "wide").out.splitlines()
    assert len(rows) == 1 + 40 + 1 + 1
    assert rows[21] == "... 60 more between these"
    loads = [row.split()[3] for row in (*rows[1:21], *rows[22:-1])]
    assert loads == sorted(loads, reverse=True)


@pytest.mark.parametrize("nodes", [0, 3, 200])
@pytest.mark.parametrize("change", [[], ["--add", "new=2"]])
def test_a_picture(
    coordkit: Program, session: Session, nodes: int, change: list[str]
) -> None:
    ring = session.ring("drawn")
    ring.create()
    if nodes:
        ring.add({f"n{n}": 1.0 for n in range(nodes)})
    ran = coordkit.run("ring", "plot", "drawn", *change, "--svg", "ring.svg")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    svg = ET.parse(coordkit.directory / "ring.svg").getroot()  # noqa: S314  # our own
    texts = [element.text for element in svg.iter() if element.text]
    assert any("max/mean" in text for text in texts)
    assert ("share before" in texts) is bool(change)
    rects = [e for e in svg.iter() if e.tag.endswith("rect")]
    drawn = nodes + (1 if change else 0)
    assert len(rects) >= drawn
    if 0 < nodes < 60:
        assert {f"n{n}" for n in range(nodes)} <= set(texts)
    assert all(0 <= float(e.get("width", 0)) <= 900 for e in rects)


def test_the_picture_in_the_readme_is_what_is_drawn(
    coordkit: Program, session: Session
) -> None:
    ring = session.ring("shards")
    ring.create()
    ring.add({f"cache-{n}": 1.0 for n in range(1, 5)})
    coordkit.run("ring", "plot", "shards", "--add", "cache-5=2", "--svg", "ring.svg")
    told = (Path(__file__).parents[2] / "docs" / "ring.svg").read_text()
    assert (coordkit.directory / "ring.svg").read_text() == told


def test_a_picture_is_safe_to_open(coordkit: Program, session: Session) -> None:
    session.ring("evil").add([Node("<script>alert(1)</script>")])
    coordkit.run("ring", "plot", "evil", "--svg", "x.svg")
    assert "<script" not in Path(coordkit.directory / "x.svg").read_text()


# -- without Redis ----------------------------------------------------------------------


def test_a_simulation_needs_no_redis(program: Program) -> None:
    ran = program.run("ring", "simulate", "--nodes", "20", "--weights", "1,2")
    assert (ran.code, ran.err) == (0, "")
    balanced, *_, hashed = [line for line in ran.out.splitlines() if ": 20" in line]
    assert balanced.startswith("balanced: 20 nodes, 16384 slots, max/mean 1.00")
    assert hashed.startswith("hashed: 20 nodes")


def test_a_simulation_says_what_changes_would_move(program: Program) -> None:
    given: list[dict[str, Any]] = program.run(
        "ring", "simulate", "--nodes", "10", "--add", "2", "--remove", "3", "--json"
    ).objects
    balanced = {r["change"]: r for r in given if r["mode"] == "balanced"}
    assert list(balanced) == ["as it is", "+2", "node-00000 twice the weight", "-3"]
    assert balanced["+2"]["ideal"] == pytest.approx(2 / 12)
    for record in balanced.values():
        assert record["moved"] <= 1.01 * record["ideal"]
        assert record["max_over_mean"] <= 1 + 12 / 16_384
    assert {r["mode"] for r in given} == {"balanced", "hashed"}


def test_a_simulation_warns_of_zones(program: Program) -> None:
    out = program.run("ring", "simulate", "--zones", "2", "--replicas", "3").out
    assert out.count("warning: 3 replicas, but 2 zones") == 2
