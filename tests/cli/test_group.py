"""`coordkit group`: a member while a command runs, and who else is there."""

from __future__ import annotations

import os
import signal

import pytest

from cli.program import Program, told
from coordkit import Group, MemberInfo, Session
from coordkit._core.keys import group_keys
from support.groups import PROC, groups
from support.guards import Guarded, shell
from support.polling import until
from support.servers import RedisServer, free_port

JOIN = ("group", "join")
SLEEPS = shell("ready; exec sleep 600")
TTL = ("--ttl", "2", "--kill-after", "0.3")
looks_at_proc = pytest.mark.skipif(
    not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
)


@pytest.fixture
def group(session: Session) -> Group:
    return session.group("g", ttl=2)


def names(group: Group) -> list[str]:
    return [member.identity for member in group.members()]


# -- join -----------------------------------------------------------------------------


def test_it_is_a_member_as_long_as_its_command_runs(
    coordkit: Program, group: Group
) -> None:
    said = (
        *("--identity", "w-1", "--weight", "2", "--capacity", "9", "--load", "0.5"),
        *("--zone", "a", "--meta", "addr=h:80", "--meta", "b=c=d"),
    )
    with Guarded(coordkit, "g", SLEEPS, *TTL, *said, verb=JOIN) as one:
        one.guard.wait_for_output("ready", timeout=30.0)
        (member,) = group.members()
        assert member == MemberInfo(
            identity="w-1",
            holder=member.holder,
            token=member.token,
            since=member.since,
            weight=2.0,
            capacity=9.0,
            load=0.5,
            zone="a",
            meta={"addr": "h:80", "b": "c=d"},
            expires_in=member.expires_in,
            suspicion=member.suspicion,
        )
        one.guard.sigterm()
        assert one.guard.wait() == 143
        assert one.guard.output().count("\n") == 1
        assert names(group) == []


def test_its_command_is_told_who_it_is(coordkit: Program, group: Group) -> None:
    ran = coordkit.run(*JOIN, "--identity", "w-1", "g", "/usr/bin/env")
    told = dict(line.split("=", 1) for line in ran.out.splitlines())
    ours = {key: value for key, value in told.items() if key.startswith("COORDKIT")}
    assert ours == {
        "COORDKIT_GROUP": "g",
        "COORDKIT_IDENTITY": "w-1",
        "COORDKIT_NAMESPACE": "default",
        "COORDKIT_URL_WITHHELD": "1",
    }
    assert coordkit.run(*JOIN, "-c", "exit 7", "g") == (7, "", "")
    assert names(group) == []


@looks_at_proc
@pytest.mark.slow
def test_a_guard_that_is_killed_takes_its_command_along(
    coordkit: Program, group: Group
) -> None:
    with Guarded(coordkit, "g", SLEEPS, *TTL, verb=JOIN) as one:
        one.guard.wait_for_output("ready", timeout=30.0)
        until(lambda: "pid" in one.state)
        one.guard.sigkill()
        until(lambda: groups().get(one.group) is None)
        until(lambda: names(group) == [])


@looks_at_proc
@pytest.mark.slow
def test_an_outage_ends_no_command_and_it_is_listed_again(
    coordkit: Program, group: Group, server: RedisServer
) -> None:
    with Guarded(coordkit, "g", SLEEPS, *TTL, verb=JOIN) as one:
        one.guard.wait_for_output("ready", timeout=30.0)
        (before,) = group.members()
        os.kill(one.guard.pid, signal.SIGSTOP)
        until(lambda: names(group) == [])
        os.kill(one.guard.pid, signal.SIGCONT)
        until(lambda: names(group) == [before.identity])
        with server.client() as client:
            client.flushall()
        until(lambda: names(group) == [before.identity])
        assert len(one.members) == 1
        said = one.guard.wait_for_output("coordkit: listed in 'g' again")
        assert "coordkit: not listed in 'g' any more, it joins again: " in said
        until(lambda: one.state["event"] == "joined")
        assert one.state["token"] > before.token
        one.guard.sigterm()
        assert one.guard.wait() == 143
        assert names(group) == []


@looks_at_proc
@pytest.mark.slow
def test_an_outage_may_end_it(
    coordkit: Program, group: Group, server: RedisServer
) -> None:
    stops = ("--on-lost", "stop")
    with Guarded(coordkit, "g", SLEEPS, *TTL, *stops, verb=JOIN) as one:
        one.ready()
        server.pause()
        try:
            assert one.gone_at() < one.last_deadline
            assert one.guard.wait() == 76
        finally:
            server.resume()


