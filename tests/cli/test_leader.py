"""`coordkit leader status`, `list`, `watch`, `history`, and what operators ask for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cli.program import Program, told
from coordkit import Election, LeadershipLost, Session
from coordkit._core.keys import election_keys
from coordkit.term import Term
from support.polling import until
from support.servers import RedisServer, free_port

HOSTILE = "\u202eevil"


@pytest.fixture
def election(session: Session) -> Election:
    return session.election("x")


@pytest.fixture
def term(election: Election) -> Iterator[Term]:
    """A term of somebody else."""
    term = election.campaign(meta={"addr": "h:80"})
    yield term
    if term.held:
        term.resign()


@contextmanager
def candidate(server: RedisServer, identity: str) -> Iterator[Future[Term]]:
    """Somebody who waits, of that identity."""
    with (
        Session(server.url, identity=identity) as session,
        ThreadPoolExecutor() as pool,
    ):
        election = session.election("x")
        elected = pool.submit(election.campaign, 20)
        until(lambda: any(c.identity == identity for c in election.candidates()))
        yield elected


# -- looking --------------------------------------------------------------------------


def test_status_shows_who_leads_and_who_waits(
    coordkit: Program, session: Session, server: RedisServer, term: Term
) -> None:
    with candidate(server, "b") as elected:
        ran = coordkit.run("leader", "status", "x")
        assert (ran.code, ran.err) == (0, "")
        words = ran.words
        assert words[:4] == [
            ["name", "x"],
            ["state", "led"],
            ["leader", session.identity],
            ["term", str(term.token)],
        ]
        assert words[-2:] == [["waiting", "1"], ["no.", "1", "b"]]
        (told,) = coordkit.run("leader", "status", "x", "--json").objects
        assert told["leader"]["term"] == term.token
        assert told["leader"]["meta"] == {"addr": "h:80"}
        assert 0 < told["leader"]["expires_in"] <= 15
        assert [c["identity"] for c in told["candidates"]] == ["b"]
        term.resign()
        elected.result().resign()


def test_status_of_nobody_is_3(coordkit: Program, election: Election) -> None:
    ran = coordkit.run("leader", "status", "x", "--json")
    assert ran.code == 3
    assert ran.objects == [
        {
            "v": 1,
            "name": "x",
            "state": "vacant",
            "leader": None,
            "candidates": [],
            "paused_by": "",
            "reason": "",
        }
    ]
    assert coordkit.run("leader", "status", "x", "-q") == (3, "", "")


def test_a_pause_is_shown(coordkit: Program, election: Election) -> None:
    election.pause(60, reason="upgrade")
    ran = coordkit.run("leader", "status", "x")
    assert ran.code == 3
    assert "state      paused" in ran.out
    assert ": upgrade" in ran.out


def test_elections_are_listed(coordkit: Program, session: Session, term: Term) -> None:
    session.election("a b").campaign().resign()
    ran = coordkit.run("leader", "list")
    assert (ran.code, ran.err) == (0, "")
    first, second = ran.words
    assert first == ["a", "b", "vacant", "-", "-", "-", "0"]
    assert second[:4] == ["x", "led", session.identity, str(term.token)]
    told = coordkit.run("leader", "list", "--json").objects
    assert [(each["name"], each["state"]) for each in told] == [
        ("a b", "vacant"),
        ("x", "led"),
    ]


def test_history_is_told_newest_first(coordkit: Program, election: Election) -> None:
    election.campaign().resign(reason=HOSTILE)
    election.pause(reason="why")
    election.resume()
    ran = coordkit.run("leader", "history", "x")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[2] for line in ran.out.splitlines()] == [
        "resumed",
        "paused",
        election._engine.identity,
        election._engine.identity,
    ]
    assert r"has resigned, term" in ran.out
    assert r"\u202eevil" in ran.out
    told = coordkit.run("leader", "history", "x", "-n", "3", "--json").objects
    assert [each["event"] for each in told] == ["unpaused", "paused", "vacant"]
    assert told[2]["why"] == HOSTILE


def test_history_of_nothing_is_1(coordkit: Program, election: Election) -> None:
    assert coordkit.run("leader", "history", "x") == (1, "nobody has ever led x\n", "")
    ran = coordkit.run("leader", "history", "x", "--json")
    assert (ran.code, ran.objects) == (1, [{"v": 1, "name": "x", "event": "none"}])


# -- watching -------------------------------------------------------------------------


def test_watch_tells_each_change_and_each_silence(
    coordkit: Program, election: Election, server: RedisServer
) -> None:
    with coordkit.start("leader", "watch", "x", "--json") as child:
        until(lambda: len(told(child)) == 1)
        term = election.campaign()
        until(lambda: len(told(child)) == 2)
        server.pause()
        try:
            until(lambda: len(told(child)) == 3)
        finally:
            server.resume()
        until(lambda: len(told(child)) == 4)
        term.resign(reason="done")
        until(lambda: len(told(child)) == 5)
        events = told(child)
        assert [each["event"] for each in events] == [
            "vacant",
            "elected",
            "suspended",
            "resumed",
            "vacant",
        ]
        assert (events[1]["term"], events[4]["term"]) == (term.token, term.token)
        assert (events[4]["how"], events[4]["why"]) == ("resigned", "done")
        os.kill(child.pid, signal.SIGINT)
        assert child.wait() == 130


def test_watch_begins_with_who_leads(coordkit: Program, term: Term) -> None:
    with coordkit.start("leader", "watch", "x") as child:
        assert f"leads, term {term.token}\n" in child.wait_for_output("leads")


def test_watch_of_a_server_that_is_not_there_goes_on(program: Program) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with program.start("leader", "watch", "x", "--url", url) as child:
        child.wait_for_output("no answer: ")
        assert child.alive


# -- what operators ask for -----------------------------------------------------------


def test_a_leader_is_asked_to_resign(
    coordkit: Program, session: Session, term: Term
) -> None:
    ran = coordkit.run("leader", "resign", "x", "--reason", "enough")
    said = f"x is led by {session.identity} (term {term.token}); asked to resign\n"
    assert ran == (0, said, "")
    assert term.lost.wait(10)
    assert term.reason == "revoked"


def test_nobody_to_resign_is_1(coordkit: Program, election: Election) -> None:
    assert coordkit.run("leader", "resign", "x") == (1, "nobody leads x\n", "")
    ran = coordkit.run("leader", "resign", "x", "--json")
    assert ran.objects == [{"v": 1, "name": "x", "leader": None, "asked": False}]


def test_who_does_not_lead_cannot_resign(
    coordkit: Program, session: Session, term: Term
) -> None:
    said = coordkit.run("leader", "resign", "x", "--identity", "b").refused(1)
    assert f"'b' does not lead; {session.identity!r} does; nobody was asked" in said
    own = {"COORDKIT_ELECTION": "x", "COORDKIT_IDENTITY": "c"}
    ran = coordkit.run("leader", "resign", "x", env=own)
    assert "'c' does not lead" in ran.refused(1)
    term.renew()  # nobody has asked it
    own["COORDKIT_ELECTION"] = "y"
    assert coordkit.run("leader", "resign", "x", env=own).code == 0


def test_the_successor_is_named(
    coordkit: Program, server: RedisServer, session: Session, term: Term
) -> None:
    with candidate(server, "b") as elected:
        ran = coordkit.run("leader", "transfer", "x", "b")
        leads = f"x is led by {session.identity} (term {term.token})"
        assert ran == (0, f"{leads}; asked to resign in favour of b\n", "")
        assert term.lost.wait(10)
        with pytest.raises(LeadershipLost, match="was asked to let go"):
            term.resign()
        elected.result()
        ran = coordkit.run("leader", "transfer", "x", "b", "--json")
        assert (ran.code, ran.objects[0]["asked"]) == (0, False)


def test_a_transfer_to_nobody_is_1(
    coordkit: Program, server: RedisServer, election: Election
) -> None:
    said = coordkit.run("leader", "transfer", "x", "b").refused(1)
    assert "nobody leads 'x' who could hand it over" in said
    with election.campaign() as term:
        said = coordkit.run("leader", "transfer", "x", "b").refused(1)
        assert "'b' cannot be elected 'x': there is no candidate" in said
        term.renew()
        with candidate(server, "c") as elected:
            said = coordkit.run("leader", "transfer", "x", "b").refused(1)
            assert "the candidates are 'c'" in said
            term.resign()
            elected.result().resign()


def test_it_is_paused_and_resumed(
    coordkit: Program, session: Session, term: Term
) -> None:
    ran = coordkit.run("leader", "pause", "x", "--for", "1h", "--reason", "upgrade")
    who = f"{session.identity} (term {term.token})"
    assert ran == (0, f"x is paused; {who} is asked to resign\n", "")
    assert coordkit.run("leader", "resume", "x", "--json").objects == [
        {"v": 1, "name": "x", "paused": False}
    ]
    assert coordkit.run("leader", "resume", "x") == (0, "", "")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["status"], 64, "Missing argument 'NAME'"),
        (["status", "a\x1b"], 64, "control character"),
        (["history", "x", "-n", "0"], 64, "0 is not in the range"),
        (["transfer", "x"], 64, "Missing argument 'IDENTITY'"),
        (["transfer", "x", ""], 64, "identity '' is 0 bytes long"),
        (["resign", "x", "--reason", "a\nb"], 64, "control character"),
        (["pause", "x", "--for", "0"], 64, "is not between"),
        (["pause", "x", "--for", "soon"], 64, "is no duration"),
        (["status", "bad"], 78, "choose another name, or another --namespace"),
        (["pause", "bad"], 78, "choose another name, or another --namespace"),
        (["watch", "bad"], 78, "choose another name, or another --namespace"),
    ],
)
def test_what_cannot_be_done_is_told(
    coordkit: Program,
    session: Session,
    server: RedisServer,
    args: list[str],
    code: int,
    says: str,
) -> None:
    with server.client() as client:
        client.lpush(election_keys("default", "bad").lock, "foreign")
    assert says in coordkit.run("leader", *args).refused(code)


def test_a_server_that_is_away_is_69(program: Program) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    for words in (["status", "x"], ["resign", "x"], ["pause", "x"], ["list"]):
        said = program.run("leader", *words, "--url", url).refused(69)
        assert "is it running? The URL comes from --url" in said


def completed(program: Program, *words: str) -> list[str]:
    """What the shell offers for the last word."""
    env = {
        "_COORDKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("coordkit", *words)),
        "COMP_CWORD": str(len(words)),
    }
    lines = filter(None, program.run(env=env).out.splitlines())
    return [line.partition(",")[2] for line in lines]


def test_names_and_candidates_are_completed(
    coordkit: Program, server: RedisServer, election: Election
) -> None:
    with election.campaign() as term, candidate(server, "b:1") as elected:
        assert completed(coordkit, "leader", "status", "") == ["x"]
        assert completed(coordkit, "leader", "transfer", "x", "b") == ["b:1"]
        assert completed(coordkit, "leader", "transfer", "y", "b") == []
        term.resign()
        elected.result().resign()
