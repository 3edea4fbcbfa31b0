"""The commands of lists that a script may call; see `sim.commands`."""

from __future__ import annotations

from sim.commands import OK, Answer, Command
from sim.keyspace import Keyspace, ServerError, parse_int

NO_INDEX = "ERR index out of range"
NO_KEY = "ERR no such key"


def lpush(db: Keyspace, key: bytes, first: bytes, *others: bytes) -> Answer:
    """LPUSH key element …"""
    items = db.list(key)
    if items is None:
        db.data[key] = items = []
    for item in (first, *others):
        items.insert(0, item)
    return len(items)


def lrange(db: Keyspace, key: bytes, start: bytes, stop: bytes) -> Answer:
    """LRANGE key start stop"""
    first, last = parse_int(start), parse_int(stop)
    return [*_within(db.list(key) or [], first, last)]


def ltrim(db: Keyspace, key: bytes, start: bytes, stop: bytes) -> Answer:
    """LTRIM key start stop"""
    first, last = parse_int(start), parse_int(stop)
    items = db.list(key)
    if items is not None:
        items[:] = _within(items, first, last)
        if not items:
            db.drop(key)
    return OK


def lset(db: Keyspace, key: bytes, index: bytes, item: bytes) -> Answer:
    """LSET key index element"""
    items = db.list(key)
    if items is None:
        raise ServerError(NO_KEY)
    at = parse_int(index)
    if not -len(items) <= at < len(items):
        raise ServerError(NO_INDEX)
    items[at] = item
    return OK


def _within(items: list[bytes], first: int, last: int) -> list[bytes]:
    size = len(items)
    begin = max(first + size, 0) if first < 0 else first
    end = last + size if last < 0 else last
    return items[begin : end + 1] if begin <= end else []


LISTS: dict[bytes, Command] = {
    b"LPUSH": lpush,
    b"LRANGE": lrange,
    b"LTRIM": ltrim,
    b"LSET": lset,
}
