"""The stream commands a script may call; the conventions are those of `commands`."""

from __future__ import annotations

from typing import TypeAlias

from sim.commands import SYNTAX, Answer, Command
from sim.keyspace import NOT_AN_INTEGER, Keyspace, ScriptBug, ServerError, Stream

Place: TypeAlias = tuple[int, int]

INVALID = "ERR Invalid stream ID specified as stream command argument"
TOO_SMALL = (
    "ERR The ID specified in XADD is equal or smaller than the target stream top item"
)
ZERO = "ERR The ID specified in XADD must be greater than 0-0"
ARITY = "ERR wrong number of arguments for 'xadd' command"
LARGEST = 2**64 - 1


def xadd(db: Keyspace, key: bytes, *args: bytes) -> Answer:
    """XADD key [MAXLEN n] ms-seq | * field value …"""
    limit: int | None = None
    if args and args[0].upper() == b"MAXLEN":
        if len(args) < 2 or args[1] in (b"~", b"="):
            raise ScriptBug("the simulator knows only XADD … MAXLEN n")
        limit = _count(args[1])
        args = args[2:]
    if len(args) < 3 or len(args) % 2 == 0:
        if args and args[0] != b"*":
            _place(args[0], 0)
        raise ServerError(ARITY)
    id_, *fields = args
    wanted = None if id_ == b"*" else _place(id_, 0)
    if wanted == (0, 0):
        raise ServerError(ZERO)
    stream = db.stream(key)
    top = (0, 0) if stream is None else stream.top
    place = wanted or max((db.now_ms, 0), _after(top))
    if place <= top:
        raise ServerError(TOO_SMALL)
    if stream is None:
        db.data[key] = stream = Stream()
    stream.top = place
    stream.entries.append((place, fields))
    if limit is not None:
        del stream.entries[: max(0, len(stream.entries) - limit)]
    return b"%d-%d" % place


def xlen(db: Keyspace, key: bytes) -> Answer:
    """XLEN key"""
    stream = db.stream(key)
    return 0 if stream is None else len(stream.entries)


def xrange(
    db: Keyspace, key: bytes, first: bytes, last: bytes, *options: bytes
) -> Answer:
    """XRANGE key first last [COUNT n], each - or + or an id, or ( and an id"""
    least, most = _bound(first, 0), _bound(last, LARGEST)
    if first.startswith(b"("):
        if least == (LARGEST, LARGEST):
            raise ServerError("ERR invalid start ID for the interval")
        least = _after(least)
    if last.startswith(b"("):
        if most == (0, 0):
            raise ServerError("ERR invalid end ID for the interval")
        most = _before(most)
    count: int | None = None
    if options:
        if len(options) != 2 or options[0].upper() != b"COUNT":
            raise ServerError(SYNTAX)
        count = _count(options[1])
    stream = db.stream(key)
    entries = stream.entries if stream else []
    found = [entry for entry in entries if least <= entry[0] <= most]
    listed = found if count is None else found[:count]
    return [[b"%d-%d" % place, list(fields)] for place, fields in listed]


def _bound(text: bytes, missing: int) -> Place:
    if text == b"-":
        return (0, 0)
    if text == b"+":
        return (LARGEST, LARGEST)
    return _place(text.removeprefix(b"("), missing)


def _place(text: bytes, missing: int) -> Place:
    parts = text.split(b"-")
    if not 1 <= len(parts) <= 2 or not all(_is_whole(part) for part in parts):
        raise ServerError(INVALID)
    first, *rest = (int(part) for part in parts)
    return first, rest[0] if rest else missing


def _after(place: Place) -> Place:
    ms, seq = place
    return (ms, seq + 1) if seq < LARGEST else (ms + 1, 0)


def _before(place: Place) -> Place:
    ms, seq = place
    return (ms, seq - 1) if seq else (ms - 1, LARGEST)


def _is_whole(text: bytes) -> bool:
    return text.isdigit() and b"%d" % int(text) == text and int(text) <= LARGEST


def _count(text: bytes) -> int:
    if not _is_whole(text):
        raise ServerError(NOT_AN_INTEGER)
    return int(text)


STREAMS: dict[bytes, Command] = {b"XADD": xadd, b"XLEN": xlen, b"XRANGE": xrange}
