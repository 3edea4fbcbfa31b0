"""
What this process knows of a ring, and what it answers from that: no lock, no I/O.

A lookup is one hash and one index into a table.  Table and shift are one tuple, which
is swapped in one assignment when the ring has changed.  What must stop lookups, as
that nothing is known or that it is too old, is a table too, one that refuses every
index: so nothing needs to be asked on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from typing import Any, NamedTuple, TypeAlias

from ..errors import CoordError, EmptyRing, StaleRing
from .ops import Call
from .reply import text
from .ring_place import NOBODY
from .ring_prefer import Spread
from .ring_read import RingId, read_call, snapshot_of
from .ring_slot import shift_of, slot_of
from .ring_snapshot import Snapshot


class Location(NamedTuple):
    """
    Where a key is, and since when.

    *epoch*: the version of the ring at which its slot got this node; *version*: the
    one that this was read from.  *next*: the node that it is handed over to; None, if it
    stays.  *token* is a fencing token for what the node does with the key: it rises with
    every hand-over of the slot, though the ring be made anew.
    """

    slot: int
    node: str
    epoch: int
    version: int
    next: str | None
    token: int


class Refusing:
    """A table without an answer: it does with every hash what it was told to."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[int], str]) -> None:
        self._answer = answer

    def __getitem__(self, hash_: int) -> str:
        return self._answer(hash_)


#: Which slot belongs to whom, and by how much a hash is shifted to be a slot.
View: TypeAlias = Sequence[str] | Refusing


