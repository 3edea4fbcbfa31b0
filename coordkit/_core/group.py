"""
The group, as operations: who is there, each for as long as it is heard of.

A member is an entry with a deadline of its own, by the server's clock, that its
session's keeper pushes away as it renews every lease.  Every heartbeat, and whoever
looks, buries those whose deadline has passed: no process is special.  What has changed
is an entry of the group's log, under the version that it made, and is published.

Who was buried learns it from its next heartbeat.  It does not live on unseen: it is lost,
and joins again by the renewal after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import CoordError, KeyConflict, LeaseLost, Reason, Unreachable
from .asking import SHORTEST_CALL, ask, insist, insisted
from .inspect import listed
from .keys import GroupKeys, check_name, group_keys, index_keys, news_channel
from .lease import Clock, Lease, Renewal, State, believed_until
from .members import GroupEvent, Members, Record, Watching, looked
from .observe import Subject
from .ops import Call, Defer, Op, Pipeline, Rest
from .reply import number, text
from .span import call_timeout, milliseconds, ttl_seconds

M = TypeVar("M", bound="MemberLease")

#: A straggler of a request that has left may still sit in a stalled server's socket.
LEFT_MS = 60_000
#: Whoever waits for the place of one who has died looks so long after its ttl.
LAST_LOOK = 1.0
#: A sequence that nobody went on with for a day begins anew.
IDLE_MS = 86_400_000
#: Lost for these reasons, a member joins again by itself.
RETURNS = frozenset({Reason.EXPIRED, Reason.EVICTED, Reason.DATA_LOST})


@dataclass(frozen=True, slots=True)
class Circle:
    """One group: its name, its keys, its ttl, and how long a question may take, in seconds."""

    namespace: str
    name: str
    keys: GroupKeys
    channel: str
    ttl: float
    timeout: float
    kind: str = "group"
    #: whether who joins waits for the place of one who has died
    patient: bool = False

    @property
    def member(self) -> str:
        """Its name in the index."""
        return f"{self.kind}:{self.name}"

    def look(self) -> Op[Members]:
        """Return all members."""
        reply = yield from ask(self._look_call())
        return members_of(self.name, reply.value)

    def turn(self) -> Op[int]:
        """Take the next turn of all who pick; one whose answer was lost is left out."""
        call = Call("group_turn", (self.keys.turn,), (IDLE_MS,), self.timeout)
        reply = yield from ask(call)
        return number(reply.value[1])

    def subject(self) -> Subject:
        """Return what is watched: first all members, then every change."""
        watching = Watching(self.name)

        def read(value: Any) -> Iterable[GroupEvent]:
            return watching.news(looked(self.name, value))

        def since() -> Call:
            return self._look_call(watching.birth, watching.version)

        return Subject(self.channel, since, read, lambda: watching.left)

    def _look_call(self, birth: int | None = None, version: int = 0) -> Call:
        keys = (self.keys.group, self.keys.alive, self.keys.log)
        known = "" if birth is None else birth
        args = (known, version, self.channel)
        return Call("group_look", keys, args, self.timeout)


class MemberLease(Lease):
    """What a member knows of its membership: a lease that may come back."""

    __slots__ = ("_circle", "_record", "_rejoins", "_seq")

    def __init__(
        self,
        circle: Circle,
        record: Record,
        rid: str,
        token: int,
        asked_at: float,
        *,
        rejoins: bool,
        clock: Clock,
    ) -> None:
        self._circle = circle
        self._record = record
        self._rejoins = rejoins
        #: of the record: which of two reports was the later one
        self._seq = 1
        super().__init__(circle.name, rid, token, circle.ttl, asked_at, clock=clock)

    @property
    def identity(self) -> str:
        """What this member is called."""
        return self._record.identity

    def _renewal(self) -> Renewal:
        if self._comes_back():
            return _joining(self._circle, self._record, self.holder, self._seq)
        circle, keys = self._circle, self._circle.keys
        return Renewal(
            "group_beat",
            (keys.group, keys.alive, keys.log, keys.index, keys.fence),
            (
                *(self.holder, self.token, milliseconds(self.ttl), self.identity),
                *(circle.member, circle.channel),
            ),
        )

    def _heard(self, verdict: Any, asked_at: float, heard_at: float) -> Reason | None:
        if not isinstance(verdict, list):
            return super()._heard(verdict, asked_at, heard_at)
        word = text(verdict[0])
        if word == "taken":
            return Reason.STOLEN  # by another of our identity, while we were away
        if word != "joined":
            return Reason.CONFLICT
        if heard_at >= believed_until(asked_at, self.ttl):
            return self._out_of_time()
        if self._comes_back():  # and has not left meanwhile
            self.token = number(verdict[1])
            self._renewed(asked_at)
            self._ended = None
        return None

    def _returns(self, reason: Reason) -> bool:
        return self._rejoins and reason in RETURNS

    def _end(self, how: State | Reason) -> None:
        if self._comes_back():
            self._ended = None  # that was not the end
        super()._end(how)

    def _leaving(self) -> Op[None]:
        """Return the operation that ends it."""
        return leave(self)


def _joining(
    circle: Circle, record: Record, rid: str, seq: int, *, replace: bool = False
) -> Renewal:
    keys = circle.keys
    return Renewal(
        "group_join",
        (
            *(keys.group, keys.alive, keys.log, keys.index),
            *(keys.tomb + rid, keys.fence),
        ),
        (
            *(rid, milliseconds(circle.ttl), seq, record.identity, record.stored()),
            *(int(replace), circle.member, circle.channel),
        ),
    )


def _leave_call(circle: Circle, rid: str, identity: str) -> Call:
    keys = circle.keys
    return Call(
        "group_leave",
        (keys.group, keys.alive, keys.log, keys.index, keys.tomb + rid),
        (rid, LEFT_MS, identity, circle.member, circle.channel),
        call_timeout(circle.ttl, circle.timeout),
    )


def give_up(circle: Circle, rid: str, identity: str, now: float) -> tuple[Call, float]:
    """Return the call that takes a request back, and until when it is worth making."""
    until = now + circle.ttl + LEFT_MS / 1000
    return _leave_call(circle, rid, identity), until


def join(
    circle: Circle,
    record: Record,
    rid: str,
    make: Callable[[int, float], M],
    *,
    now: float,
    replace: bool,
) -> Op[M]:
    """
    Become a member; an outage of up to a ttl is ridden out.

    `KeyConflict` when another member has the identity (where one is patient: for longer
    than one who has died).  Whatever interrupts it, nothing is left behind.
    """
    asking = _joining(circle, record, rid, 1, replace=replace)
    call = Call(*asking, call_timeout(circle.ttl, circle.timeout))
    loose = False
    try:
        reply, loose = yield from insisted(call, circle.ttl)
        word = text(reply.value[0][0])
        until = now + circle.ttl + LAST_LOOK
        while word == "taken" and circle.patient and reply.heard_at < until:
            yield Rest(min(reply.heard_at + circle.ttl / 20, until))
            reply = yield from insist(call, circle.ttl)
            word = text(reply.value[0][0])
        if word != "joined":
            raise _not_joined(circle, record.identity, word)
        if reply.heard_at >= believed_until(reply.asked_at, circle.ttl):
            took = reply.heard_at - reply.asked_at
            raise Unreachable(
                f"the server took {took:.3f} s to answer, longer than a member of "
                f"{circle.name!r} may be silent ({circle.ttl:g} s); it was taken back"
            )
        return make(number(reply.value[0][1]), reply.asked_at)
    except GeneratorExit:
        raise  # the driver is gone: there is nobody to ask
    except KeyConflict as cause:
        # It was refused before anything was written; but an earlier question may arrive.
        if loose:
            yield from _undo(cause, circle, rid, record.identity, now)
        raise
    except BaseException as cause:
        yield from _undo(cause, circle, rid, record.identity, now)
        raise


def _not_joined(circle: Circle, identity: str, word: str) -> CoordError:
    if word == "taken" and circle.patient:
        return KeyConflict(
            f"another process is {identity!r} of {circle.name!r}: it lives"
        )
    if word == "taken":
        return KeyConflict(
            f"{identity!r} is a member of the group {circle.name!r} already: another "
            "identity, or replace=True, which takes its place"
        )
    if word == "gone":
        return LeaseLost(circle.name, 0, Reason.BROKEN)
    return KeyConflict(
        f"a key of the group {circle.name!r} holds another kind of value"
    )


def _undo(
    cause: BaseException, circle: Circle, rid: str, identity: str, now: float
) -> Op[None]:
    """End a request that may have reached the server; never hide *cause*."""
    call, until = give_up(circle, rid, identity, now)
    if isinstance(cause, Unreachable):  # silent just now: the caller waits no longer
        call = call._replace(timeout=min(call.timeout, SHORTEST_CALL))
    try:
        yield call
    except CoordError as exc:
        yield Defer(call, until)
        cause.add_note(f"leaving {circle.name!r} was not confirmed: {exc}")
    except GeneratorExit:
        raise
    except BaseException:
        yield Defer(call, until)
        raise


def leave(member: MemberLease) -> Op[None]:
    """
    Be a member no longer; that one was none any more is no error.

    A lost answer is resolved by asking again; `Unreachable` when it stays open.
    """
    circle = member._circle
    call = _leave_call(circle, member.holder, member.identity)
    try:
        member._ended = None  # a loss was not the end: this is
        member._end(State.RELEASED)
        yield from insist(call)
    except GeneratorExit:
        raise
    except BaseException:
        yield Defer(call, member._clock() + circle.ttl)
        raise


def beat(member: MemberLease) -> Op[None]:
    """Be heard of now, instead of when the keeper would; `LeaseLost` if it came too late."""
    member.check()
    renewal = member._renewal()
    circle = member._circle
    call = Call(*renewal, call_timeout(circle.ttl, circle.timeout))
    reply = yield from insist(call)
    reason = member._heard(reply.value[0], reply.asked_at, reply.heard_at)
    if reason is not None:
        member._end(reason)
        raise member._loss(reason)


def report(member: MemberLease, record: Record) -> Op[None]:
    """
    Store what a member says of itself from now on.

    What could not be told is told when the server answers again, or when it joins again.
    """
    if not member._comes_back():
        member.check()
    member._record = record
    member._seq += 1
    circle, keys = member._circle, member._circle.keys
    call = Call(
        "group_report",
        (keys.group, keys.alive, keys.log),
        (member.holder, member._seq, record.stored(), circle.channel),
        call_timeout(circle.ttl, circle.timeout),
    )
    later = member._clock() + circle.ttl
    if member._comes_back():
        yield Defer(call, later)  # or it would be lost on one that is joining just now
        return
    try:
        reply = yield from insist(call)
    except Unreachable:
        yield Defer(call, later)
        raise
    if text(reply.value[0]) == "gone" and not member._rejoins:
        raise member._loss(member.reason or Reason.EXPIRED)


def members_of(name: str, value: Any) -> Members:
    """Return the members that an answer lists."""
    found = looked(name, value).members
    return Members(name, 0, 0, ()) if found is None else found


def circle(
    namespace: str, name: str, *, ttl: float | timedelta, timeout: float
) -> Circle:
    """Check the options of a group."""
    return Circle(
        namespace,
        check_name(name),
        group_keys(namespace, name),
        news_channel(namespace, "group", name),
        ttl_seconds(ttl),
        timeout,
    )


def listing(namespace: str, timeout: float) -> Op[list[Members]]:
    """Return every group of *namespace* that has members, by name.  Reads the indexes: no SCAN."""
    names = yield from listed(index_keys(namespace), "group:", timeout)
    if not names:
        return []
    circles = [circle(namespace, name, ttl=1.0, timeout=timeout) for name in names]
    calls = tuple(each._look_call() for each in circles)
    reply = yield from ask(Pipeline(calls, timeout))
    found: list[Members] = []
    for name, value in zip(names, reply.value, strict=True):
        if not isinstance(value, CoordError):
            found.append(members_of(name, value))
        elif not isinstance(value, KeyConflict):
            raise value
    return [members for members in found if members]
