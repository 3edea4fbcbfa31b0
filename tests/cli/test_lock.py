"""`coordkit lock`: the locks as others hold them, and taking them away."""

from __future__ import annotations

import shlex
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cli.program import Program
from coordkit import LeaseLost, Reason, Session
from coordkit._core.keys import lock_keys
from support.polling import until
from support.servers import RedisServer

HOSTILE = "\x1b[2Jowned\r\u202e"
HOLDER = {"holder", "identity", "token", "expires_in", "since", "meta"}
LOCK = {"v", "name", "held", "mode", "limit", "waiters", "holders"} | HOLDER


@pytest.fixture
def hostile(server: RedisServer, session: Session) -> None:
    """A lock whose record somebody else has written."""
    keys = lock_keys(session.namespace, "foreign")
    ends_ms = int(time.time() * 1000) + 60_000
    record: dict[Any, Any] = {
        "rid": "r",
        "token": "7",
        "since": "1000",
        "identity": HOSTILE,
        "meta": '{"job":"\\u001b]0;x\\u0007","n":[1,NaN]}',
    }
    with server.client() as client:
        client.hset(keys.lock, mapping=record)
        client.pexpire(keys.lock, 60_000)
        client.zadd(keys.index, {"lock:foreign": ends_ms})


# -- list -------------------------------------------------------------------------------


def test_no_lock_is_no_output(coordkit: Program) -> None:
    for args in (["lock", "list"], ["lock", "list", "--json"]):
        assert coordkit.run(*args) == (0, "", "")


def test_every_held_lock_is_a_line(coordkit: Program, session: Session) -> None:
    with (
        session.lock("b", ttl=60).acquire() as b,
        session.lock("a b", ttl=7200, shared=True).acquire() as first,
        session.lock("a b", ttl=60, shared=True).acquire(),
    ):
        ran = coordkit.run("lock", "list")
        assert (ran.code, ran.err) == (0, "")
        words = [line.split() for line in ran.out.splitlines()]
        who = session.identity
        assert words[0][:5] == ["a", "b", who, "+1", str(first.token)]
        assert words[1][:3] == ["b", who, str(b.token)]
        assert words[0][5].endswith("h")
        assert words[1][3].endswith("s")
        columns = {line.index(who) for line in ran.out.splitlines()}
        assert len(columns) == 1
    assert coordkit.run("lock", "list").out == ""


def test_a_heading_is_for_eyes_only(coordkit: Program, session: Session) -> None:
    with coordkit.terminal("lock", "list") as terminal:
        assert "coordkit: no lock is held in the namespace default" in terminal.see(
            "\n"
        )
        assert terminal.end() == 0
    with session.lock("x").acquire(), coordkit.terminal("lock", "list") as terminal:
        assert terminal.end() == 0
        heading, line = terminal.seen.splitlines()
        assert " ".join(heading.split()) == "NAME HELD BY TOKEN EXPIRES IN WAITING"
        assert heading.index("HELD") == line.index(session.identity)


def test_json_has_all_there_is_to_know(coordkit: Program, session: Session) -> None:
    meta = {"job": "größe", "n": [1, {"deep": None}]}
    lease = session.lock("x", ttl=60, meta=meta).acquire()
    (found,) = coordkit.run("lock", "list", "--json").objects
    (shown,) = coordkit.run("lock", "show", "x", "--json").objects
    for record in (found, shown):
        assert record.keys() == LOCK
        assert (record["v"], record["held"], record["name"]) == (1, True, "x")
        assert (record["mode"], record["limit"]) == ("alone", None)
        assert record["token"] == lease.token
        assert record["holder"] == lease.holder
        assert record["identity"] == session.identity
        assert record["meta"] == meta
        assert 0 < record["expires_in"] <= 60
        assert abs(record["since"] - time.time()) < 60
        (holder,) = record["holders"]
        assert holder.keys() == HOLDER
        assert {key: record[key] for key in HOLDER} == holder
    lease.release()


def test_modes_are_told(coordkit: Program, session: Session) -> None:
    session.lock("cool", hold_at_least=60).acquire().release()
    with (
        session.lock("slots", slots=3).acquire(),
        session.lock("slots", slots=3).acquire(),
        session.lock("many", shared=True).acquire(),
    ):
        records = coordkit.run("lock", "list", "--json").objects
        slots = coordkit.run("lock", "show", "slots").out
        cool = coordkit.run("lock", "show", "cool").out
    told = {r["name"]: (r["mode"], r["limit"], len(r["holders"])) for r in records}
    assert told == {
        "cool": ("cooling", None, 1),
        "many": ("shared", None, 1),
        "slots": ("slots", 3, 2),
    }
    assert "slots       3\n" in slots
    assert slots.count("held by     ") == 2
    assert "mode        released, but kept taken\n" in cool
    assert f"held by     ({session.identity}, released)\n" in cool


