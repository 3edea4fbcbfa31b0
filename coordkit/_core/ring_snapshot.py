"""
A ring at one version: which node owns which slot, and what can be told from that.

It is never changed: a change makes another.  Stored it is one packed value, which
any language can read; all numbers are little-endian::

    4  bytes  "ckrg"
    u8        format: 1, or 2 once a node lives (see `ring_live`)
    u8        bits: there are 2^bits slots
    u16       nodes
    u64       version
    u32       length of the names
    …         the nodes' names in UTF-8, sorted, a newline between them
    u16 × S   the owner of each slot: an index into the names; 65535: nobody
    u32 × S   the epoch of each slot: the version at which it got its owner
    u16 × S   format 2 only: whose each slot is to be
    u32       CRC-32 of all that comes before
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, repeat
from typing import NamedTuple
from zlib import crc32

from .ring_node import Node
from .ring_place import NOBODY
from .ring_slot import FEWEST_SLOTS, MOST_SLOTS

MAGIC = b"ckrg"
#: The second is written while a node lives, or somebody stands in for one.
FORMAT, LIVE_FORMAT = FORMATS = 1, 2
_HEAD = struct.Struct("<4sBBHQI")
_CRC = struct.Struct("<I")


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A ring at one version; *nodes* are sorted by name."""

    name: str
    #: of this ring and no other that was ever called the same
    birth: str
    version: int
    mode: str
    replicas: int
    nodes: tuple[Node, ...]
    owners: array[int]
    epochs: array[int]
    #: whose each slot is to be, where that is not whose it is; see `targets`
    next: array[int] | None = None
    #: what epochs count from: with it they rise though the ring was made anew
    floor: int = 0

    @property
    def slots(self) -> int:
        """How many there are."""
        return len(self.owners)

    @property
    def targets(self) -> array[int]:
        """Whose each slot is to be."""
        return self.owners if self.next is None else self.next

    @property
    def format(self) -> int:
        """In which format it is stored."""
        lives = self.next is not None or any(node.joined for node in self.nodes)
        return LIVE_FORMAT if lives else FORMAT

    @property
    def owned(self) -> bool:
        """Whether its slots have owners: all have, or none."""
        return self.owners[0] != NOBODY

    def table(self) -> list[str]:
        """Return the owner of each slot; empty when they have none."""
        names = [node.name for node in self.nodes]
        return list(map(names.__getitem__, self.owners)) if self.owned else []

    def aims(self) -> list[str]:
        """Return whose each slot is to be; empty when they are to be nobody's."""
        if self.next is None:
            return self.table()
        names = [node.name for node in self.nodes]
        nobody = self.next[0] == NOBODY
        return [] if nobody else list(map(names.__getitem__, self.next))

    def arrived(self) -> Snapshot:
        """Return it as it will be once all is handed over."""
        return replace(self, owners=self.targets, next=None)

    def overtaken_by(self, other: Snapshot) -> bool:
        """Whether *other* is a later version of this ring."""
        return other.birth == self.birth and other.version > self.version


class Range(NamedTuple):
    """Slots *first* to *last*, both included."""

    first: int
    last: int


def empty(name: str, birth: str, slots: int, mode: str, replicas: int) -> Snapshot:
    """Return a ring that is about to be created."""
    owners, epochs = array("H", repeat(NOBODY, slots)), array("I", repeat(0, slots))
    return Snapshot(name, birth, 0, mode, replicas, (), owners, epochs)


def ranges(table: Sequence[str], node: str) -> Iterator[Range]:
    """Yield the runs of slots that *node* owns."""
    slot = 0
    for owner, run in groupby(table):
        first, slot = slot, slot + len(list(run))
        if owner == node:
            yield Range(first, slot - 1)


# -- packed -----------------------------------------------------------------------


class Unpacked(NamedTuple):
    """What a packed value holds."""

    version: int
    names: list[str]
    owners: array[int]
    epochs: array[int]
    next: array[int] | None


def pack(snapshot: Snapshot) -> bytes:
    """Return *snapshot* as it is stored."""
    names = "\n".join(node.name for node in snapshot.nodes).encode()
    bits = snapshot.slots.bit_length() - 1
    form = snapshot.format
    head = _HEAD.pack(
        MAGIC, form, bits, len(snapshot.nodes), snapshot.version, len(names)
    )
    body = head + names + _ordered(snapshot.owners) + _ordered(snapshot.epochs)
    if form == LIVE_FORMAT:
        body += _ordered(snapshot.targets)
    return body + _CRC.pack(crc32(body))


def unpack(packed: bytes) -> Unpacked:
    """Return what *packed* holds; `ValueError` says what is wrong with it."""
    if len(packed) < _HEAD.size + _CRC.size or packed[:4] != MAGIC:
        raise ValueError("the packed ring is no packed ring")
    if _CRC.unpack(packed[-4:])[0] != crc32(memoryview(packed)[:-4]):
        raise ValueError("the packed ring has another CRC than it says")
    _, format_, bits, number, version, length = _HEAD.unpack_from(packed)
    slots = 1 << bits
    begin, each = _HEAD.size + length, 8 if format_ == LIVE_FORMAT else 6
    if (
        format_ not in FORMATS
        or not FEWEST_SLOTS <= slots <= MOST_SLOTS
        or len(packed) != begin + each * slots + 4
    ):
        raise ValueError("the packed ring is of another size or format than it says")
    names = packed[_HEAD.size : begin].decode().split("\n") if length else []
    owners = _read("H", packed[begin : begin + 2 * slots])
    epochs = _read("I", packed[begin + 2 * slots : begin + 6 * slots])
    targets = _read("H", packed[begin + 6 * slots : -4]) or owners
    if len(names) != number or not (_named(owners, number) and _named(targets, number)):
        raise ValueError("the packed ring has slots of nodes that it does not name")
    return Unpacked(
        version, names, owners, epochs, None if targets == owners else targets
    )


def _named(table: array[int], number: int) -> bool:
    """Whether all slots are of the first so many nodes, or all of nobody."""
    used = set(table)
    return used == {NOBODY} or max(used) < number


def _ordered(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _read(kind: str, data: bytes) -> array[int]:
    numbers: array[int] = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


# -- as points ----------------------------------------------------------------------


def redrawn(
    old: Sequence[str], new: Sequence[str], slots: int, moved: Sequence[int]
) -> tuple[list[str], list[tuple[int, str]]]:
    """
    Return which points go, and which come with which score.

    A point ends each arc, a run of slots of one owner: ``"<last slot>:<node>"``.  Only
    the borders of slots that have moved can differ.
    """
    borders = sorted({b for slot in moved for b in (slot - 1, slot) if b >= 0})
    gone: list[str] = []
    come: list[tuple[int, str]] = []
    for border in borders:
        before, after = (_point(table, border, slots) for table in (old, new))
        if before != after:
            if before:
                gone.append(before)
            if after:
                come.append((border, after))
    return gone, come


def _point(table: Sequence[str], border: int, slots: int) -> str:
    """Return the point at the end of that slot; empty if an arc goes on there."""
    if not table or (border < slots - 1 and table[border] == table[border + 1]):
        return ""
    return f"{border}:{table[border]}"


def points(table: Sequence[str]) -> list[tuple[int, str]]:
    """Return every point, with its score."""
    return redrawn([], table, len(table), range(len(table)))[1]
