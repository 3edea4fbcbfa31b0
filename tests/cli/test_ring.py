"""`coordkit ring`: making and changing rings, looking at them, owners of keys."""

from __future__ import annotations

import pytest

from cli.program import Program
from coordkit import Node, Ring, Session
from coordkit._core.keys import ring_keys
from support.processes import Child
from support.servers import RedisServer

HOSTILE = "\u202eevil"
# -- changes ----------------------------------------------------------------------------


def test_a_ring_is_made_and_changed(coordkit: Program, session: Session) -> None:
    ran = coordkit.run("ring", "create", "shards", "--slots", "1024", "--replicas", "2")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "version 1: created, 0 slots (0.00 %) moved\n"
    add = ("ring", "add", "shards", "--weight", "2", "--zone", "z", "--capacity", "9")
    ran = coordkit.run(*add, "--meta", "addr=10.0.0.1:80", "a", "b:1")
    assert ran.out == "version 2: +a +b:1, 0 slots (0.00 %) moved\n"
    ring = session.ring("shards")
    meta = {"addr": "10.0.0.1:80"}
    assert ring.nodes() == (Node("a", 2, "z", 9, meta), Node("b:1", 2, "z", 9, meta))
    assert ring.stats().replicas == 2
    ran = coordkit.run("ring", "reweight", "shards", "a", "6")
    assert ran.out == "version 3: ~a, 256 slots (25.00 %) moved\n"
    ran = coordkit.run("ring", "remove", "shards", "a", "--json")
    (made,) = ran.objects
    assert made | {"at": 0, "by": ""} == {
        "v": 1,
        "version": 4,
        "at": 0,
        "by": "",
        "added": [],
        "removed": ["a"],
        "reweighted": [],
        "moved": 768,
    }
    assert coordkit.run("ring", "add", "shards", "c", "-q").out == ""


