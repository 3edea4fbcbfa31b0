"""The fence: checks the tokens that a lock hands out, and writes if they are admitted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..errors import Overtaken, StaleToken
from .asking import ask, insist
from .keys import FenceKeys, check_name
from .lanes import Lanes, too_late
from .ops import Call, Op
from .reply import number, text
from .span import LONGEST_WAIT, milliseconds, seconds
from .whole import shown, whole

LARGEST_VALUE = 65_536
#: Tokens are exact up to here in JSON, Lua and SQL alike.
LARGEST_TOKEN = 2**53
#: A journal is for what a successor has to know, not for all that ever happened.
MOST_KEPT = 1_000_000
#: So many entries are read at once, at most: 64 MiB of the largest.
MOST_READ = 1000
SHORTEST_TTL = 0.001


def token_number(token: int) -> int:
    """Return *token* if it can be one: an int between 1 and 2^53."""
    if isinstance(token, bool) or not isinstance(token, int):
        raise TypeError(f"a token is an int, not {type(token).__name__}: {token!r}")
    if not 1 <= token <= LARGEST_TOKEN:
        raise ValueError(f"token {shown(token)} is not between 1 and {LARGEST_TOKEN}")
    return token


def stored_value(value: str | bytes, what: str = "a value") -> bytes:
    """Return *value* as it is stored: at most 64 KiB."""
    if not isinstance(value, str | bytes):
        raise TypeError(
            f"{what} is a str or bytes, not {type(value).__name__}: {value!r:.80}"
        )
    stored = value.encode() if isinstance(value, str) else value
    if len(stored) > LARGEST_VALUE:
        raise ValueError(
            f"{what} is {len(stored)} bytes long; allowed are {LARGEST_VALUE}"
        )
    return stored


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One entry of a journal: its *number*, the *term* it was written in, and its *value*.

    Numbers rise by one, so a gap says that older entries were forgotten.  The term is
    the token that it was written with; it never falls.
    """

    number: int
    term: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Guard:
    """One fence: its name, its keys, and how long a question may take, in seconds."""

    name: str
    keys: FenceKeys
    lanes: Lanes
    timeout: float

    # -- tokens -----------------------------------------------------------------------

    def check(self, token: int) -> Op[None]:
        """Admit *token*; `StaleToken` when a newer one was seen."""
        return self._check(token_number(token))

    def seen(self) -> Op[int]:
        """Return the highest token admitted so far; 0 when there is none."""
        told = yield from self._told("")
        return number(told[0])

    def last(self) -> Op[int]:
        """Return the number of the journal's last entry; 0 when there is none."""
        told = yield from self._told("")
        return number(told[1])

    # -- values -----------------------------------------------------------------------

    def set(
        self,
        field: str,
        value: str | bytes,
        token: int,
        ttl: float | timedelta | None = None,
    ) -> Op[bool]:
        """Write *value* if *token* is admitted; else `StaleToken`."""
        written = stored_value(value)
        return self._write(field, token, "set", written, lasting(ttl), "any", b"")

    def delete(self, field: str, token: int) -> Op[bool]:
        """Take away what was written, if *token* is admitted; else `StaleToken`."""
        return self._write(field, token, "delete", b"", 0, "any", b"")

    def cas(
        self,
        field: str,
        value: str | bytes,
        expected: str | bytes | None,
        token: int,
        ttl: float | timedelta | None = None,
    ) -> Op[bool]:
        """Write *value* if *expected* stands there, None: nothing; return whether it did."""
        written, if_is, compared = stored_value(value), "absent", b""
        if expected is not None:
            if_is, compared = "equal", stored_value(expected, "expected")
        return self._write(field, token, "set", written, lasting(ttl), if_is, compared)

    def get(self, field: str) -> Op[bytes | None]:
        """Return what was written last, as bytes; None when nothing was."""
        return self._get(check_name(field, "field"))

    # -- the journal ------------------------------------------------------------------

    def append(
        self, value: str | bytes, token: int, expected: int | None, keep: int
    ) -> Op[int]:
        """Append an entry if *token* is admitted; return its number."""
        entry = stored_value(value, "an entry")
        last = "" if expected is None else whole(expected, "expected", least=0)
        kept = whole(keep, "keep", least=1, most=MOST_KEPT)
        return self._append((token_number(token), entry, last, kept))

    def journal(self, after: int, limit: int) -> Op[list[Entry]]:
        """Return the entries that follow the one of that number, oldest first."""
        first = whole(after, "after", least=0) + 1
        return self._journal(first, whole(limit, "limit", least=1, most=MOST_READ))

    # -- asking -----------------------------------------------------------------------

    def _check(self, token: int) -> Op[None]:
        call = Call("fence_check", (self.keys.guard,), (token,), self.timeout)
        reply = yield from insist(call)
        self._refuse(text(reply.value[0]), token, reply.value[1])

    def _told(self, field: str) -> Op[list[Any]]:
        keys = (self.keys.guard, self.keys.value + field)
        reply = yield from ask(Call("fence_get", keys, (), self.timeout))
        told: list[Any] = reply.value
        return told

    def _get(self, field: str) -> Op[bytes | None]:
        told = yield from self._told(field)
        value: bytes | None = told[2]
        return value

    def _write(
        self,
        field: str,
        token: int,
        what: str,
        written: bytes,
        *more: int | str | bytes,
    ) -> Op[bool]:
        return self._written(
            check_name(field, "field"), (token_number(token), what, written, *more)
        )

    def _written(self, field: str, args: tuple[Any, ...]) -> Op[bool]:
        keys = (self.keys.guard, self.keys.value + field)
        call = Call("fence_write", keys, args, self.timeout)
        word, told = yield from self._once(call)
        self._refuse(word, args[0], told)
        return word == "done"

    def _append(self, args: tuple[Any, ...]) -> Op[int]:
        keys = (self.keys.guard, self.keys.journal)
        call = Call("fence_append", keys, args, self.timeout)
        word, told = yield from self._once(call)
        self._refuse(word, args[0], told)
        if word == "overtaken":
            raise Overtaken(self.name, args[2], number(told))
        return number(told)

    def _once(self, call: Call) -> Op[tuple[str, Any]]:
        """Make a change once, however often it is asked for; return a word and a number."""
        lane = self.lanes.take()
        try:
            reply = yield from insist(
                call._replace(
                    keys=(*call.keys, self.keys.memo + lane.id),
                    args=(lane.seq, lane.kept_ms, *call.args),
                )
            )
            word, told = [*reply.value, 0][:2]
            return text(word), told
        finally:
            self.lanes.give(lane)

    def _refuse(self, word: str, token: int, seen: Any) -> None:
        """Raise what the word of a refusal means."""
        if word == "stale":
            raise StaleToken(self.name, token, number(seen))
        if word == "gone":
            raise too_late(self.name)

    def _journal(self, first: int, limit: int) -> Op[list[Entry]]:
        call = Call("fence_read", (self.keys.journal,), (first, limit), self.timeout)
        told = (yield from ask(call)).value
        entries: list[Entry] = []
        for place, value in zip(told[::2], told[1::2], strict=True):
            its, term = text(place).split("-")
            entries.append(Entry(int(its), int(term), value))
        return entries


def lasting(ttl: float | timedelta | None) -> int:
    """Return how long a value lasts, in milliseconds; 0: until it is replaced."""
    if ttl is None:
        return 0
    return milliseconds(seconds(ttl, "ttl", least=SHORTEST_TTL, most=LONGEST_WAIT))
