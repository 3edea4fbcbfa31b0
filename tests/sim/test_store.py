"""The simulated Redis answers as a real one does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.store import ScriptBug, ServerError, Store
from support.servers import RedisServer

NOW = 1_700_000_000_123_456

Words: TypeAlias = tuple[str, ...]

# Runs the commands in ARGV (a count, then that many words, again and again).
REPLAY = """
redis.call('FLUSHALL')
local replies, at = {}, 1
while at <= #ARGV do
  local words = {}
  for i = 1, tonumber(ARGV[at]) do words[i] = ARGV[at + i] end
  at = at + #words + 1
  local reply = redis.pcall(unpack(words))
  if type(reply) == 'table' and reply.ok then reply = {'status', reply.ok} end
  if type(reply) == 'table' and reply.err then
    reply = {'error', string.match(reply.err, '^%S+')}
  end
  if type(reply) == 'number' then reply = string.format('%.17g', reply) end
  replies[#replies + 1] = {type(reply), reply}
end
return replies
"""

KEYS = ("a", "b", "c")
key = st.sampled_from(KEYS)
name = st.sampled_from(["", "m", "n", "o\nx"])
text = st.sampled_from(["", "0", "1", "-3", "01", "+1", " 1", "abc", str(2**63 - 1)])
count = st.sampled_from(["-9", "-2", "-1", "0", "1", "2", "9", "x"])
ttl = st.sampled_from(["-1", "0", "1", "60000", "70000", "1e3"])
score = st.sampled_from(
    ["0", "-0.5", "1", "2.5", "inf", "+inf", "-inf", "nan", "1_0", "1700000000123456"]
)
bound = score | score.map("({}".format)
LAST = f"{2**64 - 1}-{2**64 - 1}"
place = st.sampled_from(
    ["0-0", "0-1", "1-0", "1-7", "2", "3-9", "x", "1-x", "", "1-2-3", LAST]
)
place_or_end = place | place.map("({}".format) | st.sampled_from(["-", "+"])


def _command(word: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Words]:
    """One command; a part draws a word, or a tuple of words."""
    return st.tuples(*parts).map(
        lambda drawn: (
            word,
            *(w for p in drawn for w in ((p,) if type(p) is str else p)),
        )
    )


def _some(*parts: st.SearchStrategy[str], least: int = 1) -> st.SearchStrategy[Words]:
    """*parts*, repeated one to three times (from *least*)."""
    return st.lists(st.tuples(*parts), min_size=least, max_size=3).map(
        lambda drawn: tuple(word for group in drawn for word in group)
    )


def _options(*options: str) -> st.SearchStrategy[Words]:
    """Up to three of the *options*, each of which may be several words."""
    words = [option.split() for option in options]
    return st.lists(st.sampled_from(words), max_size=3).map(
        lambda drawn: tuple(word for group in drawn for word in group)
    )


COMMAND = st.one_of(
    _command("EXISTS", _some(key)),
    _command("DEL", _some(key)),
    _command("TYPE", key),
    _command("PTTL", key),
    _command("PERSIST", key),
    _command("PEXPIRE", key, ttl, _options("NX", "xx", "GT", "LT", "no")),
    _command("GET", key),
    _command(
        "SET",
        key,
        text,
        _options(
            "NX", "xx", "GET", "KEEPTTL", "PX 60000", "EX 65", "px 0", "EX x", "PX"
        ),
    ),
    _command("STRLEN", key),
    _command("INCR", key),
    _command("INCRBY", key, text),
    _command("HGET", key, name),
    _command("HMGET", key, _some(name)),
    _command("HSET", key, _some(name, text)),
    _command("HDEL", key, _some(name)),
    _command("HEXISTS", key, name),
    _command("HGETALL", key),
    _command("HLEN", key),
    _command("HINCRBY", key, name, text),
    _command("LPUSH", key, _some(name)),
    _command("LRANGE", key, count, count),
    _command("LTRIM", key, count, count),
    _command("LSET", key, count, name),
    _command("ZADD", key, _options("NX", "XX", "gt", "LT"), _some(score, name)),
    _command("ZADD", key, _some(score, name)),
    _command("ZREM", key, _some(name)),
    _command("ZSCORE", key, name),
    _command("ZRANK", key, name),
    _command("ZCARD", key),
    _command("ZCOUNT", key, bound, bound),
    _command("ZRANGE", key, count, count, _options("REV", "WITHSCORES", "LIMIT 0 1")),
    _command(
        "ZRANGE",
        key,
        bound,
        bound,
        st.just(("BYSCORE",)),
        _options("REV", "withscores", "LIMIT 0 1", "LIMIT 1 -1", "LIMIT -1 2"),
    ),
    _command("ZREVRANGE", key, count, count, _options("WITHSCORES", "REV")),
    _command(
        "ZRANGEBYSCORE",
        key,
        bound,
        bound,
        _options("WITHSCORES", "LIMIT 0 2", "LIMIT 1 x", "LIMIT 1"),
    ),
    _command("ZREMRANGEBYSCORE", key, bound, bound),
    _command("ZPOPMIN", key, st.just(()) | st.tuples(count)),
    _command(
        "XADD", key, st.just(("MAXLEN", "2")) | st.just(()), place, _some(name, text)
    ),
    _command("XLEN", key),
    _command("XRANGE", key, place_or_end, place_or_end),
    _command("XRANGE", key, place, st.just("+"), st.just(("COUNT", "2"))),
    _command("PUBLISH", name, text),
    _command("FLUSHALL"),
)


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    with RedisServer() as started, started.client() as client:
        yield client


def outcome(run: Any) -> Any:
    """What *run* returns, or the code of the error that the server answers."""
    try:
        return run()
    except (redis.ResponseError, ServerError) as error:
        return "error", str(error).removeprefix("ERR ").split()[0]


def simulated(source: str, args: list[str]) -> Any:
    store = Store({"it": source}, clock=lambda: NOW)
    return outcome(lambda: store.run("it", KEYS, args))


def real(server: redis.Redis, source: str, args: list[str]) -> Any:
    return outcome(lambda: server.eval(source, len(KEYS), *KEYS, *args))


@settings(max_examples=300)
@given(commands=st.lists(COMMAND, min_size=1, max_size=25))
def test_commands_answer_as_the_servers(
    server: redis.Redis, commands: list[Words]
) -> None:
    args = [word for words in commands for word in (str(len(words)), *words)]
    expected = real(server, REPLAY, args)
    got = simulated(REPLAY, args)
    for words, wanted, is_ in zip(commands, expected, got, strict=True):
        assert is_ == wanted, words


@pytest.mark.parametrize(
    "source",
    [
        "return",
        "return nil",
        "return true",
        "return false",
        "return 'text'",
        "return 1.9",
        "return -1.9",
        "return 2^53",
        "return {}",
        "return {1, 'two', 3.5, true, false, 'six', {7, {8}}}",
        "return {1, nil, 3}",
        "return {ok = 'FINE'}",
        "return {err = 'MY fault'}",
        "return redis.status_reply('FINE')",
        "return redis.error_reply('MY fault')",
        "return redis.error_reply('-MY fault')",
        "return redis.pcall('HGET', KEYS[1], 'x')",
        "redis.call('SET', KEYS[1], 1) return redis.pcall('HGET', KEYS[1], 'x')",
        "redis.call('SET', KEYS[1], 1) return redis.call('HGET', KEYS[1], 'x')",
        "redis.call('SET', KEYS[1], 1) return {pcall(redis.call, 'HLEN', KEYS[1])}",
        "redis.call('SET', KEYS[1], 1.5) return redis.call('GET', KEYS[1])",
        "redis.call('SET', KEYS[1], 3) return redis.call('GET', KEYS[1])",
        "redis.call('set', KEYS[1], 2^53) return redis.call('Get', KEYS[1])",
        "redis.call('SET', KEYS[1], 1700000000123456) return redis.call('GET', KEYS[1])",
        "return redis.call('INCRBY', KEYS[1], 2) + 0.5",
        "return type(redis.call('GET', KEYS[1]))",
        "return redis.call('SET', KEYS[1], 'x').ok",
        "return {redis.call('SET', KEYS[1], 'x', 'NX'), redis.call('TYPE', KEYS[1])}",
        "return redis.call('HMGET', KEYS[1], 'x', 'y')",
        "redis.call('XADD', KEYS[1], '1-2', 'x', 'y') return redis.call('XRANGE', KEYS[1], 0, '+')",
        "return #redis.call('TIME')",
        "return {#KEYS, #ARGV, KEYS[1], ARGV[1], ARGV[4]}",
        "return cjson.encode({1, 2.5, 'x', {a = true}})",
        'return cjson.decode(\'{"a": [1, {"b": "c"}]}\').a[2].b',
        "return redis.sha1hex('x')",
        """
        local ids = {}
        for i = 1, 3 do ids[i] = redis.call('XADD', KEYS[1], '*', 'n', i) end
        return {ids[1] < ids[3] or #ids[1] < #ids[3], redis.call('XLEN', KEYS[1])}
        """,
        """
        redis.call('XADD', KEYS[1], '9999999999999-5', 'n', 1)
        local id = redis.call('XADD', KEYS[1], '*', 'n', 2)
        return {id, redis.call('XRANGE', KEYS[1], '-', '+')[2][2][2]}
        """,
        "return {tostring(1e15), string.format('%.0f', 2^53), tonumber('1e3')}",
        "return string.rep('\\0\\255', 3)",
        "local t = {} for i = 1, 2000 do t[i] = i end return t",
        """
        for i = 1, 1500 do redis.call('ZADD', KEYS[1], i, 'm' .. i) end
        return #redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
        """,
    ],
)
def test_lua_sees_and_returns_what_it_would(server: redis.Redis, source: str) -> None:
    server.flushall()
    args = ["one", "two", ""]
    assert simulated(source, args) == real(server, source, args)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("return never", "nonexistent global variable 'never'"),
        ("never = 1", "readonly"),
        ("string.rep = nil", "readonly"),
        ("redis.call = nil", "readonly"),
        ("local x = nil return x.y", "attempt to index"),
        ("return pcall(function() return nil + 1 end)", "arithmetic"),
        ("error('no')", "no"),
        ("return (", "unexpected symbol"),
        ("redis.call('SADD', KEYS[1], 1)", "knows no command b'SADD'"),
        ("redis.call('GET')", "missing 1 required"),
        ("redis.call('GET', KEYS[1], 1, 2)", "takes 2 positional"),
        ("redis.call('SET', KEYS[1], nil)", "missing 1 required|strings and numbers"),
        ("redis.call('GET', true)", "strings and numbers"),
        ("redis.call('GET', 'ab')", "'ab' is not in KEYS"),
        ("return pcall(redis.call, 'GET', 'ab')", "'ab' is not in KEYS"),
        ("return redis.pcall('DEL', KEYS[1], 'ab')", "'ab' is not in KEYS"),
        ("redis.call('HSET', KEYS[1], 'x')", "fields and values"),
        ("return math.random()", "attempt to call"),
        ("return os.time()", "nonexistent global variable 'os'"),
    ],
)
def test_a_wrong_script_is_found_out_though_it_catches_its_error(
    source: str, says: str
) -> None:
    with pytest.raises(ScriptBug, match=says):
        simulated(source, [])
    assert simulated("return 1", []) == 1


def test_keys_end_once_their_instant_has_passed() -> None:
    clock = [NOW]
    store = Store(
        {"set": "redis.call('SET', KEYS[1], 'x', 'PX', ARGV[1])"},
        clock=lambda: clock[0],
    )
    store.run("set", ["a"], [10])
    store.run("set", ["b"], [1000])
    clock[0] += 10_000
    assert store.do("EXISTS", "a") == 1
    assert store.keys() == [b"a", b"b"]
    clock[0] += 1_000
    assert store.do("EXISTS", "a") == 0
    assert store.keys() == [b"b"]
    clock[0] = NOW  # the clock goes back: what is gone stays gone
    assert store.keys() == [b"b"]
    assert store.do("PTTL", "b") == 1000


def test_messages_are_recorded_and_counted_by_the_receiver() -> None:
    source = "return redis.call('PUBLISH', ARGV[1], ARGV[2])"
    assert Store({"say": source}).run("say", [], ["here", b"\xff"]) == 0
    store = Store({"say": source}, publish=lambda channel, message: 7)
    assert store.run("say", [], ["here", b"\xff"]) == 7
    assert store.published == [(b"here", b"\xff")]


def test_stores_share_nothing() -> None:
    one, other = Store({"it": "return {1}"}), Store({"it": "return {2}"})
    one.do("SET", "a", "x")
    assert other.keys() == []
    assert (one.run("it", [], []), other.run("it", [], [])) == ([1], [2])


def test_an_operator_may_do_anything() -> None:
    store = Store()
    assert store.do("HSET", "a", "field", 1) == 1
    assert store.do("TYPE", "a") == b"hash"
    with pytest.raises(ServerError, match="WRONGTYPE") as caught:
        store.do("GET", "a")
    assert caught.value.code == "WRONGTYPE"
    store.flush()
    assert store.keys() == []


def test_the_shipped_scripts_run() -> None:
    store = Store(clock=lambda: NOW)
    assert store.run("fence_check", ["guard"], [5]) == [b"admitted", b"5"]
    assert store.run("fence_check", ["guard"], [4]) == [b"stale", b"5"]
