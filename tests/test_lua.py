"""
The Lua scripts: each header says what its body does, and the body does what it may.

That the core knows every word they answer is shown in `core.test_answers`.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from coordkit._core import lock
from coordkit._core.keys import lock_keys
from coordkit._core.lock import acquire_call, release_call
from coordkit._core.ops import Call
from core.lua import SCRIPTS, Script, place
from core.props import RID, a_claim
from support.servers import RedisServer

LONGEST = 128

#: Every command a script may use, and the Redis that brought it, or brought the newest
#: of what we use of it.  6.2 is the oldest Redis that we serve.
COMMANDS = {
    "DEL": "1.0.0",
    "EXISTS": "3.0.3",  # several keys
    "GET": "1.0.0",
    "HDEL": "2.4.0",  # several fields
    "HEXISTS": "2.0.0",
    "HGET": "2.0.0",
    "HGETALL": "2.0.0",
    "HINCRBY": "2.0.0",
    "HLEN": "2.0.0",
    "HMGET": "2.0.0",
    "HSET": "4.0.0",  # several fields
    "INCR": "1.0.0",
    "LPUSH": "1.0.0",
    "LRANGE": "1.0.0",
    "LSET": "1.0.0",
    "LTRIM": "1.0.0",
    "PERSIST": "2.2.0",
    "PEXPIRE": "2.6.0",
    "PTTL": "2.6.0",
    "PUBLISH": "2.0.0",
    "RENAME": "1.0.0",
    "SET": "6.2.0",  # GET
    "STRLEN": "2.2.0",
    "TIME": "2.6.0",
    "TYPE": "1.0.0",
    "UNLINK": "4.0.0",
    "XADD": "5.0.0",
    "XLEN": "5.0.0",
    "XRANGE": "6.2.0",  # from an id on, exclusive
    "ZADD": "3.0.2",  # NX
    "ZCARD": "1.2.0",
    "ZCOUNT": "2.0.0",
    "ZRANGE": "1.2.0",
    "ZRANGEBYSCORE": "1.0.5",
    "ZRANK": "2.0.0",
    "ZREM": "2.4.0",  # several members
    "ZREMRANGEBYSCORE": "1.2.0",
    "ZREVRANGE": "1.2.0",
    "ZSCORE": "1.2.0",
}
OLDEST = (6, 2, 0)
#: The words of a command's arguments that are options, not data.
OPTIONS = {"PX", "GET", "NX", "WITHSCORES", "LIMIT", "MAXLEN", "COUNT"}
#: What a script may use besides its locals: the same in Lua 5.1 and 5.4.
GLOBALS = {
    *("KEYS", "ARGV", "redis"),
    *("ipairs", "math", "pairs", "pcall", "string", "table", "tonumber", "type"),
    "unpack",  # of 5.1, asked for where there is no `table.unpack`
}
KEYLESS = {"TIME", "PUBLISH"}
SEVERAL_KEYS = {"DEL", "EXISTS", "RENAME", "UNLINK"}

each_script = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
each_table = pytest.mark.parametrize("table", ["KEYS", "ARGV"])


# -- the header --------------------------------------------------------------------


@each_script
def test_header_names_the_file_and_has_one_sentence_of_purpose(script: Script) -> None:
    purpose = re.fullmatch(r"-- (\w+): ([^.]+)\.", script.header[0])
    assert purpose, script.header[0]
    assert purpose[1] == script.name
    assert script.header[1] == "--"


@each_script
@each_table
def test_header_describes_exactly_what_the_body_uses(
    script: Script, table: str
) -> None:
    used = set(re.findall(rf"{table}\[([^\]]+)\]", script.body))
    assert set(script.described(table)) == used


@each_script
@each_table
def test_what_is_described_is_counted_without_a_gap(script: Script, table: str) -> None:
    """Those of one thing, of which there may be many, come last: a stride of so many."""
    places = [place(index) for index in script.described(table)]
    many = [stride for stride, _ in places if stride]
    assert set(many) <= {len(many)}
    assert [stride for stride, _ in places] == [0] * (len(places) - len(many)) + many
    assert [first for _, first in places] == list(range(1, len(places) + 1))


@each_script
def test_header_tells_exactly_the_words_that_are_answered(script: Script) -> None:
    assert script.returns
    assert script.told() <= script.answers() <= script.told(with_others=True)


@each_script
def test_who_publishes_is_told_where_to(script: Script) -> None:
    publishes = any(command == "PUBLISH" for command, _ in script.calls())
    told = {"wake", "channel"} & set(script.described("ARGV").values())
    assert publishes is bool(told)


# -- the body ----------------------------------------------------------------------


@each_script
def test_script_is_short(script: Script) -> None:
    assert len(script.source.splitlines()) <= LONGEST


@each_script
def test_only_commands_of_redis_6_2_are_used(script: Script) -> None:
    calls = list(script.calls())
    assert script.body.count("redis.") == len(calls), "redis.call, and nothing else"
    used = {command for command, _ in calls}
    assert used <= set(COMMANDS), "list it, with the Redis that brought it"
    options = {
        option
        for _, arguments in calls
        for option in re.findall(r"'([A-Z]+)'", " ".join(arguments))
    }
    assert options <= OPTIONS, "when did it come?"


def test_no_command_is_listed_in_vain_or_too_new() -> None:
    used = {command for script in SCRIPTS.values() for command, _ in script.calls()}
    assert set(COMMANDS) == used
    assert all(version(since) <= OLDEST for since in COMMANDS.values())


@each_script
def test_every_key_is_one_of_keys(script: Script) -> None:
    """No key is computed inside a script: a cluster could not route it."""
    for command, arguments in script.calls():
        if command not in KEYLESS:
            keys = arguments if command in SEVERAL_KEYS else arguments[:1]
            assert set(keys) <= keys_and_names_of(script), (command, arguments)


def keys_and_names_of(script: Script) -> set[str]:
    """``KEYS[…]`` in all its forms, and the locals that stand for one."""
    found = set(re.findall(r"KEYS\[[^\]]+\]", script.body))
    for names, values in re.findall(r"local ([\w, ]+) = (.+)", script.body):
        pairs = zip(names.split(", "), values.split(", "), strict=False)
        found |= {name for name, value in pairs if value in found}
    for name, values in re.findall(r"for _, (\w+) in ipairs\(\{(.+?)\}\)", script.body):
        found |= {name} if set(values.split(", ")) <= found else set()
    return found


@each_script
def test_tokens_are_written_digit_by_digit(script: Script) -> None:
    for spoiler in ("tostring", "cjson", "%d", "%g"):
        assert spoiler not in script.body.replace("%d+", "")  # which is a pattern
    for value in re.findall(r"\btoken = (?!=)(.+)", script.body):
        assert value.startswith(("string.format('%.0f', ", "tonumber(ARGV[")), value


# -- the interpreter ---------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["lua51", "lua54"])
def test_they_compile_in_both_dialects(dialect: str) -> None:
    """
    Redis runs 5.1; 5.4 is for the others, and it forgives less.

    In a process of its own: two dialects loaded into one have crashed it.
    """
    program = f"""
