"""
Every key name, in one place: ``ck:1:<namespace>:{<bucket>}:<kind>:<name>``.

The bucket, not the name, is the hash tag: so any name may be used, all keys of
one name share a slot, and what is kept once a bucket (the fence, the index)
stays bounded however many names there are.  ``1`` is the version of the layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import category

from xxhash import xxh64_intdigest

LAYOUT = "ck:1"
BUCKETS = 256
LONGEST_NAME = 512
#: A longer name is cut in an error's text.
LONGEST_SHOWN = 64

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
#: control characters, surrogates, line and paragraph separators
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class LockKeys:
    """The keys of one lock.  *tomb* is a prefix: the request's rid completes it."""

    bucket: int
    lock: str
    queue: str
    alive: str
    waiters: str
    holders: str
    records: str
    tomb: str
    fence: str
    index: str


@dataclass(frozen=True, slots=True)
class GroupKeys:
    """The keys of one group.  *tomb* is a prefix: the request's rid completes it."""

    bucket: int
    group: str
    alive: str
    log: str
    turn: str
    tomb: str
    fence: str
    index: str


@dataclass(frozen=True, slots=True)
class CounterKeys:
    """The keys of one counter, or of a shard.  *memo* is a prefix: a lane completes it."""

    counter: str
    memo: str
    lasting: str


@dataclass(frozen=True, slots=True)
class FenceKeys:
    """
    The keys of one fence: of what checks tokens, not of what mints them.

    *value* and *memo* are prefixes: a field, and a lane, completes them.
    """

    guard: str
    value: str
    journal: str
    memo: str


@dataclass(frozen=True, slots=True)
class RingKeys:
    """
    The keys of one ring.  *staged* and *tomb* are prefixes: a rid completes them.

    *live*: those of the group of its live nodes.
    """

    bucket: int
    points: str
    nodes: str
    meta: str
    log: str
    packed: str
    assigned: str
    loads: str
    staged: str
    tomb: str
    lasting: str
    live: GroupKeys


def check_name(name: str, what: str = "name") -> str:
    """Return *name* if it can be one: 1 to 512 bytes of UTF-8 without control characters."""
    if not isinstance(name, str):
        raise TypeError(f"a {what} is a str, not {type(name).__name__}: {name!r}")
    plain = name.isascii() and name.isprintable()  # most are
    bad = None if plain else next((c for c in name if category(c) in _REFUSED), None)
    if bad is not None:
        raise ValueError(
            f"{what} {name[:LONGEST_SHOWN]!r} contains the control character {bad!r}"
        )
    size = len(name.encode())
    if not 1 <= size <= LONGEST_NAME:
        shown = name if size <= LONGEST_SHOWN else name[:LONGEST_SHOWN] + "…"
        raise ValueError(
            f"{what} {shown!r} is {size} bytes long; allowed are 1 to {LONGEST_NAME}"
        )
    return name


def check_namespace(namespace: str) -> str:
    """Return *namespace* if it can be one: 1 to 64 of A-Z a-z 0-9 . _ -"""
    if not isinstance(namespace, str):
        raise TypeError(
            f"a namespace is a str, not {type(namespace).__name__}: {namespace!r}"
        )
    if not _NAMESPACE.match(namespace):
        raise ValueError(
            f"namespace {namespace[:80]!r} is not 1 to 64 characters of A-Z a-z 0-9 . _ -"
        )
    return namespace


def bucket_of(name: str) -> int:
    """Return the bucket of *name*: XXH64 of its UTF-8, modulo 256."""
    return xxh64_intdigest(name.encode()) % BUCKETS


def in_bucket(namespace: str, bucket: int, rest: str) -> str:
    """Return the key *rest* of that bucket."""
    return f"{LAYOUT}:{namespace}:{{{bucket:02x}}}:{rest}"


def lock_keys(namespace: str, name: str) -> LockKeys:
    """Return the keys of the lock *name*, all in its bucket."""
    bucket = bucket_of(name)
    at = in_bucket(namespace, bucket, "")
    return LockKeys(
        bucket=bucket,
        lock=f"{at}lock:{name}",
        queue=f"{at}queue:{name}",
        alive=f"{at}alive:{name}",
        waiters=f"{at}waiters:{name}",
        holders=f"{at}holders:{name}",
        records=f"{at}records:{name}",
        tomb=f"{at}tomb:",
        fence=f"{at}fence",
        index=f"{at}index",
    )


