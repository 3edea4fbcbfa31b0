"""The commands of streams that a script may call; see `sim.commands`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sim.commands import SYNTAX, Command
from sim.keyspace import Keyspace, ScriptBug, ServerError, Stream, parse_int

#: An entry: its id, and its fields and values.
Entry: TypeAlias = list[bytes | list[bytes]]

INVALID = "ERR Invalid stream ID specified as stream command argument"
TOO_SMALL = (
    "ERR The ID specified in XADD is equal or smaller than the target stream top item"
)
ARITY = "ERR wrong number of arguments for 'xadd' command"
LARGEST = 2**64 - 1


def xadd(db: Keyspace, key: bytes, *args: bytes) -> bytes:
    """XADD key [MAXLEN n] id | * field value …"""
    keep, args = _maxlen(args)
    if len(args) < 3 or len(args) % 2 == 0:
        if args and args[0] != b"*":
            _id(args[0], 0)
        raise ServerError(ARITY)
    id_, *fields = args
    wanted = None if id_ == b"*" else _id(id_, 0)
    if wanted == (0, 0):
        raise ServerError("ERR The ID specified in XADD must be greater than 0-0")
    stream = db.stream(key)
    last = stream.top if stream is not None else (0, 0)
    wanted = wanted or max((db.now_ms, 0), _after(last))
    if wanted <= last:
        raise ServerError(TOO_SMALL)
    if stream is None:
        db.data[key] = stream = Stream()
    stream.entries.append((wanted, fields))
    stream.top = wanted
    if keep is not None:
        del stream.entries[: max(len(stream.entries) - keep, 0)]
    return _spell(wanted)


def _maxlen(args: tuple[bytes, ...]) -> tuple[int | None, tuple[bytes, ...]]:
    """How many entries to keep, and what follows."""
    if not args or args[0].upper() != b"MAXLEN":
        return None, args
    if len(args) < 2 or args[1] in (b"~", b"="):
        raise ScriptBug("the simulator knows only XADD … MAXLEN n")
    keep = parse_int(args[1])
    if keep < 0:
        raise ServerError("ERR The MAXLEN argument must be >= 0.")
    return keep, args[2:]


def xlen(db: Keyspace, key: bytes) -> int:
    """XLEN key"""
    stream = db.stream(key)
    return 0 if stream is None else len(stream.entries)


def xrange(
    db: Keyspace, key: bytes, start: bytes, stop: bytes, *more: bytes
) -> list[Entry]:
    """XRANGE key start end, each id alone or with ( before it"""
    if more:
        raise ServerError(SYNTAX)
    first, last = _bound(start, 0), _bound(stop, LARGEST)
    if start.startswith(b"("):
        if first == (LARGEST, LARGEST):
            raise ServerError("ERR invalid start ID for the interval")
        first = _after(first)
    if stop.startswith(b"("):
        if last == (0, 0):
            raise ServerError("ERR invalid end ID for the interval")
        last = _before(last)
    stream = db.stream(key)
    entries = [] if stream is None else stream.entries
    return [
        [_spell(id_), list(fields)] for id_, fields in entries if first <= id_ <= last
    ]


def _bound(text: bytes, seq: int) -> tuple[int, int]:
    if text == b"-":
        return (0, 0)
    if text == b"+":
        return (LARGEST, LARGEST)
    return _id(text.removeprefix(b"("), seq)


def _id(text: bytes, seq: int) -> tuple[int, int]:
    """Read an id; one without its second half has *seq* there."""
    parts = text.split(b"-")
    if len(parts) > 2 or not all(part.isdigit() for part in parts):
        raise ServerError(INVALID)
    numbers = [int(part) for part in parts]
    if any(b"%d" % number != part for number, part in zip(numbers, parts, strict=True)):
        raise ServerError(INVALID)
    if max(numbers) > LARGEST:
        raise ServerError(INVALID)
    return (numbers[0], numbers[1] if len(numbers) == 2 else seq)


def _after(id_: tuple[int, int]) -> tuple[int, int]:
    ms, seq = id_
    return (ms, seq + 1) if seq < LARGEST else (ms + 1, 0)


def _before(id_: tuple[int, int]) -> tuple[int, int]:
    ms, seq = id_
    return (ms, seq - 1) if seq else (ms - 1, LARGEST)


def _spell(id_: tuple[int, int]) -> bytes:
    return b"%d-%d" % id_


STREAMS: dict[bytes, Command | Callable[..., list[Entry]]] = {
    b"XADD": xadd,
    b"XLEN": xlen,
    b"XRANGE": xrange,
}
