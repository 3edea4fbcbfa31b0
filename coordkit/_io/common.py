"""
What a process has of a session: its identity, its leases, what it knows of others.

In the child of a fork everything is made anew, and what was the parent's is left
alone, neither used nor closed.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from .._core import group, lock
from .._core.claim import Claim
from .._core.election import Office
from .._core.group import Circle, MemberLease
from .._core.group_local import LocalGroup
from .._core.keeper import Keeper
from .._core.keys import wake_prefix
from .._core.lanes import Lanes
from .._core.lock import LockLease
from .._core.members import Record
from .._core.ops import Op
from .._core.regress import Highest
from .._core.ring_local import LocalRing
from .._core.ring_read import RingId
from ..errors import Reason
from . import clock, fork

L = TypeVar("L", bound=LockLease)
M = TypeVar("M", bound=MemberLease)


class Common:
    """What both flavours of an engine know without asking anybody."""

    keeper: Keeper
    #: makes what one thing at a time may hold
    _guard: Callable[[], AbstractContextManager[Any]]
    #: what is drawn at random: a number from 0 to below 1
    draw: Callable[[], float] = staticmethod(random.random)

    def __init__(self, namespace: str, named: str | None, timeout: float) -> None:
        self.namespace = namespace
        self.timeout = timeout
        self.closed = False
        self.identity = ""
        self._named = named
        self._highest = Highest()
        #: the same object for ever, so that in a fork nobody uses the parent's
        self.lanes = Lanes()
        self._rings: dict[tuple[str, float], LocalRing] = {}
        self._groups: dict[tuple[str, float], LocalGroup] = {}
        self._of_parents: list[Any] = []
        self._start()
        fork.born_again(self)

    def _start(self) -> None:
        """Take an id and connections of one's own."""
        self._id = secrets.token_hex(8)
        self.lanes.restart(self._id)
        self.identity = self._named or fork.process_identity(self._id)
        self._connect(wake_prefix(self.namespace) + self._id)

    def _connect(self, channel: str) -> None:
        raise NotImplementedError

    def _listening(self) -> bool:
        raise NotImplementedError

    def _stir(self) -> None:
        raise NotImplementedError

    def _load_first(self, local: LocalRing) -> None:
        raise NotImplementedError

    def _parts(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def after_fork(self) -> None:
        """In a child process: leave all to the parent, and start anew."""
        for lease in self.keeper.orphans():
            # Nobody is told: who watches is the parent's too.
            if lease._ended is None or lease._comes_back():
                lease._ended = Reason.FORKED
        # Kept, for what nobody refers to is closed: and it is the parent's.
        self._of_parents.append(self._parts())
        self._start()
        for ring in self._rings.values():
            ring.forget(self._guard())
        for group_ in self._groups.values():
            group_.forget(self._guard())

    def rid(self, claim: Claim | None = None) -> str:
        """Return a new request id: the session's half, a random half, the mode of a claim."""
        mode = "" if claim is None else claim.mode
        return f"{self._id}{os.urandom(8).hex()}{mode}"

    def namesake(self, office: Office) -> Op[bool]:
        """Return the question whether another session, too, stands there by our name."""
        return office.namesake(self._named, self._id)

    def acquiring(
        self,
        claim: Claim,
        rid: str,
        new: Callable[[Claim, str, int, float, float], L],
        *,
        timeout: float | None,
        queue: bool,
    ) -> Op[L | None]:
        """Return the operation that takes a lock, to be run alone or as a part of another."""
        floor = self._highest.so_far(claim.keys.bucket)

        def make(token: int, asked_at: float, lasts: float) -> L:
            self._highest.check(claim.name, claim.keys.bucket, token, floor)
            lease = new(claim, rid, token, asked_at, lasts)
            if self.keeper.add(lease, asked_at):
                self._stir()
            return lease

        return lock.acquire(
            claim,
            rid,
            make,
            now=clock.now(),
            timeout=timeout,
            queue=queue,
            listening=self._listening(),
        )

    def joining(
        self,
        circle: Circle,
        rid: str,
        record: Record,
        new: Callable[[str, int, float], M],
        *,
        replace: bool,
    ) -> Op[M]:
        """Return the operation that joins a group, to be run alone or as a part of another."""
        floor = self._highest.so_far(circle.keys.bucket)

        def make(token: int, asked_at: float) -> M:
            self._highest.check(circle.name, circle.keys.bucket, token, floor)
            member = new(rid, token, asked_at)
            if self.keeper.add(member, asked_at):
                self._stir()
            return member

        now = clock.now()
        return group.join(circle, record, rid, make, now=now, replace=replace)

    def ring(self, ring: RingId, max_staleness: float) -> LocalRing:
        """Return what this process knows of a ring: the same for all who ask."""
        new = LocalRing(ring, max_staleness, guard=self._guard(), load=self._load_first)
        return self._rings.setdefault((ring.name, max_staleness), new)

    def local(self, circle: Circle, max_staleness: float) -> LocalGroup:
        """Return what this process knows of a group: the same for all who ask."""
        new = LocalGroup(circle, max_staleness, guard=self._guard())
        return self._groups.setdefault((circle.name, max_staleness), new)

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("the session is closed")


def check_same(before: object, now: object) -> None:
    """Refuse to go on in a child with what its parent has begun."""
    if before is not now:
        raise RuntimeError("this was begun in the process that forked this one")