class LocalRing:
    """
    The newest snapshot of one ring, which a follower keeps fresh.

    *load* is called when a lookup comes before the first answer: it returns when there
    is one.  *guard* makes it safe to share: threads pass a lock, a loop needs none.
    """

    __slots__ = (
        "__weakref__",
        "_error",
        "_guard",
        "_load",
        "_ring",
        "_snapshot",
        "_spread",
        "absent",
        "channel",
        "deadline",
        "max_staleness",
        "name",
        "seen_at",
        "view",
    )

    #: a change is hinted at: no need to look for it
    every = math.inf

    def __init__(
        self,
        ring: RingId,
        max_staleness: float,
        guard: AbstractContextManager[Any],
        load: Callable[[LocalRing], None],
    ) -> None:
        self.name = ring.name
        self.channel = ring.channel
        self.max_staleness = max_staleness
        self._ring = ring
        self._load = load
        self.forget(guard)

    def forget(self, guard: AbstractContextManager[Any]) -> None:
        """Know nothing: the next lookup asks."""
        self._guard = guard
        self._snapshot: Snapshot | None = None
        self._error: CoordError | None = None
        self._spread: tuple[Snapshot, Spread] | None = None
        #: whether there is no such ring, by the last answer
        self.absent = False
        #: when the last answer was heard
        self.seen_at = 0.0
        #: until when it may be gone by without another answer
        self.deadline = 0.0
        self.view: tuple[View, int] = (Refusing(self._loaded), 0)

    # -- lookups --------------------------------------------------------------------

    def known(self) -> Snapshot:
        """Return the snapshot; raise if there is none to go by."""
        if self._snapshot is None and self._error is None:
            self._load(self)
        error, snapshot = self._error, self._snapshot
        if error is not None:
            raise copy(error)
        if snapshot is None:  # forked meanwhile
            raise StaleRing(self.name, "it has not been asked for")
        return snapshot

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest one, be it too old; None if there is none."""
        return self._snapshot

    def fresh(self, now: float) -> Snapshot | None:
        """Return the snapshot that may be gone by at *now*, if there is one."""
        good = self._error is None and now < self.deadline
        return self._snapshot if good else None

    def owners(self, key: str | bytes, n: int | None) -> tuple[str, ...]:
        """Return the first *n* nodes for *key*; None: as many as the ring's replicas."""
        snapshot = self._filled()
        seen = self._spread
        if seen is None or seen[0] is not snapshot:
            seen = self._spread = (snapshot, Spread.of(snapshot))
        slot = slot_of(key, snapshot.slots)
        return seen[1].preferred(slot, n or snapshot.replicas)

    def locate(self, key: str | bytes) -> Location:
        """Return where *key* is, and since when."""
        snapshot = self._filled()
        slot = slot_of(key, snapshot.slots)
        owner, target = snapshot.owners[slot], snapshot.targets[slot]
        nodes, epoch = snapshot.nodes, snapshot.epochs[slot]
        goes = target not in {owner, NOBODY}
        return Location(
            slot,
            nodes[owner].name,
            epoch,
            snapshot.version,
            nodes[target].name if goes else None,
            snapshot.floor + epoch,
        )

    def _filled(self) -> Snapshot:
        snapshot = self.known()
        if not snapshot.owned:
            raise self._no_nodes()
        return snapshot

    def _no_nodes(self) -> EmptyRing:
        return EmptyRing(f"the ring {self.name!r} has no nodes")

    def _loaded(self, hash_: int) -> str:
        """Answer the first lookup of all."""
        self.known()
        table, shift = self.view
        return table[hash_ >> shift]

    def _refused(self, _hash: int) -> str:
        self.known()
        raise self._no_nodes()

    # -- what its follower does ---------------------------------------------------------

    def ask(self) -> Call:
        """Return the question: has the ring changed?"""
        return read_call(self._ring, self._snapshot)

    def take(self, value: Any, asked_at: float, heard_at: float) -> None:
        """Take in the answer to a question of *asked_at*; an error may stand in its place."""
        if isinstance(value, CoordError):
            self._refuse(value, asked_at)
            return
        word = text(value[0])
        if word == "none":
            error = EmptyRing(f"there is no ring {self.name!r}")
            self._refuse(error, asked_at, absent=True)
        elif word == "ring":
            try:
                snapshot = snapshot_of(self.name, value)
            except CoordError as exc:
                self._refuse(exc, asked_at)
            else:
                self.adopt(snapshot, asked_at, heard_at)
        elif (snapshot_ := self._snapshot) is not None:
            self.adopt(snapshot_, asked_at, heard_at)

    def heard(self, snapshot: Snapshot, asked_at: float, heard_at: float) -> None:
        """Take in what the server has just made, if the ring is followed at all."""
        if self._snapshot is not None or self._error is not None:
            self.adopt(snapshot, asked_at, heard_at)

    def adopt(self, snapshot: Snapshot, asked_at: float, heard_at: float) -> None:
        """Go by *snapshot* from now on, which is an answer to a question of *asked_at*."""
        with self._guard:
            old = self._snapshot
            if (
                old is not None
                and snapshot.overtaken_by(old)
                and asked_at < self.seen_at
            ):
                return  # asked before, heard after: what we know is newer
            self.deadline = max(self.deadline, asked_at + self.max_staleness)
            self.seen_at = max(self.seen_at, heard_at)
            if snapshot is old and self._error is None:
                return
            table = snapshot.table()
            self._snapshot, self._error, self.absent = snapshot, None, False
            self.view = (
                (table, shift_of(snapshot.slots))
                if table
                else (Refusing(self._refused), 0)
            )

    def expire(self, now: float, why: str) -> None:
        """Answer no more, if what is known is too old at *now*."""
        with self._guard:
            if now >= self.deadline and self._snapshot is not None and not self._error:
                self._error = StaleRing(self.name, why)
                self.view = (Refusing(self._refused), 0)

    def _refuse(
        self, error: CoordError, asked_at: float, *, absent: bool = False
    ) -> None:
        with self._guard:
            if self._snapshot is not None and asked_at < self.seen_at:
                return  # asked before, heard after
            self.deadline = max(self.deadline, asked_at + self.max_staleness)
            self._snapshot, self._error, self.absent = None, error, absent
            self.view = (Refusing(self._refused), 0)