import json, sys
from lupa import {dialect} as lua
load = lua.LuaRuntime().eval("function(text) return (loadstring or load)(text) end")
for name, source in json.load(sys.stdin).items():
    loaded = load(source)
    assert not isinstance(loaded, tuple), (name, loaded[1])
"""
    sources = json.dumps({name: script.source for name, script in SCRIPTS.items()})
    ran = subprocess.run(
        [sys.executable, "-c", program],
        input=sources,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@each_script
def test_no_global_is_assigned_and_none_is_read_undeclared(script: Script) -> None:
    reads, writes = script.globals()
    assert writes == set()
    assert reads <= GLOBALS
    assert "redis" in reads


def test_the_reader_of_bytecode_sees_globals_wherever_they_are() -> None:
    source = """
        local one = redis
        local function f(x) g = one; return function() return h[x], one end end
        for k in pairs(KEYS) do local i, j = 1.5, true; k = i end
    """
    assert Script("", source).globals() == ({"redis", "pairs", "KEYS", "h"}, {"g"})


# -- the core ----------------------------------------------------------------------


def names_used() -> Iterator[str]:
    """Every script that the core names, in a `Call` or a `Renewal`."""
    for path in Path(lock.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            match node.func, node.args[0]:
                case ast.Name("Call" | "Renewal"), ast.Constant(str(name)):
                    yield name
                case ast.Name("Call"), ast.JoinedStr([_, ast.Constant(str(verb))]):
                    yield from (kind + verb for kind in ("lock", "share"))
                case _:
                    pass  # no script, or one that a renewal has named


def test_the_core_names_every_script_and_no_other() -> None:
    assert set(names_used()) == set(SCRIPTS)


# -- a real server -----------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with RedisServer() as server, server.client(protocol=3) as client:
        yield client


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@each_script
def test_it_loads(client: redis.Redis, script: Script) -> None:
    assert len(str(client.script_load(script.source))) == 40


def test_commands_came_when_we_say(client: redis.Redis) -> None:
    """The server knows since when there is a command; of its options we say so."""
    if version(str(client.info()["redis_version"])) < (7, 0):
        pytest.skip("COMMAND DOCS came with Redis 7.0")
    for name, said in COMMANDS.items():
        # In one string, or redis-py reads the answer as one to COMMAND.
        docs: Any = client.execute_command(f"COMMAND DOCS {name}")
        since: bytes = docs[name.lower().encode()][b"since"]
        assert version(since.decode()) <= version(said), name


def ask(client: redis.Redis, call: Call) -> list[Any]:
    source, keys = SCRIPTS[call.script].source, call.keys
    answer: Any = client.eval(source, len(keys), *keys, *call.args)
    assert isinstance(answer, list)
    return answer


@pytest.mark.parametrize("last", [2**53 - 1000, 9_007_199_254_740_001, 10**15 * 9 + 1])
@pytest.mark.parametrize("shared", [False, True])
def test_large_tokens_keep_every_digit(
    client: redis.Redis, shared: bool, last: int
) -> None:
    """The clock of the store is behind: tokens go on from the last one, by one."""
    client.flushall()
    claim = a_claim(shared=shared)
    client.set(claim.keys.fence, last)
    first = ask(client, acquire_call(claim, RID, queue=False))
    assert first == [b"taken", str(last + 1).encode()]
    assert client.get(claim.keys.fence) == first[1]
    assert ask(client, acquire_call(claim, RID, queue=False)) == first, "a replay"


def test_a_token_that_is_handed_over_keeps_every_digit(client: redis.Redis) -> None:
    client.flushall()
    claim, waiter = a_claim(), "w" * 32 + "x"
    client.set(claim.keys.fence, 2**53 - 1000)
    ask(client, acquire_call(claim, RID, queue=False))
    busy = ask(client, acquire_call(claim, waiter, queue=True))
    with client.pubsub() as wakes:
        wakes.subscribe("ck:1:ns:wake:" + waiter[:16])
        wakes.get_message(timeout=5)
        ask(client, release_call(claim, RID, 1000))
        message: Any = wakes.get_message(timeout=5)
    token = str(2**53 - 998)
    assert message["data"].decode() == f"{waiter} {token} {busy[3]}"
    keys = lock_keys("ns", "jobs")
    assert client.hget(keys.lock, "token") == client.get(keys.fence) == token.encode()


def test_a_token_is_the_time_in_microseconds(client: redis.Redis) -> None:
    client.flushall()
    before = ask_time(client)
    token = int(ask(client, acquire_call(a_claim(), RID, queue=False))[1])
    assert before <= token <= ask_time(client)


def ask_time(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1_000_000 + int(micros)
