"""
What a live node does for its ring.

Whoever looks, and finds that the ring is not as it should be by now (see `ring_live`),
makes it so; no node is special.  It is looked at after every message, whenever somebody
may have died, and at a third of the ttl.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from ..errors import CoordError, KeyConflict, RingChanged, Unreachable
from .asking import LONGEST_PAUSE, ask
from .follow import Copy
from .group import Circle
from .lease import State
from .members import MemberInfo, Watching, looked
from .observe import SHORTEST_NAP
from .ops import Call, Listen, Op, Pipeline, Rest, Tell, Wait
from .ring import MOST_RACES, Shape, Writer, commit
from .ring_change import Draft, difference
from .ring_live import Life, dead, fits, mine, pending, settled
from .ring_local import LocalRing
from .ring_member import Assigned, Revoked, runs_of
from .ring_node import Node, check_node
from .ring_read import RingId
from .ring_snapshot import Snapshot, empty
from .span import LONGEST_CALL, seconds

if TYPE_CHECKING:
    from .ring_member import NodeLease

#: When most nodes have died at once, rather the server stood still: those who live are
#: back by their next heartbeat, which an outage has made come soon.  And it fits into the
#: second after its ttl within which a dead node's keys have an owner again.
MASS_PAUSE = 0.7
#: Who is told of changes looks so often at its own lease: timers stand still while the
#: machine is suspended.
GLANCE = 1.0
#: Between two looks of one who is not in the ring yet.
PAUSE = 0.05


class _Told:
    """One who asks for changes: what he was told he has."""

    def __init__(self, rid: str) -> None:
        self.rid = rid
        self.slots: set[int] = set()


class _Held(NamedTuple):
    """What is a node's own, by slot, and what that was made up from."""

    snapshot: Snapshot
    token: int
    shut: frozenset[int]
    mask: bytes


class _Given(NamedTuple):
    """What was let go by a change of that version; nobody knows yet whether it was made."""

    birth: str
    version: int
    slots: frozenset[int]