def test_an_identity_that_is_taken_is_75(coordkit: Program, session: Session) -> None:
    group = session.group("g")
    with group.join("w-1") as member:
        said = coordkit.run(*JOIN, "--identity", "w-1", "g", "touch", "ran").refused(75)
        assert "'w-1' is a member of 'g' already: choose another --identity" in said
        assert not (coordkit.directory / "ran").exists()
        replace = ("--identity", "w-1", "--replace")
        assert coordkit.run(*JOIN, *replace, "g", "true").code == 0
        assert member.lost.wait(10)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["g"], "Missing argument 'COMMAND'"),
        (["g", "--zone", "a", "ls"], "coordkit group join --zone a g -- ls"),
        (["--ttl", "0.04", "g", "true"], "ttl=0.04 is not between"),
        (["--weight", "0", "g", "true"], "weight=0.0 is not between"),
        (["--weight", "nan", "g", "true"], "weight=nan is not between"),
        (["--load", "-1", "g", "true"], "load=-1.0 is not between"),
        (["--capacity", "0", "g", "true"], "capacity=0.0 is not between"),
        (["--zone", "a\x1b", "g", "true"], "control character"),
        (["--meta", "a", "g", "true"], "'a': write KEY=VALUE"),
        (["--on-lost", "requeue", "g", "true"], "'rejoin', 'stop'"),
        (["--identity", "", "g", "true"], "identity '' is 0 bytes long"),
    ],
)
def test_wrong_usage_is_64_and_nobody_joins(
    coordkit: Program, session: Session, words: list[str], says: str
) -> None:
    assert says in coordkit.run(*JOIN, *words).refused(64)
    assert session.groups() == []


def test_what_hinders_it_is_told(
    program: Program, coordkit: Program, server: RedisServer, session: Session
) -> None:
    with server.client() as client:
        client.lpush(group_keys("default", "bad").group, "foreign")
    for words in ("join bad true", "list bad"):
        said = coordkit.run("group", *words.split()).refused(78)
        assert "choose another name, or another --namespace" in said
    url = f"redis://127.0.0.1:{free_port()}/0"
    for words in ("join --ttl 1 g true", "list"):
        said = program.run("--url", url, "group", *words.split()).refused(69)
        assert "is it running?" in said


def test_explain_shows_the_keys(program: Program) -> None:
    (told,) = program.run(*JOIN, "--explain", "--json", "g").objects
    assert (told["name"], told["ttl"]) == ("g", 10)
    assert told["keys"]["group"] == group_keys("default", "g").group
    assert list(told["at"]) == ["renew", "renew_by", "end", "free"]
    stops = ("--on-lost", "stop")
    (told,) = program.run(*JOIN, *stops, "--explain", "--json", "g").objects
    assert {"stop", "kill"} < told["at"].keys()


def test_a_command_that_runs_on_may_take_its_time_to_end(
    coordkit: Program, session: Session
) -> None:
    long = ("--ttl", "1", "--kill-after", "1h")
    assert coordkit.run(*JOIN, *long, "g", "true") == (0, "", "")
    said = coordkit.run(*JOIN, *long, "--on-lost", "stop", "g", "true").refused(78)
    assert "do not fit into a lease of 1s" in said


# -- looking --------------------------------------------------------------------------


def test_members_and_groups_are_listed(
    coordkit: Program, session: Session, group: Group
) -> None:
    with group.join("a", capacity=4, load=1, zone="z"), group.join("b", weight=2):
        ran = coordkit.run("group", "list", "g")
        assert (ran.code, ran.err) == (0, "")
        first, second = ran.words
        assert first[:5] == ["a", "active", "1", "1/4", "z"]
        assert second[:5] == ["b", "active", "2", "0", "-"]
        told = coordkit.run("group", "list", "g", "--json").objects
        assert [(m["identity"], m["weight"]) for m in told] == [("a", 1), ("b", 2)]
        assert coordkit.run("group", "list").words == [["g", "2", "2"]]
        assert coordkit.run("group", "list", "--json").objects == [
            {"v": 1, "name": "g", "version": 2, "members": 2}
        ]
    assert coordkit.run("group", "list", "g") == (0, "", "")


def test_watch_tells_each_change_and_each_silence(
    coordkit: Program, group: Group, server: RedisServer
) -> None:
    with coordkit.start("group", "watch", "g", "--json") as child:
        until(lambda: len(told(child)) == 1)
        member = group.join("a")
        member.report(load=0.5)
        until(lambda: len(told(child)) == 3)
        member.leave()
        until(lambda: len(told(child)) == 4)
        server.pause()
        try:
            until(lambda: len(told(child)) == 5)
        finally:
            server.resume()
        until(lambda: len(told(child)) == 6)
        assert [each["event"] for each in told(child)] == [
            "members",
            "joined",
            "changed",
            "left",
            "suspended",
            "resumed",
        ]
        os.kill(child.pid, signal.SIGINT)
        assert child.wait() == 130


def test_watch_tells_people(coordkit: Program, group: Group) -> None:
    with coordkit.start("group", "watch", "g") as child:
        child.wait_for_output("nobody\n")
        with group.join("a") as member:
            child.wait_for_output(": a has joined\n")
            member.report(load=0.5, draining=True)
            child.wait_for_output(": a state active -> draining, load 0.0 -> 0.5\n")
        child.wait_for_output(": a has left\n")


def test_names_are_completed(coordkit: Program, group: Group) -> None:
    words = {"COMP_WORDS": "coordkit group list ", "COMP_CWORD": "3"}
    env = {"_COORDKIT_COMPLETE": "bash_complete", **words}
    with group.join("a"):
        assert coordkit.run(env=env).out == "plain,g\n"
