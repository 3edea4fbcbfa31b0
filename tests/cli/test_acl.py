"""
`coordkit acl`: its line is accepted, enough, and not more than that.

That it is enough for all that locks do is shown by the contract suite, which runs under it
(`contract.places.AclPlace`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from cli.program import Program
from contract.places import AclPlace
from coordkit import NotPermitted, Session
from coordkit_cli.acl import READING, rules, scripted
from core.lua import SCRIPTS
from support.servers import HOST, RedisCluster, RedisServer


def tell(client: redis.Redis, *words: str) -> Any:
    return client.execute_command(*words)


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    with RedisServer(acl=AclPlace.ACL) as server:
        yield server


@pytest.fixture
def admin(guarded: RedisServer) -> Iterator[redis.Redis]:
    with guarded.client(username="root", password="pw") as client:
        yield client


def granted(
    program: Program, admin: redis.Redis, server: RedisServer, *args: str
) -> str:
    """Have the server accept what `coordkit acl` prints; return the user's URL."""
    root = f"redis://root:pw@{HOST}:{server.port}/0"
    ran = program.run("acl", "--url", root, "--namespace", "shop", *args)
    assert (ran.code, ran.err) == (0, "")
    admin.execute_command(*ran.out.replace(">PASSWORD", ">secret").split())
    return f"redis://coordkit:secret@{HOST}:{server.port}/0"


def test_the_line_is_enough_and_not_more(
    program: Program, admin: redis.Redis, guarded: RedisServer
) -> None:
    url = granted(program, admin, guarded)
    with Session(url, namespace="shop") as session, session.lock("x").acquire():
        assert (
            program.run("lock", "show", "x", "--url", url, "--namespace", "shop").code
            == 0
        )
    with Session(url, namespace="shop.x") as other, pytest.raises(NotPermitted):
        other.lock("x").try_acquire()
    user = guarded.client(username="coordkit", password="secret")
    for command in (
        "FLUSHALL",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET dir",
        "INFO",
        "SCRIPT FLUSH",
        "CLIENT LIST",
        "PUBLISH ck:1:other:wake:x y",
        "SUBSCRIBE news",
        "EVAL return{redis.call('SET','ck:1:other:x','1')} 0",
        "EVAL return{redis.call('FLUSHALL')} 0",
    ):
        with user as client, pytest.raises(redis.RedisError) as refused:
            client.execute_command(*command.split())
        said = str(refused.value)
        assert "permission" in said or "script can't" in said, command


def test_a_reader_sees_and_changes_nothing(
    program: Program, admin: redis.Redis, guarded: RedisServer
) -> None:
    root = f"redis://root:pw@{HOST}:{guarded.port}/0"
    url = granted(program, admin, guarded, "--read-only")
    asked = ("--url", url, "--namespace", "shop")
    with (
        Session(root, namespace="shop") as session,
        session.lock("x").acquire() as lease,
    ):
        (held,) = program.run("lock", "list", "--json", *asked).objects
        assert held["token"] == lease.token
        assert program.run("lock", "show", "x", *asked).code == 0
        ran = program.run("lock", "break", "x", "--reason", "r", "--yes", *asked)
        assert ran.code == 77
        assert lease.held
    with Session(url, namespace="shop") as reader, pytest.raises(NotPermitted):
        reader.lock("y").try_acquire()


def test_a_reader_picks_a_member_and_takes_no_turn(
    program: Program, admin: redis.Redis, guarded: RedisServer
) -> None:
    root = f"redis://root:pw@{HOST}:{guarded.port}/0"
    url = granted(program, admin, guarded, "--read-only")
    pick = ("balance", "pick", "workers", "--url", url, "--namespace", "shop")
    with (
        Session(root, namespace="shop") as session,
        session.group("workers").join("w1"),
    ):
        assert program.run(*pick).out == "w1\n"
        assert program.run(*pick, "--strategy", "round_robin").code == 77


def test_a_reader_looks_up_a_ring_and_does_not_change_it(
    program: Program, admin: redis.Redis, guarded: RedisServer
) -> None:
    root = f"redis://root:pw@{HOST}:{guarded.port}/0"
    url = granted(program, admin, guarded, "--read-only")
    asked = ("--url", url, "--namespace", "shop")
    with Session(root, namespace="shop") as session:
        ring = session.ring("cache")
        ring.add({"a": 1.0, "b": 2.0})
        assert program.run("ring", "list", *asked).code == 0
        assert program.run("ring", "owner", "cache", "k", *asked).code == 0
        assert program.run("ring", "plan", "cache", "--add", "c", *asked).code == 0
        for verb in ("nodes", "stats", "verify", "export", "plot"):
            assert program.run("ring", verb, "cache", *asked).code == 0, verb
        assert program.run("ring", "diff", "cache", "0", *asked).code == 0
        assert program.run("ring", "add", "cache", "c", *asked).code == 77
        assert program.run("ring", "delete", "cache", "--yes", *asked).code == 77
        assert [node.name for node in ring.nodes()] == ["a", "b"]