class Tender:
    """
    Who is there, as far as a live node knows, and what it does about it.

    A follower keeps it fresh, and has it tend the ring.  It knows its member weakly: one
    that its holder has dropped is no more.  *rid* makes request ids, *stir* has the
    follower look, *wake* ends a wait.
    """

    def __init__(
        self,
        ring: RingId,
        local: LocalRing,
        circle: Circle,
        member: NodeLease,
        rid: Callable[[], str],
        stir: Callable[[], None],
        wake: Callable[[str], None],
    ) -> None:
        self.channel = circle.channel
        #: it is asked about thrice in a ttl
        self.max_staleness = self.every = circle.ttl
        #: when to look next, at the latest
        self.deadline = 0.0
        self._ring = ring
        self._local = local
        self._circle = circle
        self._member = ref(member)
        self._rid = rid
        self._stir = stir
        self._wake = wake
        self._watching = Watching(ring.name)
        self._lives: dict[str, Life] | None = None
        self._now = self._heard_at = 0.0
        #: whether its follower has ended
        self.abandoned = False
        #: since when most nodes seem to be dead
        self._doubt: float | None = None
        #: what is its own no more: it is handed over, or may have been
        self._shut: frozenset[int] = frozenset()
        self._given: _Given | None = None
        self._held: _Held | None = None
        self._told: list[_Told] = []

    # -- what is its own ------------------------------------------------------------

    def held(self) -> tuple[Snapshot, bytes] | None:
        """Return the ring, and by slot what is the node's own; None if nothing is."""
        member = self._member()
        if member is None:
            return None
        snapshot = self._local.fresh(member._clock())
        if snapshot is None:
            return None
        token, shut, known = member.token, self._shut, self._held
        if known is None or known[:3] != (snapshot, token, shut):
            mask = bytearray(mine(snapshot, member.identity, token) or snapshot.slots)
            for slot in shut:
                mask[slot] = 0
            known = self._held = _Held(snapshot, token, shut, bytes(mask))
        # Last of all, so that what was read was so at an instant of that very membership.
        return (snapshot, known.mask) if member.held and member.token == token else None

    def slots(self) -> set[int]:
        """Return the slots that are the node's own."""
        held = self.held()
        return set() if held is None else set(compress(range(len(held[1])), held[1]))

    def changes(self, rid: str) -> Op[None]:
        """Tell of every change of what is the node's own, until it has left."""
        told = _Told(rid)
        self._told.append(told)
        try:
            with suppress(Unreachable):  # it is woken by this process
                yield Listen(rid, LONGEST_CALL)
            while True:
                yield from self._news(told)
                member = self._member()
                if member is None or member._ended is State.RELEASED:
                    if told.slots:
                        continue  # it left while its listener was busy
                    return
                nap = min(GLANCE, member.remaining() or GLANCE)
                del member  # only known weakly while it waits
                yield Wait(rid, max(nap, SHORTEST_NAP))
        finally:
            self._told.remove(told)
            self._stir()

    def _news(self, told: _Told) -> Op[None]:
        held = self.slots()
        gone = told.slots - held
        kept = gone if self.over else gone & self._shut
        for slots, lost in ((kept, False), (gone - kept, True)):
            if slots:
                yield Tell(Revoked(tuple(runs_of(slots)), lost))
                told.slots -= slots  # asked for more: this has ended
                self._stir()
        if new := held - told.slots:
            told.slots |= new
            yield Tell(Assigned(tuple(runs_of(new))))

    # -- what its follower does -------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether there is nothing to tend any more: it has left, or was dropped."""
        member = self._member()
        return member is None or member._ended is State.RELEASED

    def ask(self) -> Call:
        """Return the question: who is there?"""
        return self._circle._look_call(self._watching.birth, self._watching.version)

    def take(self, value: Any, asked_at: float, heard_at: float) -> None:
        """Take in the answer; an error may stand in its place: then nobody is known."""
        del asked_at
        watching, lives = self._watching, self._lives
        self._lives, self._heard_at = None, heard_at
        if isinstance(value, CoordError):
            return
        try:
            news = list(watching.news(looked(self._circle.name, value)))
        except KeyConflict:
            # Not ours, or it does not lead on from what was known: all of it is asked for.
            self._watching = Watching(self._ring.name)
            self.deadline = heard_at + LONGEST_PAUSE
            return
        self._now = int(value[3]) / 1000
        same = lives is not None and not news
        self._lives = lives if same else dict(_lives(watching.members()))
        self.deadline = heard_at + max(watching.left, SHORTEST_NAP)

    def expire(self, now: float, why: str) -> None:
        """Take note when nobody looks any more; what is its own ends by its lease."""
        del why
        self.abandoned = self.abandoned or math.isinf(now)

    def hears(self, now: float) -> bool:
        """Whether it is told of the ring, within a ttl: else it could hand nothing over."""
        local, ttl = self._local, self._circle.ttl
        return not self.abandoned and now < local.deadline + max(
            0.0, ttl - local.max_staleness
        )

    def look(self) -> Op[None]:
        """Ask how the ring is, and who is there."""
        # In this order: who is there must not be older.
        copies: tuple[Copy, ...] = (self._local, self)
        calls = tuple(copy.ask() for copy in copies)
        reply = yield from ask(Pipeline(calls, self._circle.timeout))
        for value in reply.value:
            if isinstance(value, Unreachable):
                raise value
        for copy, value in zip(copies, reply.value, strict=True):
            copy.take(value, reply.asked_at, reply.heard_at)

    def tend(self) -> Op[None]:
        """Make the ring what it should be by now, and hand over what is to go."""
        refused = False
        for _ in range(MOST_RACES):
            if self._local.seen_at > self._heard_at:
                yield from self.look()
            made = self._made()
            for told in tuple(self._told):
                self._wake(told.rid)
            if made is None:
                return
            draft, writer = made
            try:
                yield from commit(self._ring, draft, writer)
            except RingChanged:
                yield from self.look()
            except KeyConflict:
                if refused:
                    raise
                # Somebody lives who is not known to: all who are there are asked for.
                refused, self._watching = True, Watching(self._ring.name)
                yield from self.look()

    def _made(self) -> tuple[Draft, Writer] | None:
        """Return what to change, if there is something, and as whom."""
        member = self._member()
        lives, old = self._lives, self._old()
        if member is None or not member.held or lives is None or old is None:
            return None
        name, now = member.identity, member._clock()
        lives = self._spared(old, lives, now)
        going = pending(old, name, member.token, lives)
        given = self._given
        if given is not None and given[:2] == (old.birth, old.version):
            going |= given.slots
        if going != self._shut:
            self._shut = going
        ready = going.difference(*(told.slots for told in tuple(self._told)))
        new = settled(old, lives, self._now, given=ready)
        if new is None:
            return None
        if ready:  # from now on, whatever becomes of the answer
            self._given = _Given(old.birth, old.version, ready)
        made = Draft(difference(old, new), old, new)
        return made, Writer(self._rid(), name, self._local.heard, member.holder)

    def _old(self) -> Snapshot | None:
        """Return the ring as it is, or is about to be created; None if nobody knows."""
        if self._local.absent:
            return empty(self._ring.name, self._rid(), *Shape())
        member = self._member()
        return None if member is None else self._local.fresh(member._clock())

    def _spared(
        self, ring: Snapshot, lives: dict[str, Life], now: float
    ) -> dict[str, Life]:
        """Return who is to be taken for alive: while it is in doubt, all of them."""
        gone = dead(ring, lives)
        there = sum(node.name in lives for node in ring.nodes)
        if not gone:
            self._doubt = None
        elif self._doubt is None and len(gone) > max(there, 1):
            self._doubt = now
        if self._doubt is None:
            return lives
        left = self._doubt + MASS_PAUSE - now
        if left <= 0:
            return lives
        self.deadline = min(self.deadline, now + max(left, SHORTEST_NAP))
        return lives | {node.name: Life(node.holder, node) for node in gone}

    # -- how it comes and goes ----------------------------------------------------------

    def enter(self) -> Op[None]:
        """See to it that the node is in the ring, held by this membership."""
        until: float | None = None
        problem: CoordError = Unreachable(f"no way into the ring {self._ring.name!r}")
        while True:
            yield from self.look()
            try:
                yield from self.tend()
            except KeyConflict as exc:
                problem = exc  # who has joined meanwhile may have been in the way
            member = self._member()
            if member is None or self._is_in(member):
                return
            member.check()
            _check_room(self._local.known(), member.identity, member._record.weight)
            clock = yield Rest(member._clock() + PAUSE)
            until = clock.asked_at + self._circle.ttl if until is None else until
            if clock.heard_at >= until:
                raise problem

    def _is_in(self, member: NodeLease) -> bool:
        snapshot = self._local.snapshot
        return (
            snapshot is not None
            and mine(snapshot, member.identity, member.token) is not None
        )

    def anew(self, member: NodeLease) -> Tender:
        """Return one that knows nothing yet: its follower may be busy with this one."""
        ways = self._rid, self._stir, self._wake
        return Tender(self._ring, self._local, self._circle, member, *ways)

    def withdraw(self, name: str, holder: str) -> Op[None]:
        """Take the node out of the ring: what it had goes to the others at once."""
        for _ in range(MOST_RACES):
            yield from self.look()
            lives, old = self._lives, self._local.snapshot
            if lives is None or old is None or name in lives:
                return
            new = settled(old, lives, self._now, left=(name,))
            if new is None:
                return
            made = Draft(difference(old, new), old, new)
            writer = Writer(self._rid(), name, self._local.heard, holder)
            with suppress(RingChanged, KeyConflict):
                yield from commit(self._ring, made, writer)
                return


def _check_room(ring: Snapshot, name: str, weight: float) -> None:
    """Raise if the ring cannot have this node."""
    if any(node.name == name for node in ring.nodes):
        return
    if not fits(ring.mode, weight):
        raise ValueError(f"weight={weight:g} of {name!r} is too much for a hashed ring")
    if len(ring.nodes) >= ring.slots:
        raise ValueError(
            f"the ring {ring.name!r} has {ring.slots} slots, and as many nodes"
        )


def _lives(members: Iterable[MemberInfo]) -> Iterator[tuple[str, Life]]:
    for member in members:
        meta: Mapping[str, Any] = member.meta
        named = member.identity, member.weight, member.zone
        node = Node(*named, meta.get("capacity"), meta.get("meta") or {})
        with suppress(ValueError, TypeError):  # what no node can be is none
            grace = seconds(meta.get("grace", 0.0), "grace")
            node = replace(check_node(node), grace=grace)
            yield node.name, Life(member.token, node)
