"""
The commands a script may call: keys, strings, hashes, messages.

Each is a function of the `Keyspace` and the arguments, all ``bytes``, and returns what
Redis would reply: ``bytes``, ``int``, ``list``, `Status`, or None for nil.  What Redis
refuses is a `ServerError` with its very words.  `sim.zcommands` has the sorted sets,
`sim.lists` the lists, `sim.streams` the streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sim.keyspace import (
    Hash,
    Keyspace,
    ScriptBug,
    ServerError,
    Stream,
    ZSet,
    parse_int,
)


class Status(bytes):
    """A status reply, such as ``OK``; Lua sees it as ``{ok = …}``."""


Answer: TypeAlias = bytes | int | list[Any] | None
Command: TypeAlias = Callable[..., Answer]

OK = Status(b"OK")
SYNTAX = "ERR syntax error"
OVERFLOW = "ERR increment or decrement would overflow"


def time(db: Keyspace) -> Answer:
    """TIME"""
    seconds, micros = divmod(db.now_us, 1_000_000)
    return [b"%d" % seconds, b"%d" % micros]


def exists(db: Keyspace, *keys: bytes) -> Answer:
    """EXISTS key …"""
    return sum(db.live(key) is not None for key in keys)


def delete(db: Keyspace, *keys: bytes) -> Answer:
    """DEL key …"""
    return sum(db.live(key) is not None and db.drop(key) for key in keys)


def type_(db: Keyspace, key: bytes) -> Answer:
    """TYPE key"""
    names = {
        bytes: b"string",
        dict: b"hash",
        list: b"list",
        ZSet: b"zset",
        Stream: b"stream",
        type(None): b"none",
    }
    return Status(names[type(db.live(key))])


def flushall(db: Keyspace) -> Answer:
    """FLUSHALL"""
    db.clear()
    return OK


def pttl(db: Keyspace, key: bytes) -> Answer:
    """PTTL key"""
    if db.live(key) is None:
        return -2
    end = db.ends.get(key)
    return -1 if end is None else end - db.now_ms


def persist(db: Keyspace, key: bytes) -> Answer:
    """PERSIST key"""
    db.live(key)
    return int(db.ends.pop(key, None) is not None)


def pexpire(db: Keyspace, key: bytes, ttl: bytes, *flags: bytes) -> Answer:
    """PEXPIRE key ms [NX | XX | GT | LT]"""
    chosen = _expiry_flags(flags) if flags else flags
    end = db.now_ms + parse_int(ttl)
    if db.live(key) is None:
        return 0
    before = db.ends.get(key)
    if chosen and (
        (b"NX" in chosen and before is not None)
        or (b"XX" in chosen and before is None)
        or (b"GT" in chosen and (before is None or end <= before))
        or (b"LT" in chosen and before is not None and end >= before)
    ):
        return 0
    if end <= db.now_ms:
        db.drop(key)
    else:
        db.ends[key] = end
    return 1


def _expiry_flags(flags: tuple[bytes, ...]) -> tuple[bytes, ...]:
    chosen = tuple(flag.upper() for flag in flags)
    for flag in chosen:
        if flag not in (b"NX", b"XX", b"GT", b"LT"):
            raise ServerError(f"ERR Unsupported option {flag.decode()}")
    if b"NX" in chosen and set(chosen) != {b"NX"}:
        raise ServerError(
            "ERR NX and XX, GT or LT options at the same time are not compatible"
        )
    if {b"GT", b"LT"} <= set(chosen):
        raise ServerError("ERR GT and LT options at the same time are not compatible")
    return chosen


def get(db: Keyspace, key: bytes) -> Answer:
    """GET key"""
    return db.string(key)


def strlen(db: Keyspace, key: bytes) -> Answer:
    """STRLEN key"""
    return len(db.string(key) or b"")


def set_(db: Keyspace, key: bytes, value: bytes, *options: bytes) -> Answer:
    """SET key value [NX | XX] [GET] [EX s | PX ms | KEEPTTL]"""
    chosen, ttl = _set_options(options)
    end = None if ttl is None else db.now_ms + ttl
    old = db.string(key) if b"GET" in chosen else None
    there = db.live(key) is not None
    if (b"NX" in chosen and there) or (b"XX" in chosen and not there):
        return old
    db.data[key] = value
    if end is not None:
        db.ends[key] = end
    elif b"KEEPTTL" not in chosen:
        db.ends.pop(key, None)
    return old if b"GET" in chosen else OK


def _set_options(options: tuple[bytes, ...]) -> tuple[set[bytes], int | None]:
    """The options of SET by name, and the ttl in milliseconds."""
    chosen: set[bytes] = set()
    ttl = b""
    rest = iter(options)
    for option in rest:
        name = option.upper()
        if name in (b"EXAT", b"PXAT"):
            raise ScriptBug(f"the simulator knows no SET … {name.decode()}")
        if name not in (b"NX", b"XX", b"GET", b"EX", b"PX", b"KEEPTTL"):
            raise ServerError(SYNTAX)
        chosen.add(name)
        if name in (b"EX", b"PX"):
            following = next(rest, None)
            if following is None:
                raise ServerError(SYNTAX)
            ttl = following
    if {b"NX", b"XX"} <= chosen or len(chosen & {b"EX", b"PX", b"KEEPTTL"}) > 1:
        raise ServerError(SYNTAX)
    if not chosen & {b"EX", b"PX"}:
        return chosen, None
    number = parse_int(ttl)
    if number <= 0:
        raise ServerError("ERR invalid expire time in 'set' command")
    return chosen, number * (1000 if b"EX" in chosen else 1)


def incrby(db: Keyspace, key: bytes, step: bytes) -> Answer:
    """INCRBY key n"""
    add = parse_int(step)
    text = db.string(key)
    number = (0 if text is None else parse_int(text)) + add
    if not -(2**63) <= number < 2**63:
        raise ServerError(OVERFLOW)
    db.data[key] = b"%d" % number
    return number


def incr(db: Keyspace, key: bytes) -> Answer:
    """INCR key"""
    return incrby(db, key, b"1")


def hget(db: Keyspace, key: bytes, field: bytes) -> Answer:
    """HGET key field"""
    fields = db.hash(key)
    return fields.get(field) if fields else None


def hmget(db: Keyspace, key: bytes, first: bytes, *others: bytes) -> Answer:
    """HMGET key field …"""
    fields = db.hash(key) or {}
    return [fields.get(field) for field in (first, *others)]


def hset(db: Keyspace, key: bytes, *pairs: bytes) -> Answer:
    """HSET key field value …"""
    if not pairs or len(pairs) % 2:
        raise ScriptBug("HSET takes fields and values")
    fields = db.hash(key)
    if fields is None:
        db.data[key] = fields = {}
    before = len(fields)
    fields.update(zip(pairs[::2], pairs[1::2], strict=True))
    return len(fields) - before


def hdel(db: Keyspace, key: bytes, first: bytes, *others: bytes) -> Answer:
    """HDEL key field …"""
    fields = db.hash(key)
    if not fields:
        return 0
    gone = sum(fields.pop(field, None) is not None for field in (first, *others))
    if not fields:
        db.drop(key)
    return gone


def hexists(db: Keyspace, key: bytes, field: bytes) -> Answer:
    """HEXISTS key field"""
    return int(field in (db.hash(key) or {}))


def hgetall(db: Keyspace, key: bytes) -> Answer:
    """HGETALL key"""
    fields: Hash = db.hash(key) or {}
    return [part for pair in fields.items() for part in pair]


def hlen(db: Keyspace, key: bytes) -> Answer:
    """HLEN key"""
    return len(db.hash(key) or {})


def hincrby(db: Keyspace, key: bytes, field: bytes, step: bytes) -> Answer:
    """HINCRBY key field n"""
    add = parse_int(step)
    fields = db.hash(key)
    text = (fields or {}).get(field, b"0")
    number = parse_int(text, "ERR hash value is not an integer") + add
    if not -(2**63) <= number < 2**63:
        raise ServerError(OVERFLOW)
    if fields is None:
        db.data[key] = fields = {}
    fields[field] = b"%d" % number
    return number


def publish(db: Keyspace, channel: bytes, message: bytes) -> Answer:
    """PUBLISH channel message, and SPUBLISH"""
    return db.publish(channel, message)


COMMANDS: dict[bytes, Command] = {
    b"TIME": time,
    b"EXISTS": exists,
    b"DEL": delete,
    b"TYPE": type_,
    b"FLUSHALL": flushall,
    b"PTTL": pttl,
    b"PERSIST": persist,
    b"PEXPIRE": pexpire,
    b"GET": get,
    b"STRLEN": strlen,
    b"SET": set_,
    b"INCR": incr,
    b"INCRBY": incrby,
    b"HGET": hget,
    b"HMGET": hmget,
    b"HSET": hset,
    b"HDEL": hdel,
    b"HEXISTS": hexists,
    b"HGETALL": hgetall,
    b"HLEN": hlen,
    b"HINCRBY": hincrby,
    b"PUBLISH": publish,
    b"SPUBLISH": publish,
}
