"""The stream commands a script may call; the conventions are those of `commands`."""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

from sim.commands import SYNTAX, Answer, Command
from sim.keyspace import NOT_AN_INTEGER, Keyspace, ScriptBug, ServerError, Stream

Place: TypeAlias = tuple[int, int]

INVALID = "ERR Invalid stream ID specified as stream command argument"
TOO_SMALL = (
    "ERR The ID specified in XADD is equal or smaller than the target stream top item"
)
ZERO = "ERR The ID specified in XADD must be greater than 0-0"
LARGEST = 2**64 - 1


def xadd(db: Keyspace, key: bytes, *args: bytes) -> Answer:
    """XADD key [MAXLEN n] ms-seq field value"""
    limit: int | None = None
    if args and args[0].upper() == b"MAXLEN":
        limit = _count(args[1])
        args = args[2:]
    if len(args) != 3:
        raise ScriptBug("the simulator knows only XADD … id field value")
    place = _place(args[0], 0)
    if place == (0, 0):
        raise ServerError(ZERO)
    stream = db.stream(key)
    if stream is not None and place <= stream.top:
        raise ServerError(TOO_SMALL)
    if stream is None:
        db.data[key] = stream = Stream()
    stream.top = place
    stream.entries.append((place, [args[1], args[2]]))
    if limit is not None:
        del stream.entries[: max(0, len(stream.entries) - limit)]
    return b"%d-%d" % place


def xrange(
    db: Keyspace, key: bytes, first: bytes, last: bytes, *options: bytes
) -> Answer:
    """XRANGE key ms-seq + [COUNT n]"""
    least = _place(first, 0)
    most = (LARGEST, LARGEST) if last == b"+" else _place(last, LARGEST)
    count: int | None = None
    if options:
        if len(options) != 2 or options[0].upper() != b"COUNT":
            raise ServerError(SYNTAX)
        count = _count(options[1])
    stream = db.stream(key)
    entries = stream.entries if stream else []
    start = bisect_left(entries, least, key=lambda entry: entry[0])
    found = [entry for entry in entries[start:] if entry[0] <= most]
    listed = found if count is None else found[:count]
    return [[b"%d-%d" % place, list(pair)] for place, pair in listed]


def _place(text: bytes, missing: int) -> Place:
    parts = text.split(b"-")
    if not 1 <= len(parts) <= 2 or not all(_is_whole(part) for part in parts):
        raise ServerError(INVALID)
    first, *rest = (int(part) for part in parts)
    return first, rest[0] if rest else missing


def _is_whole(text: bytes) -> bool:
    return text.isdigit() and b"%d" % int(text) == text and int(text) <= LARGEST


def _count(text: bytes) -> int:
    if not _is_whole(text):
        raise ServerError(NOT_AN_INTEGER)
    return int(text)


STREAMS: dict[bytes, Command] = {b"XADD": xadd, b"XRANGE": xrange}
