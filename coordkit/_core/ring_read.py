"""Reads a ring as the server keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DamagedRing, Unsupported
from .keys import RingKeys, check_name, news_channel, ring_keys
from .ops import Call
from .reply import text
from .ring_node import Node, stored_node
from .ring_place import MODES
from .ring_slot import HASH, check_slots
from .ring_snapshot import FORMATS, Snapshot, unpack


@dataclass(frozen=True, slots=True)
class RingId:
    """Which ring, and how to ask about it."""

    name: str
    keys: RingKeys
    #: where its changes are hinted at
    channel: str
    #: how long one question may take, in seconds
    timeout: float

    @property
    def member(self) -> str:
        """Its name in the index of what does not expire."""
        return f"ring:{self.name}"


@dataclass(frozen=True, slots=True)
class RingInfo:
    """
    What a ring is, without its slots.

    *version* counts its changes; 0: there is no such ring.  *nodes*: how many it has.
    """

    name: str
    version: int
    slots: int = 0
    mode: str = ""
    replicas: int = 0
    nodes: int = 0


def ring_id(namespace: str, name: str, timeout: float) -> RingId:
    """Return the ring of that name."""
    keys = ring_keys(namespace, check_name(name))
    return RingId(name, keys, news_channel(namespace, "ring", name), timeout)


def read_call(ring: RingId, known: Snapshot | None, *, whole: bool = True) -> Call:
    """Return the question: is the ring still as it is known, and if not, how is it?"""
    seen = f"{known.birth} {known.version}" if known else ""
    keys = (ring.keys.meta, ring.keys.nodes, ring.keys.packed)
    return Call("ring_read", keys, (seen, int(whole)), ring.timeout)


def pairs(flat: list[Any]) -> dict[str, str]:
    """Return a hash of a reply."""
    return {text(k): text(v) for k, v in zip(flat[::2], flat[1::2], strict=True)}


def info_of(name: str, meta: Mapping[str, str]) -> RingInfo:
    """Return what *meta* says; `Unsupported` or `DamagedRing` when it cannot be used."""
    format_, hash_ = meta.get("format", ""), meta.get("hash", "")
    if format_.isdigit() and int(format_) not in FORMATS:
        raise Unsupported(
            f"the ring {name!r} is stored in format {format_}, this coordkit reads up to "
            f"{FORMATS[-1]}: a newer one wrote it"
        )
    if hash_ and hash_ != HASH:
        raise Unsupported(f"the ring {name!r} is hashed by {hash_!r}, not by {HASH}")
    try:
        info = RingInfo(
            name,
            int(meta["version"]),
            check_slots(int(meta["slots"])),
            meta["mode"],
            int(meta["replicas"]),
            int(meta["nodes"]),
        )
    except (KeyError, ValueError) as exc:
        raise DamagedRing(name, f"its meta does not say what it should: {exc}") from exc
    if (
        not format_.isdigit()
        or hash_ != HASH
        or info.mode not in MODES
        or not meta.get("birth")
        or not meta.get("floor", "").isdigit()
    ):
        raise DamagedRing(name, "its meta does not say what it should")
    return info


def snapshot_of(name: str, value: list[Any]) -> Snapshot:
    """Return the ring of a reply to `read_call`; `DamagedRing` says why there is none."""
    meta, records = pairs(value[1]), pairs(value[2])
    info = info_of(name, meta)
    packed: bytes | None = value[3]
    if packed is None:
        raise DamagedRing(name, "its packed snapshot is gone")
    try:
        unpacked = unpack(packed)
    except ValueError as exc:
        raise DamagedRing(name, f"{exc}") from exc
    if (unpacked.version, len(unpacked.owners)) != (info.version, info.slots):
        raise DamagedRing(name, "its packed snapshot is of another version")
    if unpacked.names != sorted(records):
        raise DamagedRing(name, "its packed snapshot is of other nodes")
    return Snapshot(
        name,
        meta["birth"],
        info.version,
        info.mode,
        info.replicas,
        tuple(_node(name, each, records[each]) for each in unpacked.names),
        unpacked.owners,
        unpacked.epochs,
        unpacked.next,
        int(meta["floor"]),
    )


def _node(name: str, node: str, record: str) -> Node:
    try:
        return stored_node(node, record)
    except (ValueError, TypeError) as exc:
        raise DamagedRing(
            name, f"the record of its node {node!r} is no record"
        ) from exc
