"""`coordkit counter`, `ids` and `fence`, alone and in a command under `lock run`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.program import Program, Ran
from coordkit import Session
from support.servers import RedisServer, free_port

LEAST, MOST = -(2**63), 2**63 - 1
TOKEN = "COORDKIT_FENCING_TOKEN"


def said(program: Program, *words: str, env: dict[str, str] | None = None) -> str:
    """Return what it answered, without the newline."""
    ran = program.run(*words, env=env)
    assert (ran.code, ran.err) == (0, ""), ran
    return ran.out.removesuffix("\n")


# -- counter ---------------------------------------------------------------------------


def test_add_get_and_set(coordkit: Program, session: Session) -> None:
    assert said(coordkit, "counter", "get", "orders") == "0"
    assert said(coordkit, "counter", "add", "orders") == "1"
    assert said(coordkit, "counter", "add", "orders", "41") == "42"
    assert said(coordkit, "counter", "add", "orders", "-50") == "-8"
    assert said(coordkit, "counter", "get", "orders") == "-8"
    assert said(coordkit, "counter", "set", "orders", "-7") == "-8", "what it was"
    assert session.counter("orders").value() == -7
    assert said(coordkit, "counter", "add", "orders", str(MOST)) == str(MOST - 7)
    assert said(coordkit, "counter", "get", "orders") == str(MOST - 7)
    assert said(coordkit, "counter", "set", "orders", str(LEAST)) == str(MOST - 7)


def test_counters_in_json(coordkit: Program, session: Session) -> None:
    def told(*words: str) -> dict[str, object]:
        (record,) = coordkit.run("counter", *words, "--json").objects
        return record

    head = {"v": 1, "name": "x"}
    assert told("add", "x", "5") == {**head, "value": 5, "added": 5}
    assert told("get", "x") == {**head, "value": 5}
    assert told("set", "x", "9") == {**head, "value": 9, "before": 5}
    session.counter("x").add(1, token=7)
    assert told("list") == {**head, "value": 10, "shards": 1, "token": 7}


def test_list(coordkit: Program, session: Session) -> None:
    assert said(coordkit, "counter", "list") == ""
    session.counter("orders").add(5, token=7)
    session.counter("hits\u202e", shards=4).add(-3)
    assert said(coordkit, "counter", "list").splitlines() == [
        "hits\\u202e  -3  4  -",
        "orders      5   1  7",
    ]
    with coordkit.terminal("counter", "list") as terminal:
        shown = terminal.see("orders")
        assert terminal.end() == 0
    assert "NAME" in shown


def test_bounds_are_answered_no(coordkit: Program, session: Session) -> None:
    session.counter("stock").set(3)
    ran = coordkit.run("counter", "add", "stock", "-4", "--at-least", "0")
    assert "'stock' stands at 3: adding -4 would leave 0 to" in ran.refused(1)
    assert said(coordkit, "counter", "add", "stock", "-3", "--at-least", "0") == "0"
    ran = coordkit.run("counter", "add", "stock", "--at-most=0")
    ran.refused(1)
    session.counter("stock").set(MOST)
    assert str(MOST) in coordkit.run("counter", "add", "stock").refused(1)


def test_a_request_with_an_id_counts_once(coordkit: Program) -> None:
    for _ in range(3):
        assert said(coordkit, "counter", "add", "x", "5", "--rid", "message 7") == "5"
    assert said(coordkit, "counter", "get", "x") == "5"


def test_shards(coordkit: Program, session: Session) -> None:
    for _ in range(3):
        coordkit.run("counter", "add", "hits", "2", "--shards", "4")
    assert said(coordkit, "counter", "get", "hits") == "6"
    assert said(coordkit, "counter", "set", "hits", "1") == "6"
    said(coordkit, "counter", "add", "hits")
    assert session.counter("hits", shards=4).value() == 2
    ran = coordkit.run("counter", "add", "hits", "--shards", "8")
    assert "has 4 shards, not 8" in ran.refused(78)
    ran = coordkit.run("counter", "add", "hits", "--token", "7")
    assert "a token or a bound cannot be checked" in ran.refused(78)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add",), "Missing argument 'NAME'"),
        (("add", "x", "five"), "'five' is no integer"),
        (("add", "x", "1.5"), "'1.5' is no integer"),
        (("add", "x", "nan"), "'nan' is no integer"),
        (("add", "x", "1e3"), "'1e3' is no integer"),
        (("add", "x", ""), "'' is no integer"),
        (("add", "x", "9" * 60), "is no integer"),
        (("add", "x", str(MOST + 1)), f"is not between {LEAST} and {MOST}"),
        (("set", "x", str(LEAST - 1)), f"is not between {LEAST} and {MOST}"),
        (("set", "x"), "Missing argument 'N'"),
        (("add", "x", "1", "2"), "unexpected extra argument"),
        (("add", "--force"), "No such option"),
        (("add", "x", "--force"), "'--force' is no integer"),
        (("add", ""), "allowed are 1 to 512"),
        (("get", "a\nb"), "control character"),
        (("add", "x", "--at-least", "x"), "'x' is no integer"),
        (("add", "x", "--at-least", "2", "--at-most", "1"), "--at-least 2 is higher"),
        (("add", "x", "--token", "0"), "0 is not between 1 and"),
        (("add", "x", "--token", "-1"), "-1 is not between 1 and"),
        (("add", "x", "--token", "1.5"), "'1.5' is no integer"),
        (("add", "x", "--rid", ""), "rid '' is 0 bytes long"),
        (("add", "x", "--shards", "0"), "0 is not between 1 and 256"),
        (("add", "x", "--shards", "4", "--at-most", "9"), "--shards goes with neither"),
        (("add", "x", "--shards", "4", "--token", "9"), "--shards goes with neither"),
    ],
)
def test_wrong_words_are_64(
    coordkit: Program, session: Session, words: tuple[str, ...], told: str
) -> None:
    assert told in coordkit.run("counter", *words).refused(64)
    assert session.counters() == []


def test_a_token_of_the_environment_that_is_none(coordkit: Program) -> None:
    for wrong in ("x", "0", "1.5", str(2**53 + 1)):
        env = {TOKEN: wrong}
        assert TOKEN in coordkit.run("counter", "add", "x", env=env).refused(64)
        assert TOKEN in coordkit.run("fence", "check", "x", env=env).refused(64)


def test_a_key_of_another_kind_is_78(
    coordkit: Program, session: Session, server: RedisServer
) -> None:
    session.counter("x").add(1)
    with server.client() as client:
        (key,) = client.keys("*:counter:x")
        client.set(key, "foreign")
    for words in (("counter", "add", "x"), ("counter", "get", "x")):
        coordkit.run(*words).refused(78)


def test_nobody_answers(program: Program) -> None:
    program.env["COORDKIT_URL"] = f"redis://127.0.0.1:{free_port()}"
    for words in (
        ("counter", "add", "x"),
        ("counter", "list"),
        ("ids", "next", "x"),
        ("fence", "check", "x", "--token", "7"),
        ("fence", "get", "x", "field"),
    ):
        assert "is it running?" in program.run(*words).refused(69)


# -- ids -------------------------------------------------------------------------------


def test_ids(coordkit: Program, session: Session) -> None:
    assert said(coordkit, "ids", "next", "invoice") == "1"
    assert said(coordkit, "ids", "next", "invoice", "-n", "3") == "2\n3\n4"
    assert said(coordkit, "ids", "next", "invoice", "--start", "100") == "100"
    assert next(session.ids("invoice", block=1)) == 101
    ran = coordkit.run("ids", "next", "invoice", "-n", "2", "--json")
    assert ran.objects == [
        {"v": 1, "name": "invoice", "id": 102},
        {"v": 1, "name": "invoice", "id": 103},
    ]


@pytest.mark.parametrize(
    "words", [("-n", "0"), ("-n", "x"), ("-n", "1000001"), ("--start", "0"), ("-5",)]
)
def test_wrong_ids(coordkit: Program, words: tuple[str, ...]) -> None:
    coordkit.run("ids", "next", "invoice", *words).refused(64)


# -- fence -----------------------------------------------------------------------------


def test_a_fence(coordkit: Program, session: Session) -> None:
    assert coordkit.run("fence", "check", "x", "--token", "7") == (0, "", "")
    assert coordkit.run("fence", "check", "x", "--token", "7") == (0, "", "")
    ran = coordkit.run("fence", "check", "x", "--token", "6")
    assert ran.refused(1) == "coordkit: token 6 for 'x' is stale: 7 was seen already\n"
    set_ = ("fence", "set", "x", "cursor")
    assert coordkit.run(*set_, "42", "--token", "8") == (0, "", "")
    coordkit.run(*set_, "41", "--token", "7").refused(1)
    assert said(coordkit, "fence", "get", "x", "cursor") == "42"
    assert session.fence("x").seen() == 8
    ran = coordkit.run("fence", "get", "x", "nothing")
    assert ran.refused(1) == "coordkit: nothing was written to nothing of x\n"


def test_a_fence_in_json(coordkit: Program, session: Session) -> None:
    def told(*words: str) -> tuple[int, dict[str, object]]:
        ran = coordkit.run("fence", *words, "--json")
        assert ran.err == ""
        return ran.code, json.loads(ran.out)

    head = {"v": 1, "name": "x"}
    seen = {**head, "token": 7, "admitted": True, "seen": 7}
    assert told("check", "x", "--token", "7") == (0, seen)
    stale = {**head, "token": 6, "admitted": False, "seen": 7}
    assert told("check", "x", "--token", "6") == (1, stale)
    written = {**head, "field": "f", "token": 7, "written": True}
    assert told("set", "x", "f", "é", "--token", "7") == (0, written)
    assert told("get", "x", "f") == (0, {**head, "field": "f", "value": "é"})
    session.fence("x").set("f", b"\xff\x00", token=7)
    coded = {**head, "field": "f", "value": None, "base64": "/wA="}
    assert told("get", "x", "f") == (0, coded)
    assert told("get", "x", "g") == (1, {**head, "field": "g", "value": None})


def test_values_are_bytes(coordkit: Program, session: Session) -> None:
    every = bytes(range(256))
    argv = [*coordkit.argv, "fence", "set", "x", "f", "-", "--token", "7"]
    subprocess.run(
        argv, input=every, check=True, env=coordkit.env, cwd=coordkit.directory
    )
    assert session.fence("x").get("f") == every
    done = subprocess.run(
        [*coordkit.argv, "fence", "get", "x", "f"],
        capture_output=True,
        check=True,
        env=coordkit.env,
        cwd=coordkit.directory,
    )
    assert done.stdout == every + b"\n"


def test_a_terminal_is_shown_no_escape_sequence(
    coordkit: Program, session: Session
) -> None:
    session.fence("x").set("f", b"\x1b[31mred\xff", token=7)
    with coordkit.terminal("fence", "get", "x", "f") as terminal:
        assert "\\x1b[31mred\\xff" in terminal.see("red")
        assert terminal.end() == 0


def test_a_value_may_end(
    coordkit: Program, server: RedisServer, session: Session
) -> None:
    set_ = ("fence", "set", "x", "f", "v", "--token", "7")
    assert coordkit.run(*set_, "--ttl", "1h").code == 0
    with server.client() as client:
        assert 3_590_000 < int(client.pttl(client.keys("*:value:x:f")[0])) <= 3_600_000
    for ttl in ("0", "-1", "400d", "soon"):
        coordkit.run(*set_, "--ttl", ttl).refused(64)


def test_wrong_words_of_a_fence(coordkit: Program, session: Session) -> None:
    for words, told in (
        (("check", "x"), "Missing option '--token'"),
        (("check", "x", "--token", "0"), "0 is not between 1 and"),
        (("set", "x", "", "v", "--token", "7"), "field '' is 0 bytes long"),
        (("set", "x", "a\nb", "v", "--token", "7"), "field"),
        (("get", "x"), "Missing argument 'FIELD'"),
    ):
        assert told in coordkit.run("fence", *words).refused(64)
    ran = coordkit.run(
        *("fence", "set", "x", "f", "-", "--token", "7"), stdin="x" * 65_537
    )
    assert "the value is 65537 bytes long; allowed are 65536" in ran.refused(64)
    assert session.fence("x").seen() == 0


# -- in a command under a lease ----------------------------------------------------------


@pytest.fixture
def shop(program: Program, session: Session, server: RedisServer) -> Iterator[Session]:
    """A session where `coordkit` works by a file, which its children read, too."""
    (program.directory / "coordkit.toml").write_text(
        f"url = '{server.url}'\nnamespace = 'shop'"
    )
    with Session(server.url, namespace="shop") as shop:
        yield shop


def under(program: Program, script: str, lock: str = "job") -> Ran:
    """Run a script under a lock; it finds `coordkit`."""
    me = f"{sys.executable} -m coordkit_cli"
    return program.run(
        *(
            "lock",
            "run",
            lock,
            "--",
            "sh",
            "-ec",
            f'coordkit() {{ {me} "$@"; }}; {script}',
        )
    )


def test_a_command_under_a_lease_needs_no_option(
    program: Program, shop: Session
) -> None:
    script = (
        "coordkit counter add done 5; coordkit counter set last 7; "
        "coordkit fence check ledger; coordkit fence set ledger by me; "
        "coordkit fence get ledger by; coordkit ids next invoice"
    )
    ran = under(program, script)
    assert ran == (0, "5\n0\nme\n1\n", "")
    tokens = {info.name: info.seen for info in shop.counters()}
    assert tokens["done"] == tokens["last"] == shop.fence("ledger").seen() > 10**15


def test_a_command_of_an_older_holder_is_refused(
    program: Program, shop: Session
) -> None:
    token = int(under(program, f"echo ${TOKEN}").out)
    shop.counter("done").add(1, token=token + 10**12)
    shop.fence("ledger").check(token + 10**12)
    for words in (
        "counter add done",
        "counter set done 7",
        "fence check ledger",
        "fence set ledger by me",
    ):
        ran = under(program, f"coordkit {words}")
        assert ran.code == 1, words
        assert "is stale" in ran.err
    assert under(program, "coordkit counter add done --unfenced").out == "2\n"
    ran = under(program, "coordkit counter add hits --shards 4")
    assert ran.code == 64
    ran = under(program, "coordkit counter add hits --shards 4 --unfenced")
    assert ran.code == 0
    assert shop.counter("hits").value() == 1


def test_the_namespace_is_that_of_the_guard(
    coordkit: Program, server: RedisServer
) -> None:
    me = f"{sys.executable} -m coordkit_cli"
    with Session(server.url, namespace="other") as session:
        ran = coordkit.run(
            *("lock", "run", "--pass-url", "--namespace", "other"),
            *("job", "--", "sh", "-c", f"{me} counter add done"),
        )
        assert ran == (0, "1\n", "")
        assert session.counter("done").value() == 1


def test_names_are_completed(coordkit: Program, session: Session) -> None:
    session.counter("orders").add(1)
    session.counter("hits").add(1)
    env = {
        "_COORDKIT_COMPLETE": "bash_complete",
        "COMP_WORDS": "coordkit counter get o",
        "COMP_CWORD": "3",
    }
    assert coordkit.run(env=env).out == "plain,orders\n"
