"""
Counters, as operations: exact, added to once for each request, fenced and bounded.

A counter is one hash: its value, the highest token it has seen, and how many shards
it has.  A shard is a hash of the same name in another bucket; the counter's own bucket
has the first, where the number of shards stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from ..errors import CoordError, KeyConflict, OutOfBounds, StaleToken, Unsupported
from .asking import ask, insist, insist_all
from .fence import token_number
from .inspect import values
from .keys import BUCKETS, CounterKeys, check_name, counter_keys
from .lanes import Lane, Lanes, chosen, too_late
from .ops import Call, Op, Pipeline
from .reply import number, text
from .whole import LEAST, MOST, whole

T = TypeVar("T")

#: What is known of a deleted counter is known for as long as the longest lease.
KEPT_MS = 7 * 86_400_000
#: So often the number of shards may turn out to be another one meanwhile.
TRIES = 5


@dataclass(frozen=True, slots=True)
class CounterInfo:
    """
    A counter, as the server told it at one instant.

    *shards* is how many parts it is in, *seen* the highest token it has admitted; 0
    if it was never fenced.
    """

    name: str
    value: int
    shards: int
    seen: int


class Part(NamedTuple):
    """What is added to one counter, of those that one call adds to."""

    name: str
    amount: int
    at_least: int = LEAST
    at_most: int = MOST


class Place(NamedTuple):
    """Where it is added."""

    keys: CounterKeys
    #: our name in the index; of a shard but the first: "" if it must be there, else "+"
    member: str
    #: how many shards it has; "" if one without any is meant, or whatever there is
    shards: str = ""


@lru_cache(1024)
def first_place(namespace: str, name: str) -> Place:
    """Return the place of a counter, or of its first shard."""
    return Place(counter_keys(namespace, check_name(name)), f"counter:{name}")


def add_call(
    parts: Sequence[tuple[Part, Place]], token: int | None, lane: Lane, timeout: float
) -> Call:
    """Return the call that adds all *parts*, as one request."""
    keys = [parts[0][1].keys.memo + lane.id]
    args: list[int | str] = [lane.seq, lane.kept_ms, "" if token is None else token]
    for (_, amount, at_least, at_most), (its, member, shards) in parts:
        keys += (its.counter, its.lasting)
        # Compared with what is there before, digit by digit: so no sum overflows.
        args += (amount, at_least - amount, at_most - amount, shards, member)
    return Call("counter_add", tuple(keys), tuple(args), timeout)


def verdicts(answer: Any, count: int) -> list[tuple[str, int]]:
    """Return what became of each of so many parts: a word and a number."""
    if answer[0] == b"gone":
        return [("gone", 0)] * count
    told: list[tuple[str, int]] = []
    for word, figure in zip(answer[::2], answer[1::2], strict=True):
        try:
            told.append((text(word), number(figure)))
        except ValueError:
            told.append(("conflict", 0))
    return told


def refusal(part: Part, token: int | None, verdict: str, told: int) -> CoordError:
    """Return the error of a part that was not added."""
    if verdict == "stale":
        return StaleToken(part.name, token or 0, told)
    if verdict == "bounds":
        return OutOfBounds(
            part.name,
            part.amount,
            told,
            at_least=part.at_least,
            at_most=part.at_most,
        )
    if verdict == "gone":
        return too_late(part.name)
    return _foreign(part.name)


class Tally:
    """
    One counter: what it is called, how many shards it is to have, and how to ask it.

    *shards* None: as many as it has, and one if it is new.  *scatter*: keys of several
    buckets go into several calls, as a cluster wants it.  *timeout*: how long a
    question may take, in seconds.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        shards: int | None,
        *,
        lanes: Lanes,
        timeout: float,
        scatter: bool,
    ) -> None:
        self.name = check_name(name)
        self.shards = shards
        if shards is not None:
            whole(
                shards, "shards", least=1, most=BUCKETS
            )  # each has a bucket of its own
        self._namespace = namespace
        self._lanes = lanes
        self._timeout = timeout
        self._scatter = scatter
        self._first = first_place(namespace, name)
        #: of each shard, as far as they were needed
        self._keys = {0: self._first.keys}
        #: how many it has, once the server has told, or agreed
        self._agreed: int | None = None

    def add(
        self,
        amount: int,
        *,
        token: int | None = None,
        at_least: int | None = None,
        at_most: int | None = None,
        rid: str | None = None,
    ) -> Op[int]:
        """Add *amount*; return the new value: of a sharded counter, that of one shard."""
        part = Part(
            self.name,
            whole(amount, "n"),
            LEAST if at_least is None else whole(at_least, "at_least"),
            MOST if at_most is None else whole(at_most, "at_most"),
        )
        if part.at_least > part.at_most:
            raise ValueError(f"at_least={at_least} is higher than at_most={at_most}")
        if token is not None:
            token_number(token)
        entire = not (token is None and at_least is None and at_most is None)
        self._check_entire(ValueError, entire=entire)
        lane = None if rid is None else chosen(self.name, rid)
        return self._add(part, token, lane, entire=entire)

    def value(self) -> Op[int]:
        """Return what it has; 0 when there is none."""
        told = yield from self.info()
        return told.value

    def set(self, value: int, *, token: int | None = None) -> Op[int]:
        """Give it a value; return the one before."""
        return self._replace(str(whole(value, "value")), token)

    def delete(self, *, token: int | None = None) -> Op[int]:
        """Take it away; return the value it had."""
        return self._replace("", token)

    def shown(self) -> str:
        """Return what a reader of a `repr` wants to see."""
        return repr(self.name) + (f" shards={self.shards}" if self.shards else "")

    # -- shards -----------------------------------------------------------------------

    def _count(self) -> int:
        """Return how many shards it has, as far as is known."""
        return self._agreed or self.shards or 1

    def _said(self) -> str:
        """Return how many shards it must have, for a script to compare."""
        number = self.shards if self.shards is not None else self._agreed
        return (
            ""
            if number is None or (number == 1 and self.shards is None)
            else str(number)
        )

    def _shard(self, shard: int) -> CounterKeys:
        keys = self._keys.get(shard)
        if keys is None:
            keys = self._keys[shard] = counter_keys(self._namespace, self.name, shard)
        return keys

    def _adopt(self, told: int) -> None:
        """Take note of how many shards there are; `KeyConflict` if it is to have others."""
        if self.shards not in (None, told):
            raise _other_shards(self.name, told, self.shards or 1)
        self._agreed = told

    def _check_entire(self, error: type[Exception], *, entire: bool) -> None:
        """Refuse what must see the whole counter if it is in several parts."""
        if entire and self._count() > 1:
            raise error(
                f"{self.name!r} has {self._count()} shards: a token or a bound cannot be "
                "checked in all of them at once"
            )

    # -- adding -----------------------------------------------------------------------

    def _add(
        self, part: Part, token: int | None, own: Lane | None, *, entire: bool
    ) -> Op[int]:
        if own is not None and self._agreed is None and self._count() > 1:
            # A request that comes back must find the very shard: so all must agree first.
            yield from self._claim(part)
        lane = own or self._lanes.take()
        made = ""
        try:
            for _ in range(TRIES):
                self._check_entire(Unsupported, entire=entire)
                here = [(part, self._place(lane, made))]
                reply = yield from insist(add_call(here, token, lane, self._timeout))
                if reply.value[0] == b"added":
                    self._agreed = self._agreed or self._count()
                    return number(reply.value[1])
                ((verdict, told),) = verdicts(reply.value, 1)
                if verdict == "absent":
                    yield from self._claim(part)
                    made = "+"
                elif verdict == "shards":
                    self._adopt(told)
                else:
                    raise refusal(part, token, verdict, told)
            raise _restless(self.name)
        finally:
            self._lanes.give(lane)

    def _place(self, lane: Lane, made: str) -> Place:
        """Return the shard to add to: the first, as long as nothing is agreed."""
        shard = (lane.spread + lane.seq) % (self._agreed or 1)
        if shard or self.shards is not None:
            member = made if shard else self._first.member
            return Place(self._shard(shard), member, self._said())
        if self._agreed in (None, 1):
            return self._first
        return self._first._replace(shards=self._said())

    def _claim(self, part: Part) -> Op[None]:
        """See to it that the first shard is there, and says how many there are."""
        self._agreed = None
        yield from self._add(part._replace(amount=0), None, None, entire=False)

    # -- reading ----------------------------------------------------------------------

    def info(self) -> Op[CounterInfo]:
        """Return what the server tells of it: one server, of all shards at one instant."""
        for _ in range(TRIES):
            count = self._count()
            keys = [self._shard(i).counter for i in range(count)]
            calls = tuple(
                Call("counter_get", tuple(its), (), self._timeout)
                for its in self._trips(keys)
            )
            reply = yield from ask(Pipeline(calls, self._timeout))
            told = [each for answer in values(reply.value) for each in answer]
            found = counter_info(self.name, told)
            if found.shards in (count, 0) or (self.shards and not told[0]):
                # Of a counter that was deleted the number is known, but may be another now.
                return replace(found, shards=count)
            self._adopt(found.shards)
        raise _restless(self.name)

    def _trips(self, shards: list[T]) -> list[list[T]]:
        """Return the shards that may go into one call each: all, where one server has all."""
        return [[each] for each in shards] if self._scatter else [shards]

    # -- replacing --------------------------------------------------------------------

    def _replace(self, value: str, token: int | None) -> Op[int]:
        if token is not None:
            token_number(token)
        self._check_entire(ValueError, entire=token is not None)
        return self._replaced(value, token)

    def _replaced(self, value: str, token: int | None) -> Op[int]:
        lane = self._lanes.take()
        try:
            for _ in range(TRIES):
                self._check_entire(Unsupported, entire=token is not None)
                told = yield from insist_all(self._set_calls(value, token, lane))
                answers = values(told)
                refused = next((a for a in answers if a[0] != b"set"), None)
                if refused is None:
                    self._agreed = self._count()
                    return sum(number(had) for each in answers for had in each[1:])
                word, other = text(refused[0]), number([*refused, 0][1])
                if word != "shards":
                    part = Part(self.name, 0)
                    raise refusal(part, token, word, other)
                self._adopt(other)
            raise _restless(self.name)
        finally:
            self._lanes.give(lane)

    def _set_calls(self, value: str, token: int | None, lane: Lane) -> list[Call]:
        """Return the calls that give the first shard a value, and take away the others'."""
        fence, member = "" if token is None else token, self._first.member
        calls: list[Call] = []
        for shards in self._trips([self._shard(i) for i in range(self._count())]):
            first = shards[0]
            keys = (first.memo + lane.id, first.lasting, *(s.counter for s in shards))
            args = (lane.seq, lane.kept_ms, fence, value, self._said(), member, KEPT_MS)
            calls.append(Call("counter_set", keys, args, self._timeout))
            value = ""  # all of it is in the first
        return calls


def counter_info(name: str, told: Sequence[Any]) -> CounterInfo:
    """Return what a reading of its shards, the first one first, tells; 0 shards: not known."""
    value = sum(exact(name, each or 0) for each in told[::3])
    shards = exact(name, told[2] or (1 if told[0] else 0))
    return CounterInfo(name, value, shards, exact(name, told[1] or 0))


def exact(name: str, told: Any) -> int:
    """Return what is stored as a number; `KeyConflict` if it is none."""
    try:
        return number(told)
    except ValueError:
        raise _foreign(name) from None


def _foreign(name: str) -> KeyConflict:
    return KeyConflict(f"the key of the counter {name!r} holds something else")


def _other_shards(name: str, told: int, wanted: int) -> KeyConflict:
    return KeyConflict(f"the counter {name!r} has {told} shards, not {wanted}")


def _restless(name: str) -> KeyConflict:
    return KeyConflict(
        f"the shards of the counter {name!r} do not agree how many they are"
    )