def election_keys(namespace: str, name: str) -> LockKeys:
    """Return the keys of the lock that the leader of *name* holds."""
    bucket = bucket_of(name)
    at = in_bucket(namespace, bucket, "")
    return LockKeys(
        bucket=bucket,
        lock=f"{at}leader.lock:{name}",
        queue=f"{at}leader.queue:{name}",
        alive=f"{at}leader.alive:{name}",
        waiters=f"{at}leader.waiters:{name}",
        holders=f"{at}leader.holders:{name}",
        records=f"{at}leader.records:{name}",
        tomb=f"{at}tomb:",
        fence=f"{at}fence",
        index=f"{at}index",
    )


def history_key(namespace: str, name: str) -> str:
    """Return the key of what is remembered of the terms of *name*."""
    return in_bucket(namespace, bucket_of(name), f"leader.history:{name}")


def group_keys(namespace: str, name: str) -> GroupKeys:
    """Return the keys of the group *name*."""
    bucket = bucket_of(name)
    at = in_bucket(namespace, bucket, "")
    return GroupKeys(
        bucket=bucket,
        group=f"{at}group:{name}",
        alive=f"{at}group.alive:{name}",
        log=f"{at}group.log:{name}",
        turn=f"{at}group.turn:{name}",
        tomb=f"{at}tomb:",
        fence=f"{at}fence",
        index=f"{at}index",
    )


def counter_keys(namespace: str, name: str, shard: int = 0) -> CounterKeys:
    """Return the keys of the counter *name*; each of its shards is in a bucket of its own."""
    at = in_bucket(namespace, (bucket_of(name) + shard) % BUCKETS, "")
    return CounterKeys(f"{at}counter:{name}", f"{at}memo:", f"{at}lasting")


def fence_keys(namespace: str, name: str) -> FenceKeys:
    """Return the keys of the fence *name*, all in its bucket."""
    at = in_bucket(namespace, bucket_of(name), "")
    # Without a colon in it, the name ends where the field begins.
    plain = name.replace("%", "%25").replace(":", "%3A")
    return FenceKeys(
        guard=f"{at}guard:{name}",
        value=f"{at}value:{plain}:",
        journal=f"{at}journal:{name}",
        memo=f"{at}memo:",
    )


def ids_key(namespace: str, name: str) -> str:
    """Return the key of the ids *name*."""
    return in_bucket(namespace, bucket_of(name), f"ids:{name}")


def ring_keys(namespace: str, name: str) -> RingKeys:
    """Return the keys of the ring *name*, all in its bucket."""
    bucket = bucket_of(name)
    at = in_bucket(namespace, bucket, "")
    return RingKeys(
        bucket=bucket,
        points=f"{at}ring.points:{name}",
        nodes=f"{at}ring.nodes:{name}",
        meta=f"{at}ring.meta:{name}",
        log=f"{at}ring.log:{name}",
        packed=f"{at}ring.packed:{name}",
        assigned=f"{at}ring.assigned:{name}",
        loads=f"{at}ring.loads:{name}",
        staged=f"{at}ring.staged:",
        tomb=f"{at}tomb:",
        lasting=f"{at}lasting",
        live=GroupKeys(
            bucket=bucket,
            group=f"{at}ring.live:{name}",
            alive=f"{at}ring.live.alive:{name}",
            log=f"{at}ring.live.log:{name}",
            turn=f"{at}ring.live.turn:{name}",
            tomb=f"{at}tomb:",
            fence=f"{at}fence",
            index=f"{at}index",
        ),
    )


def index_keys(namespace: str) -> tuple[str, ...]:
    """Return the index of every bucket."""
    return tuple(in_bucket(namespace, b, "index") for b in range(BUCKETS))


def lasting_keys(namespace: str) -> tuple[str, ...]:
    """Return what lists, in every bucket, the names of things that do not expire."""
    return tuple(in_bucket(namespace, b, "lasting") for b in range(BUCKETS))


def wake_prefix(namespace: str) -> str:
    """Return what the wake channels of all sessions of *namespace* start with."""
    return f"{LAYOUT}:{namespace}:wake:"


def news_channel(namespace: str, kind: str, name: str) -> str:
    """Return where is published that this thing has changed."""
    return f"{LAYOUT}:{namespace}:news:{kind}:{name}"
