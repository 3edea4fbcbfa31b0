"""
The keys of a simulated Redis: values, their ends, and how numbers are spelled.

Strings are ``bytes``, hashes ``dict``, lists ``list``, sorted sets `ZSet`, streams
`Stream`.  A key ends when the clock has *passed* its instant, as in Redis; time stands
still while a script runs.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from math import isnan
from typing import TypeAlias


class ServerError(Exception):
    """What Redis would answer as an error: a code, a space, and a text."""

    @property
    def code(self) -> str:
        """The first word, such as ``WRONGTYPE``."""
        return str(self).partition(" ")[0]


class ScriptBug(AssertionError):
    """
    A script did what it must never do; no simulated client gets to see this.

    Its own run-time errors, an undeclared global, a key that is not in KEYS, an
    unknown command, a wrong number of arguments.
    """


class ZSet:
    """Members with scores, in the order of Redis: by score, then by bytes."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def put(self, member: bytes, score: float) -> None:
        """Set the score of *member*, new or not."""
        before = self.scores.get(member)
        if before == score:
            return
        if before is not None:
            del self.order[bisect_left(self.order, (before, member))]
        self.scores[member] = score
        insort(self.order, (score, member))

    def remove(self, member: bytes) -> bool:
        """Take *member* out; False if it was not in."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def rank(self, member: bytes) -> int | None:
        """How many come before *member*, or None."""
        score = self.scores.get(member)
        return None if score is None else bisect_left(self.order, (score, member))


class Stream:
    """Entries by their ids, and the highest id there ever was."""

    __slots__ = ("entries", "top")

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[int, int], list[bytes]]] = []
        self.top: tuple[int, int] = (0, 0)


Hash: TypeAlias = dict[bytes, bytes]
List: TypeAlias = list[bytes]
Value: TypeAlias = bytes | Hash | List | ZSet | Stream

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"


class Keyspace:
    """The data of one server, and the clock by which it ends."""

    def __init__(self) -> None:
        self.data: dict[bytes, Value] = {}
        self.ends: dict[bytes, int] = {}
        self.now_us = 0
        self.now_ms = 0
        self.declared: frozenset[bytes] | set[bytes] = frozenset()
        self.publish: Callable[[bytes, bytes], int] = lambda channel, message: 0

    def live(self, key: bytes) -> Value | None:
        """The value of a declared key that has not ended."""
        if key not in self.declared:
            raise ScriptBug(f"the key {key!r} is not in KEYS")
        if key in self.ends and self.ends[key] < self.now_ms:
            self.drop(key)
        return self.data.get(key)

    def string(self, key: bytes) -> bytes | None:
        """The string at *key*, or None; an error when it is something else."""
        value = self.live(key)
        if value is None or type(value) is bytes:
            return value
        raise ServerError(WRONG_TYPE)

    def hash(self, key: bytes) -> Hash | None:
        """The hash at *key*, or None; an error when it is something else."""
        value = self.live(key)
        if value is None or type(value) is dict:
            return value
        raise ServerError(WRONG_TYPE)

    def list(self, key: bytes) -> List | None:
        """The list at *key*, or None; an error when it is something else."""
        value = self.live(key)
        if value is None or type(value) is list:
            return value
        raise ServerError(WRONG_TYPE)

    def zset(self, key: bytes) -> ZSet | None:
        """The sorted set at *key*, or None; an error when it is something else."""
        value = self.live(key)
        if value is None or type(value) is ZSet:
            return value
        raise ServerError(WRONG_TYPE)

    def stream(self, key: bytes) -> Stream | None:
        """The stream at *key*, or None; an error when it is something else."""
        value = self.live(key)
        if value is None or type(value) is Stream:
            return value
        raise ServerError(WRONG_TYPE)

    def drop(self, key: bytes) -> bool:
        """Delete *key*; False if there was none."""
        self.ends.pop(key, None)
        return self.data.pop(key, None) is not None

    def sweep(self) -> None:
        """Forget what has ended."""
        for key in [key for key, end in self.ends.items() if end < self.now_ms]:
            self.drop(key)

    def clear(self) -> None:
        """Forget everything."""
        self.data.clear()
        self.ends.clear()


def parse_int(text: bytes, error: str = NOT_AN_INTEGER) -> int:
    """Read a 64-bit integer as strictly as Redis does."""
    try:
        number = int(text)
    except ValueError:
        raise ServerError(error) from None
    if b"%d" % number != text or not -(2**63) <= number < 2**63:
        raise ServerError(error)
    return number


def parse_float(text: bytes, error: str = "ERR value is not a valid float") -> float:
    """Read a float as Redis does: no blanks, no underscores, no NaN."""
    try:
        number = float(text)
    except ValueError:
        raise ServerError(error) from None
    if isnan(number) or b"_" in text or text.strip() != text:
        raise ServerError(error)
    return number


def spell(number: float) -> bytes:
    """Write a number as Redis 7.0 does for scores and for numbers that Lua passes."""
    return b"%d" % number if type(number) is int else b"%.17g" % number
