"""The sorted-set commands a script may call; the conventions are those of `commands`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

from sim.commands import SYNTAX, Answer, Command
from sim.keyspace import (
    Keyspace,
    ScriptBug,
    ServerError,
    ZSet,
    parse_float,
    parse_int,
    spell,
)

EMPTY = ZSet()


def zadd(db: Keyspace, key: bytes, *args: bytes) -> Answer:
    """ZADD key [NX | XX] [GT | LT] score member …"""
    start = 0
    if len(args) != 2:  # one pair, no flags: by far the most frequent
        while start < len(args) and args[start].upper() in (b"NX", b"XX", b"GT", b"LT"):
            start += 1
    pairs = args[start:]
    if not pairs or len(pairs) % 2:
        if pairs and pairs[0].upper() in (b"CH", b"INCR"):
            raise ScriptBug(f"the simulator knows no ZADD … {pairs[0].decode()}")
        raise ServerError(SYNTAX)
    flags = _zadd_flags(args[:start]) if start else ()
    scores = [parse_float(score) for score in pairs[::2]]
    zset = db.zset(key)
    if zset is None:
        if b"XX" in flags:
            return 0
        db.data[key] = zset = ZSet()
    before = len(zset.scores)
    for score, member in zip(scores, pairs[1::2], strict=True):
        if not flags or _admits(flags, zset.scores.get(member), score):
            zset.put(member, score)
    return len(zset.scores) - before


def _zadd_flags(flags: tuple[bytes, ...]) -> tuple[bytes, ...]:
    chosen = tuple(flag.upper() for flag in flags)
    if b"NX" in chosen and b"XX" in chosen:
        raise ServerError("ERR XX and NX options at the same time are not compatible")
    if (b"GT" in chosen) + (b"LT" in chosen) + (b"NX" in chosen) > 1:
        raise ServerError(
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        )
    return chosen


def _admits(flags: tuple[bytes, ...], old: float | None, new: float) -> bool:
    if old is None:
        return b"XX" not in flags
    return not (
        b"NX" in flags
        or (b"GT" in flags and new <= old)
        or (b"LT" in flags and new >= old)
    )


def zrem(db: Keyspace, key: bytes, first: bytes, *others: bytes) -> Answer:
    """ZREM key member …"""
    zset = db.zset(key)
    if zset is None:
        return 0
    gone = sum(zset.remove(member) for member in (first, *others))
    if not zset.scores:
        db.drop(key)
    return gone


def zscore(db: Keyspace, key: bytes, member: bytes) -> Answer:
    """ZSCORE key member"""
    score = (db.zset(key) or EMPTY).scores.get(member)
    return None if score is None else spell(score)


def zrank(db: Keyspace, key: bytes, member: bytes) -> Answer:
    """ZRANK key member"""
    return (db.zset(key) or EMPTY).rank(member)


def zcard(db: Keyspace, key: bytes) -> Answer:
    """ZCARD key"""
    return len((db.zset(key) or EMPTY).scores)


def _between(zset: ZSet, low: bytes, high: bytes) -> tuple[int, int]:
    error = "ERR min or max is not a float"
    floor = parse_float(low.removeprefix(b"("), error)
    roof = parse_float(high.removeprefix(b"("), error)

    def score(entry: tuple[float, bytes]) -> float:
        return entry[0]

    left = bisect_right if low.startswith(b"(") else bisect_left
    right = bisect_left if high.startswith(b"(") else bisect_right
    start = left(zset.order, floor, key=score)
    return start, max(start, right(zset.order, roof, key=score))


def zcount(db: Keyspace, key: bytes, low: bytes, high: bytes) -> Answer:
    """ZCOUNT key min max"""
    start, stop = _between(EMPTY, low, high)
    zset = db.zset(key)
    if zset is not None:
        start, stop = _between(zset, low, high)
    return stop - start


def zremrangebyscore(db: Keyspace, key: bytes, low: bytes, high: bytes) -> Answer:
    """ZREMRANGEBYSCORE key min max"""
    _between(EMPTY, low, high)
    zset = db.zset(key)
    if zset is None:
        return 0
    start, stop = _between(zset, low, high)
    for _, member in zset.order[start:stop]:
        zset.remove(member)
    if not zset.scores:
        db.drop(key)
    return stop - start


def zpopmin(db: Keyspace, key: bytes, *count: bytes) -> Answer:
    """ZPOPMIN key [count]"""
    wanted = 1
    if count:
        error = "ERR value is out of range, must be positive"
        wanted = parse_int(count[0], error)
        if wanted < 0:
            raise ServerError(error)
    zset = db.zset(key)
    if zset is None:
        return []
    popped = zset.order[:wanted]
    for _, member in popped:
        zset.remove(member)
    if not zset.scores:
        db.drop(key)
    return [part for score, member in popped for part in (member, spell(score))]


class _Range(NamedTuple):
    """What follows the bounds of a range command."""

    by_score: bool
    reverse: bool
    with_scores: bool
    limit: tuple[int, int] | None

    @classmethod
    def parse(cls, options: tuple[bytes, ...], by_score: bool | None) -> _Range:
        """Read the options of ZRANGE, or of an older command where *by_score* is set."""
        old = by_score is not None
        reverse = with_scores = False
        limit: tuple[int, int] | None = None
        rest = iter(options)
        for option in rest:
            name = option.upper()
            if name == b"WITHSCORES":
                with_scores = True
            elif name == b"LIMIT":
                offset, count = next(rest, None), next(rest, None)
                if offset is None or count is None:
                    raise ServerError(SYNTAX)
                limit = parse_int(offset), parse_int(count)
            elif name == b"BYSCORE" and not old and not by_score:
                by_score = True
            elif name == b"REV" and not old and not reverse:
                reverse = True
            elif name == b"BYLEX" and not old:
                raise ScriptBug("the simulator knows no ranges by name")
            else:
                raise ServerError(SYNTAX)
        if limit and not by_score:
            raise ServerError(
                "ERR syntax error, LIMIT is only supported in combination with "
                "either BYSCORE or BYLEX"
            )
        return cls(bool(by_score), reverse, with_scores, limit)


def _range(db: Keyspace, key: bytes, low: bytes, high: bytes, how: _Range) -> Answer:
    if how.by_score:
        if how.reverse:
            low, high = high, low
        _between(EMPTY, low, high)
        zset = db.zset(key) or EMPTY
        start, stop = _between(zset, low, high)
        found = zset.order[start:stop]
    else:
        first, last = parse_int(low), parse_int(high)
        zset = db.zset(key) or EMPTY
        size = len(zset.order)
        first = max(first + size, 0) if first < 0 else first
        last = (last + size if last < 0 else last) + 1
        if how.reverse:
            first, last = size - last, size - first
        found = zset.order[max(first, 0) : max(last, 0)]
    if how.reverse:
        found = found[::-1]
    if how.limit:
        offset, count = how.limit
        found = found[offset:] if offset >= 0 else []
        found = found[:count] if count >= 0 else found
    if how.with_scores:
        return [part for score, member in found for part in (member, spell(score))]
    return [member for _, member in found]


def zrange(
    db: Keyspace, key: bytes, low: bytes, high: bytes, *options: bytes
) -> Answer:
    """ZRANGE key start stop [BYSCORE] [REV] [LIMIT offset count] [WITHSCORES]"""
    if low == high == b"0" and not options:  # the head: by far the most frequent
        head = (db.zset(key) or EMPTY).order
        return [head[0][1]] if head else []
    return _range(db, key, low, high, _Range.parse(options, None))


def zrevrange(
    db: Keyspace, key: bytes, low: bytes, high: bytes, *options: bytes
) -> Answer:
    """ZREVRANGE key start stop [WITHSCORES]"""
    how = _Range.parse(options, by_score=False)
    return _range(db, key, low, high, how._replace(reverse=True))


def zrangebyscore(
    db: Keyspace, key: bytes, low: bytes, high: bytes, *options: bytes
) -> Answer:
    """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]"""
    return _range(db, key, low, high, _Range.parse(options, by_score=True))


ZCOMMANDS: dict[bytes, Command] = {
    b"ZADD": zadd,
    b"ZREM": zrem,
    b"ZSCORE": zscore,
    b"ZRANK": zrank,
    b"ZCARD": zcard,
    b"ZCOUNT": zcount,
    b"ZRANGE": zrange,
    b"ZREVRANGE": zrevrange,
    b"ZRANGEBYSCORE": zrangebyscore,
    b"ZREMRANGEBYSCORE": zremrangebyscore,
    b"ZPOPMIN": zpopmin,
}