def test_what_others_wrote_never_reaches_a_terminal_raw(
    coordkit: Program, hostile: None
) -> None:
    for args in (
        ["lock", "list"],
        ["lock", "show", "foreign"],
        ["lock", "list", "--json"],
        ["lock", "show", "foreign", "--json"],
        ["lock", "break", "foreign", "--reason", HOSTILE, "--yes", "-v"],
    ):
        ran = coordkit.run(*args)
        assert ran.code == 0
        assert all(line.isprintable() for line in (ran.out + ran.err).splitlines())
        assert r"\x1b[2Jowned\r\u202e" in ran.out or r"\u001b[2Jowned" in ran.out


def test_a_question_shows_nothing_raw_either(coordkit: Program, hostile: None) -> None:
    args = ("lock", "break", "foreign", "--reason", "x")
    with coordkit.terminal(*args) as terminal:
        shown = terminal.see("[y/N]")
        assert r"held by \x1b[2Jowned\r\u202e (token 7)" in shown
        assert all(line.isprintable() for line in shown.splitlines())


def test_meta_that_is_no_json_is_told_as_json(coordkit: Program, hostile: None) -> None:
    (record,) = coordkit.run("lock", "show", "foreign", "--json").objects
    assert record["meta"] == {"job": "\x1b]0;x\x07", "n": [1, None]}
    shown = coordkit.run("lock", "show", "foreign").out
    assert r"meta        job=\x1b]0;x\x07, n=[1,null]" in shown


# -- show ----------------------------------------------------------------------------------


def test_a_free_lock_is_a_no(coordkit: Program) -> None:
    assert coordkit.run("lock", "show", "x") == (1, "x is free\n", "")
    assert coordkit.run("lock", "show", "x", "-q") == (1, "", "")
    ran = coordkit.run("lock", "show", "x", "--json")
    assert (ran.code, ran.objects) == (1, [{"v": 1, "name": "x", "held": False}])


def test_a_held_lock_is_shown_with_its_waiters(
    coordkit: Program, session: Session
) -> None:
    lock = session.lock("x", ttl=60, meta={"job": "night"})

    def waiters() -> int:
        info = lock.info()
        return info.waiters if info is not None else 0

    with ThreadPoolExecutor(1) as pool:
        with lock.acquire() as lease:
            waiting = pool.submit(lock.acquire)
            until(lambda: waiters() == 1)
            ran = coordkit.run("lock", "show", "x")
        waiting.result().release()
    facts = dict(line.split("  ", 1) for line in ran.out.splitlines())
    facts = {key: value.strip() for key, value in facts.items()}
    assert ran.code == 0
    assert facts["name"] == "x"
    assert facts["mode"] == "alone"
    assert facts["held by"] == session.identity
    assert facts["token"] == str(lease.token)
    assert facts["waiting"] == "1"
    assert facts["meta"] == "job=night"
    assert facts["since"].endswith(" by the server's clock")
    assert facts["expires in"].endswith("s")


def test_a_name_that_looks_like_an_option_follows_two_dashes(
    coordkit: Program, session: Session
) -> None:
    with session.lock("-q").acquire():
        assert coordkit.run("lock", "show", "--", "-q").code == 0


# -- break -----------------------------------------------------------------------------------

BREAK = ("lock", "break", "x", "--reason", "it's stuck")


def test_a_broken_lock_is_free_and_its_holder_learns_it(
    coordkit: Program, session: Session
) -> None:
    lease = session.lock("x", ttl=60).acquire()
    ran = coordkit.run(*BREAK, "--yes")
    assert (ran.code, ran.err) == (0, "")
    told = f"x was held by {session.identity} (token {lease.token}), would have expired"
    assert ran.out.startswith(told)
    assert coordkit.run("lock", "show", "x").code == 1
    with pytest.raises(LeaseLost) as lost:
        lease.renew()
    assert lost.value.reason is Reason.BROKEN


def test_breaking_tells_in_json_whom_it_hit(
    coordkit: Program, session: Session
) -> None:
    lease = session.lock("x").acquire()
    (record,) = coordkit.run(*BREAK, "--yes", "--json").objects
    assert record.keys() == LOCK | {"broken"}
    assert (record["held"], record["broken"]) == (False, True)
    assert record["token"] == lease.token
    with pytest.raises(LeaseLost):
        lease.release()


def test_the_reason_is_in_the_log(coordkit: Program, session: Session) -> None:
    lease = session.lock("x").acquire()
    logged = coordkit.run("-v", *BREAK, "--yes").err.splitlines()[-1]
    assert (
        logged == f"coordkit: lock 'x' of {session.identity!r} was broken: it's stuck"
    )
    with pytest.raises(LeaseLost):
        lease.release()


def test_breaking_a_free_lock_is_a_no(coordkit: Program) -> None:
    assert coordkit.run(*BREAK, "--yes") == (1, "x is free\n", "")
    ran = coordkit.run(*BREAK, "--yes", "--json")
    assert (ran.code, ran.objects) == (1, [{"v": 1, "name": "x", "held": False}])


def test_a_reason_is_needed(coordkit: Program) -> None:
    said = coordkit.run("lock", "break", "x", "--yes").refused(64)
    assert "Missing option '--reason'" in said