def test_a_reader_sees_who_leads_and_asks_nobody_to_resign(
    program: Program, admin: redis.Redis, guarded: RedisServer
) -> None:
    root = f"redis://root:pw@{HOST}:{guarded.port}/0"
    url = granted(program, admin, guarded, "--read-only")
    asked = ("--url", url, "--namespace", "shop")
    with (
        Session(root, namespace="shop") as session,
        session.election("x").campaign() as term,
    ):
        for words in (("status", "x"), ("history", "x"), ("list",)):
            ran = program.run("leader", *words, *asked)
            assert (ran.code, str(term.token) in ran.out) == (0, True), words
        for verb in ("resign", "pause"):
            assert program.run("leader", verb, "x", *asked).code == 77
        term.renew()


def test_every_command_of_the_scripts_is_in_it_and_no_other() -> None:
    called = {c.lower() for script in SCRIPTS.values() for c, _ in script.calls()}
    assert scripted() == called
    words = rules("ns", (7, 0))
    assert {f"+{command}" for command in called} <= set(words)
    assert called >= READING


def test_what_a_reader_may_call_changes_nothing(admin: redis.Redis) -> None:
    for name in READING:
        # In one string, or redis-py reads the answer as one to COMMAND.
        ((_, _, flags, *_),) = tell(admin, f"COMMAND INFO {name}")
        assert b"write" not in flags, name


@pytest.mark.parametrize(
    ("version", "has"),
    [("6.2", False), ("7.0.15", False), ("7.2", True), ("8.0", True)],
)
def test_it_has_no_word_that_the_server_does_not_know(
    program: Program, version: str, has: bool
) -> None:
    ran = program.run("acl", "--server-version", version)
    assert ran.code == 0, "the server is not asked"
    assert ("+client|setinfo" in ran.out) is has


def test_it_says_why_there_is_no_percent_r(program: Program) -> None:
    for version, says in (("6.2", "neither %R~"), ("7.0", "%R~ would forbid")):
        ran = program.run("acl", "-v", "--server-version", version)
        assert says in ran.err


def test_for_programs(program: Program) -> None:
    (record,) = program.run("acl", "--json", "--server-version", "7.0").objects
    assert record["line"].startswith(
        "ACL SETUSER coordkit reset on >PASSWORD ~ck:1:default:*"
    )
    assert record["line"].endswith(" ".join(record["rules"]))
    assert record["server_version"] == "7.0"


@pytest.mark.slow
def test_a_user_of_a_cluster_needs_more(program: Program) -> None:
    with RedisCluster() as cluster:
        nodes = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)
        url = f"redis+cluster://{nodes}"
        ran = program.run("acl", "--url", url)
        line = ran.out.replace(">PASSWORD", ">secret").split()
        for node in cluster.nodes:
            with node.client() as client:
                client.execute_command(*line)
        theirs = f"redis+cluster://coordkit:secret@{nodes}"
        with Session(theirs) as session, session.lock("x").acquire():
            assert session.lock("x").info() is not None
        short = [word for word in line if word != "+cluster|slots"]
        for node in cluster.nodes:
            with node.client() as client:
                client.execute_command(*short)
        with Session(theirs) as session, pytest.raises(NotPermitted):
            session.lock("x").try_acquire()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--server-version", "5.0"], 64, "no version from 6.2 on"),
        (["--server-version", "new"], 64, "write 6.2, 7.0 or 8.0"),
        (["--user", "a b"], 64, "no name for a user"),
        (["--url", f"redis://{HOST}:1/0"], 69, "--server-version 7.0"),
    ],
)
def test_what_is_wrong_is_told(
    program: Program, args: list[str], code: int, says: str
) -> None:
    assert says in program.run("acl", *args).refused(code)


def test_who_may_not_ask_for_the_version_names_it(
    program: Program, admin: redis.Redis, guarded: RedisServer
) -> None:
    url = granted(program, admin, guarded)
    said = program.run("acl", "--url", url).refused(77)
    assert "name the version instead: --server-version 7.0" in said