def test_the_first_add_makes_the_ring(coordkit: Program, session: Session) -> None:
    assert coordkit.run("ring", "add", "shards", "a").code == 0
    assert session.ring("shards").stats().slots == 16_384


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["create", "shards"], 78, "there is a ring 'shards' already"),
        (["create", "x", "--slots", "1000"], 64, "slots=1000 is not a power of two"),
        (["create", "x", "--mode", "y"], 64, "'balanced', 'hashed'"),
        (["create", "x", "--replicas", "0"], 64, "replicas=0 is not between 1 and 64"),
        (["add", "shards", "cache-1"], 78, "has a node 'cache-1' already"),
        (["add", "shards", "a", "a"], 64, "'a' is named twice"),
        (["add", "shards", "a", "--weight", "0"], 64, "weight=0.0 of 'a'"),
        (["add", "shards", "a", "--weight", "nan"], 64, "weight=nan of 'a'"),
        (["add", "shards", "a", "--weight", "inf"], 64, "weight=inf of 'a'"),
        (["add", "shards", "a", "--weight", "x"], 64, "not a valid float"),
        (["add", "shards", "a", "--capacity", "0"], 64, "capacity=0 of 'a'"),
        (["add", "shards", "a", "--meta", "x"], 64, "write KEY=VALUE"),
        (["add", "shards", "a\x1b"], 64, "control character"),
        (["add", "shards"], 64, "Missing argument 'NODE...'"),
        (["remove", "shards", "nobody"], 1, "has no node 'nobody'"),
        (["remove", "nowhere", "a"], 1, "there is no ring 'nowhere'"),
        (["reweight", "shards", "cache-1", "-1"], 64, "No such option"),
        (["reweight", "shards", "cache-1", "0"], 64, "weight=0.0"),
        (["nodes", "nowhere"], 1, "there is no ring 'nowhere'"),
        (["owner", "nowhere", "a"], 1, "there is no ring 'nowhere'"),
        (["owner", "shards", "a", "-n", "0"], 64, "n=0 is not between 1 and 64"),
        (["plan", "shards", "--remove", "nobody"], 1, "has no node 'nobody'"),
        (["plan", "shards", "--add", "a=x"], 64, "'x' is no weight"),
        (["plan", "shards", "--reweight", "cache-1=0"], 64, "weight=0.0"),
        (["apply", "shards", "--max-move", "0"], 64, "'0' is no share; write 5%"),
        (["apply", "shards", "--max-move", "101%"], 64, "is no share"),
        (["apply", "shards", "--every", "soon"], 64, "is no duration"),
        (["diff", "shards", "7"], 64, "it is at 2, and time runs forward"),
        (["diff", "shards", "x"], 64, "not a valid integer"),
        (["import", "x", "no such file"], 64, "cannot read no such file"),
        (["simulate", "--nodes", "0"], 64, "0 is not in the range"),
        (["simulate", "--weights", "1,x"], 64, "write numbers with commas"),
        (["simulate", "--weights", "0"], 64, "weight=0.0"),
        (["simulate", "--slots", "9"], 64, "power of two"),
        (["delete", "shards"], 64, "nobody is here to be asked"),
        (["plot", "shards", "--svg", "/nowhere/x.svg"], 64, "cannot write /nowhere"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_changed(
    coordkit: Program, ring: Ring, args: list[str], code: int, says: str
) -> None:
    before = ring.export()
    assert says in coordkit.run("ring", *args).refused(code)
    assert ring.export() == before


def test_a_ring_is_deleted_when_that_is_meant(
    coordkit: Program, session: Session, ring: Ring
) -> None:
    with coordkit.terminal("ring", "delete", "shards") as terminal:
        terminal.see("shards has 3 nodes; delete it? [y/N]: ")
        terminal.type("n\n")
        assert "nothing was done" in terminal.see("nothing")
        assert terminal.end() == 1
    assert session.rings() != []
    ran = coordkit.run("ring", "delete", "shards", "--yes")
    assert (ran.code, ran.out) == (0, "shards is deleted\n")
    assert session.rings() == []
    ran = coordkit.run("ring", "delete", "shards", "--yes", "--json")
    assert ran.code == 1
    assert ran.objects == [{"v": 1, "name": "shards", "deleted": False}]


# -- looking ----------------------------------------------------------------------------


def test_rings_are_listed(coordkit: Program, session: Session, ring: Ring) -> None:
    session.ring("a b").create(mode="hashed", slots=2048)
    ran = coordkit.run("ring", "list")
    assert ran.words == [
        ["a", "b", "1", "0", "2048", "hashed"],
        ["shards", "2", "3", "1024", "balanced"],
    ]
    assert coordkit.run("ring", "list", "--json").objects[1] == {
        "v": 1,
        "name": "shards",
        "version": 2,
        "slots": 1024,
        "mode": "balanced",
        "replicas": 1,
        "nodes": 3,
    }
    with coordkit.terminal("ring", "list") as terminal:
        assert terminal.end() == 0
        heading, *lines = terminal.seen.splitlines()
        assert heading.split() == ["NAME", "VERSION", "NODES", "SLOTS", "MODE"]
        assert len(lines) == 2


def test_no_ring_is_no_output(coordkit: Program, session: Session) -> None:
    assert coordkit.run("ring", "list") == (0, "", "")
    with coordkit.terminal("ring", "list") as terminal:
        terminal.see("there is no ring in the namespace default")
        assert terminal.end() == 0


def test_nodes_are_listed_with_what_they_have(coordkit: Program, ring: Ring) -> None:
    ring.assign("job", c=1.0)
    ran = coordkit.run("ring", "nodes", "shards")
    rows = ran.words
    assert [row[:7] for row in rows] == [
        ["cache-1", "1", "-", "active", "256", "25.00", "%"],
        ["cache-2", "2", "-", "active", "512", "50.00", "%"],
        ["cache-3", "1", "-", "active", "256", "25.00", "%"],
    ]
    assert sum(int(row[-1]) for row in rows) == 1
    records = coordkit.run("ring", "nodes", "shards", "--json").objects
    assert [(r["name"], r["slots"], r["load"]) for r in records] == [
        ("cache-1", 256, 1.0),
        ("cache-2", 512, 1.0),
        ("cache-3", 256, 1.0),
    ]
    assert sum(r["assigned"] for r in records) == 1
    assert all(r["capacity"] is None and r["meta"] == {} for r in records)


def test_statistics(coordkit: Program, session: Session, ring: Ring) -> None:
    out = coordkit.run("ring", "stats", "shards").out
    told = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert told["version"] == ["2"]
    assert told["max/mean"] == ["1.0000"]
    assert told["zones"] == ["(none)", "3"]
    (record,) = coordkit.run("ring", "stats", "shards", "--json").objects
    assert (record["name"], record["mode"]) == ("shards", "balanced")
    assert (record["max_over_mean"], record["cv"]) == (1.0, 0.0)
    assert len(record["nodes"]) == 3
    zoned = session.ring("zoned")
    zoned.create(replicas=3)
    zoned.add([Node("a", zone="x"), Node("b", zone="y")])
    out = coordkit.run("ring", "stats", "zoned").out
    assert "warning   3 replicas, but 2 zones: lists repeat a zone" in out


def test_a_damaged_ring_is_told(
    coordkit: Program, server: RedisServer, session: Session, ring: Ring
) -> None:
    ran = coordkit.run("ring", "verify", "shards")
    assert (ran.code, ran.out) == (0, "shards is sound\n")
    with server.client() as client:
        client.delete(ring_keys(session.namespace, "shards").log)
        ran = coordkit.run("ring", "verify", "shards")
        assert ran.code == 1
        assert ran.out == "its log is gone: versions cannot be compared\n"
        ran = coordkit.run("ring", "verify", "shards", "--json")
        assert ran.objects[0]["sound"] is False
        client.delete(ring_keys(session.namespace, "shards").packed)
    said = coordkit.run("ring", "owner", "shards", "a").refused(78)
    assert "its packed snapshot is gone; `coordkit ring verify` says more" in said


# -- owners -----------------------------------------------------------------------------


def test_the_node_of_one_key_is_all_that_is_shown(
    coordkit: Program, ring: Ring
) -> None:
    ran = coordkit.run("ring", "owner", "shards", "user:42")
    assert (ran.code, ran.out, ran.err) == (0, ring.owner("user:42") + "\n", "")
    ran = coordkit.run("ring", "owner", "shards", "user:42", "-n", "3")
    assert ran.out == "\t".join(ring.owners("user:42", 3)) + "\n"
    (record,) = coordkit.run(
        "ring", "owner", "shards", "user:42", "-n", "2", "--json"
    ).objects
    assert record == {
        "v": 1,
        "key": "user:42",
        "slot": ring.locate("user:42").slot,
        "nodes": list(ring.owners("user:42", 2)),
    }


def test_of_several_keys_each_is_shown(coordkit: Program, ring: Ring) -> None:
    keys = ["user:42", "ключ", ""]
    ran = coordkit.run("ring", "owner", "shards", *keys)
    assert ran.out == "".join(f"{key}\t{ring.owner(key)}\n" for key in keys)
    ran = coordkit.run("ring", "owner", "shards", *keys, "-n", "2")
    both = ["\t".join(ring.owners(key, 2)) for key in keys]
    assert ran.out == "".join(
        f"{key}\t{nodes}\n" for key, nodes in zip(keys, both, strict=True)
    )


def test_keys_come_a_line_each(coordkit: Program, ring: Ring) -> None:
    keys = [f"user:{n}" for n in range(20_000)] + ["ключ", "with space", "", "\ttab"]
    for stdin in ("\n".join(keys), "\n".join(keys) + "\n"):
        ran = coordkit.run("ring", "owner", "shards", stdin=stdin)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == "".join(
            f"{key}\t{owner}\n"
            for key, owner in zip(keys, ring.owner_many(keys), strict=True)
        )
    assert coordkit.run("ring", "owner", "shards", stdin="").out == ""
    (a, b) = coordkit.run("ring", "owner", "shards", "--json", stdin="a\nb").objects
    assert (a["key"], b["nodes"]) == ("a", [ring.owner("b")])


def test_keys_are_answered_as_they_come(coordkit: Program, ring: Ring) -> None:
    with coordkit.terminal("ring", "owner", "shards") as terminal:
        assert "no key: name one" in terminal.see("no key")
        assert terminal.end() == 64
    code = "import sys, time\nprint('user:42', flush=True)\ntime.sleep(60)"
    python, *module = coordkit.argv
    pipe = f'{python} -c "{code}" | {python} {" ".join(module)} ring owner shards'
    with Child(["bash", "-c", pipe], cwd=coordkit.directory, env=coordkit.env) as child:
        assert child.wait_for_output("\n") == f"user:42\t{ring.owner('user:42')}\n"


@pytest.mark.slow
def test_keys_come_at_two_hundred_thousand_a_second(
    coordkit: Program, ring: Ring
) -> None:
    """In processor time, the start left out: what it waits for is the machine's."""
    import resource

    def seconds(keys: int) -> float:
        stdin = "".join(f"user:{n:012}\n" for n in range(keys))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        assert coordkit.run("ring", "owner", "shards", stdin=stdin).code == 0
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    assert min(seconds(400_000) for _ in range(3)) - seconds(0) < 2.0


def test_what_others_wrote_never_reaches_a_terminal_raw(
    coordkit: Program, session: Session
) -> None:
    ring = session.ring("evil")
    ring.add([Node(HOSTILE, 1, HOSTILE, None, {HOSTILE: HOSTILE}), Node("b")])
    for args in (
        ["nodes", "evil"],
        ["nodes", "evil", "--json"],
        ["stats", "evil"],
        ["owner", "evil", "a", "b"],
        ["owner", "evil", "--json"],
        ["plan", "evil", "--remove", HOSTILE],
        ["plot", "evil"],
        ["diff", "evil", "0"],
        ["reweight", "evil", HOSTILE, "2"],
        ["export", "evil"],
    ):
        ran = coordkit.run("ring", *args, stdin="x\ny\nz\nu\nv\nw\n")
        assert ran.code == 0, ran
        assert HOSTILE[0] not in ran.out
        assert r"\u202e" in ran.out or args[0] == "stats"