@pytest.mark.parametrize("name", ["x", "it's a name", "-x"])
def test_where_nobody_can_be_asked_it_says_what_to_type(
    coordkit: Program, session: Session, name: str
) -> None:
    with Session(session_url(coordkit), namespace="shop") as shop:
        lease = shop.lock(name, ttl=60).acquire()
        options = ["--namespace", "shop", "lock", "break", "--reason", "it's stuck"]
        said = coordkit.run(*options, "--", name, stdin="y\n").refused(64)
        lease.renew()  # nothing was done
        line = said.partition("type: ")[2]
        program, *typed = shlex.split(line)
        assert program == "coordkit"
        assert coordkit.run(*typed).code == 0
        with pytest.raises(LeaseLost):
            lease.release()


def session_url(program: Program) -> str:
    return program.env["COORDKIT_URL"]


def test_the_line_to_type_holds_no_password(coordkit: Program) -> None:
    said = coordkit.run("--url", "redis://:se-cret@h/0", *BREAK).refused(64)
    assert "se-cret" not in said
    assert "--url" in said


def test_on_a_terminal_it_asks(coordkit: Program, session: Session) -> None:
    lease = session.lock("x", ttl=60).acquire()
    with coordkit.terminal(*BREAK) as terminal:
        question = terminal.see("[y/N]")
        assert f"x is held by {session.identity} (token {lease.token})" in question
        terminal.type("n\n")
        assert terminal.end() == 1
        assert "coordkit: nothing was done" in terminal.seen
    lease.renew()
    with coordkit.terminal(*BREAK) as terminal:
        terminal.see("[y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    with pytest.raises(LeaseLost):
        lease.release()


def test_ctrl_c_at_the_question_changes_nothing(
    coordkit: Program, session: Session
) -> None:
    with session.lock("x", ttl=60).acquire() as lease:
        with coordkit.terminal(*BREAK) as terminal:
            terminal.see("[y/N]")
            terminal.signal(signal.SIGINT)
            assert terminal.end() == 130
            assert "Traceback" not in terminal.seen
        lease.renew()


def test_whoever_took_it_while_the_question_stood_is_left_alone(
    coordkit: Program, session: Session
) -> None:
    lock = session.lock("x", ttl=60)
    before = lock.acquire()
    with coordkit.terminal(*BREAK) as terminal:
        terminal.see("[y/N]")
        before.release()
        with lock.acquire() as after:
            terminal.type("y\n")
            assert terminal.end() == 75
            assert f"meanwhile x is held by {session.identity}" in terminal.seen
            after.renew()


def test_it_asks_nothing_about_a_free_lock(coordkit: Program) -> None:
    with coordkit.terminal(*BREAK) as terminal:
        assert terminal.end() == 1
        assert terminal.seen == "x is free\r\n"


# -- completion --------------------------------------------------------------------------------


def complete(program: Program, *words: str) -> list[str]:
    """Return what bash would offer for the last of *words*."""
    env = {
        "_COORDKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": shlex.join(["coordkit", *words]),
        "COMP_CWORD": str(len(words)),
    }
    ran = program.run(env=env)
    assert (ran.code, ran.err) == (0, "")
    return [line.partition(",")[2] for line in ran.out.splitlines() if line]


def test_names_of_held_locks_are_completed(coordkit: Program, session: Session) -> None:
    with session.lock("invoices").acquire(), session.lock("orders").acquire():
        assert complete(coordkit, "lock", "show", "inv") == ["invoices"]
        assert complete(coordkit, "lock", "break", "") == ["invoices", "orders"]
        elsewhere = ("--namespace", "other", "lock", "show", "")
        assert complete(coordkit, *elsewhere) == []


def test_a_command_to_run_is_completed_as_files_are(
    coordkit: Program, session: Session
) -> None:
    with session.lock("invoices").acquire():
        assert complete(coordkit, "lock", "run", "inv") == ["invoices"]
        assert complete(coordkit, "lock", "run", "x", "--", "./b") == ["./b"]
        env = {
            "_COORDKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": "coordkit lock run x ./b",
            "COMP_CWORD": "4",
        }
        assert coordkit.run(env=env).out == "file,./b\n"


def test_the_documented_line_sets_completion_up(coordkit: Program) -> None:
    shown = coordkit.run("--help").out
    assert 'Completion: eval "$(_COORDKIT_COMPLETE=bash_source coordkit)"' in shown
    ran = coordkit.run(env={"_COORDKIT_COMPLETE": "bash_source"})
    assert ran.code == 0
    assert "complete -o nosort -F _coordkit_completion coordkit" in ran.out


def test_no_name_that_would_upset_a_shell_is_completed(
    coordkit: Program, session: Session
) -> None:
    with session.lock("a\u202eb").acquire(), session.lock("a b").acquire():
        assert complete(coordkit, "lock", "show", "a") == ["a b"]


def test_completion_is_silent_where_there_is_no_server(program: Program) -> None:
    program.env["COORDKIT_URL"] = "redis://127.0.0.1:1/0"
    assert complete(program, "lock", "show", "") == []
    assert complete(program, "lock", "sh") == ["show"]
