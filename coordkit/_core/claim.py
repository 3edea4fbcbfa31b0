"""What the options of a lock may be, what they mean together, and what is asked for by them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from .keys import LockKeys, check_name, lock_keys, wake_prefix
from .span import call_timeout, milliseconds, seconds, ttl_seconds
from .whole import whole

LARGEST_META = 4096
DEEPEST_META = 16
LONGEST_WAITER_TTL = 60.0
MOST_SLOTS = 100_000


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What every acquisition of one `Lock` asks for; times in seconds.

    The keys and arguments of its scripts are made once: all but the rid, which
    comes first among the arguments and completes the tombstone's key, the last.
    """

    name: str
    keys: LockKeys
    member: str
    identity: str
    ttl: float
    #: the ttl of the acquisition itself: max_hold may be shorter
    first_ttl: float
    #: the ttl, from the last question, of a lock that was handed over
    handed_ttl: float
    waiter_ttl: float
    #: None: alone; 0: shared by any number; n: shared by at most n
    limit: int | None
    max_hold: float | None
    lock_delay: float
    call_timeout: float
    #: how long an outage is ridden out before it is reported
    patience: float
    acquire_keys: tuple[str, ...]
    acquire_args: tuple[str | int, ...]
    release_keys: tuple[str, ...]
    release_args: tuple[str | int, ...]
    #: which scripts are its own
    kind: str
    #: the last character of every rid: x alone, s shared
    mode: str
    #: of an election: the key of its history, which follows the tombstone's
    history: tuple[str, ...] = ()
    #: which part of the ttl may be relied on, and after which part it is renewed
    belief: float = 1.0
    pace: float = 1 / 3
    #: a leader steps down after so long
    max_term: float | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """The checked options of one lock.  Times in seconds."""

    namespace: str
    name: str
    keys: LockKeys
    ttl: float
    fair: bool
    limit: int | None
    hold_at_least: float
    max_hold: float | None
    lock_delay: float
    waiter_ttl: float
    meta: str

    def claim(self, identity: str, ceiling: float) -> Claim:
        """Return what an acquisition by *identity* asks for."""
        k, member, wake = self.keys, f"lock:{self.name}", wake_prefix(self.namespace)
        first = self.ttl if self.max_hold is None else min(self.ttl, self.max_hold)
        ttl, fair = milliseconds(first), int(self.fair)
        delay, hold = milliseconds(self.lock_delay), milliseconds(self.hold_at_least)
        places = (k.lock, k.queue, k.alive, k.waiters)
        acquire_keys: tuple[str, ...]
        release_keys: tuple[str, ...]
        if self.limit is None:
            acquire_keys = (*places, k.holders, k.fence, k.index)
            release_keys = (*places, k.holders, k.fence, k.index)
            own: tuple[int, ...] = (ttl, delay, fair)
            last: tuple[str, ...] = (member,)
            release_args: tuple[str | int, ...] = (hold, member, wake)
        else:
            acquire_keys = (*places, k.holders, k.fence, k.index, k.records)
            release_keys = (*places, k.holders, k.index, k.records)
            own, last = (ttl, self.limit, fair), (member, wake)
            release_args = (member, wake)
        return Claim(
            name=self.name,
            keys=k,
            member=member,
            identity=identity,
            ttl=self.ttl,
            first_ttl=first,
            handed_ttl=min(first, self.waiter_ttl),
            kind="lock" if self.limit is None else "share",
            mode="x" if self.limit is None else "s",
            waiter_ttl=self.waiter_ttl,
            limit=self.limit,
            max_hold=self.max_hold,
            lock_delay=self.lock_delay,
            call_timeout=call_timeout(self.ttl, ceiling),
            patience=self.ttl,
            acquire_keys=acquire_keys,
            acquire_args=(*own, identity, self.meta, *last),
            release_keys=release_keys,
            release_args=release_args,
        )

    def shown(self) -> str:
        """Return the options that a reader of a `repr` wants to see."""
        shared = "" if self.limit is None else " shared"
        slots = f" slots={self.limit}" if self.limit else shared
        return f"ttl={self.ttl:g}{slots}{'' if self.fair else ' unfair'}"


def lock_options(
    namespace: str,
    name: str,
    ttl: float | timedelta,
    hold_at_least: float | timedelta,
    max_hold: float | timedelta | None,
    lock_delay: float | timedelta,
    waiter_ttl: float | timedelta,
    meta: Mapping[str, Any] | None,
    *,
    fair: bool,
    shared: bool,
    slots: int | None,
) -> Options:
    """Check the options of a lock, against each other too."""
    limit = _limit(shared, slots)
    hold = seconds(hold_at_least, "hold_at_least")
    most = None if max_hold is None else seconds(max_hold, "max_hold", least=0.05)
    delay = seconds(lock_delay, "lock_delay")
    lasts = ttl_seconds(ttl)
    if limit is not None and (hold or delay):
        raise ValueError(
            "hold_at_least and lock_delay are for a lock that is held alone: "
            "they cannot be combined with shared or slots"
        )
    return Options(
        namespace=namespace,
        name=check_name(name),
        keys=lock_keys(namespace, name),
        ttl=lasts,
        fair=flag(fair, "fair"),
        limit=limit,
        hold_at_least=hold,
        max_hold=most,
        lock_delay=delay,
        waiter_ttl=seconds(
            waiter_ttl, "waiter_ttl", least=0.1, most=LONGEST_WAITER_TTL
        ),
        meta=meta_text(meta),
    )


def several(names: Sequence[str]) -> list[str]:
    """Return *names* if they are at least one, and each only once."""
    if isinstance(names, str):
        raise TypeError(f"names is a sequence of names, not one str: {names!r}")
    given = list(names)
    if not given:
        raise ValueError("names is empty: give at least one name")
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is named twice: a lock cannot wait for itself")
    return given


def flag(value: object, what: str) -> bool:
    """Return *value* if it is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{what} is True or False, not {value!r}")
    return value


def _limit(shared: object, slots: int | None) -> int | None:
    if flag(shared, "shared") and slots is not None:
        raise ValueError(f"shared=True and slots={slots!r} cannot be combined")
    if slots is None:
        return 0 if shared else None
    return whole(slots, "slots", least=1, most=MOST_SLOTS)


def meta_text(meta: Mapping[str, Any] | None) -> str:
    """Return *meta* as it is stored: a JSON object of at most 4096 bytes."""
    if meta is None:
        return "{}"
    if not isinstance(meta, Mapping):
        raise TypeError(f"meta is a mapping, not {type(meta).__name__}: {meta!r:.80}")
    if not _shallow(meta, DEEPEST_META):
        raise ValueError(f"meta is nested deeper than {DEEPEST_META} levels")
    try:
        stored = json.dumps(dict(meta), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"meta cannot be stored as JSON: {exc}") from None
    if len(stored) > LARGEST_META:
        raise ValueError(
            f"meta is {len(stored)} bytes long; allowed are {LARGEST_META}"
        )
    return stored


def read_meta(stored: str) -> Mapping[str, Any]:
    """Return what was stored as *meta*."""
    try:
        meta: Any = json.loads(stored or "{}")
    except (ValueError, RecursionError):
        return {}  # written by somebody else: of no meaning to us
    return cast("Mapping[str, Any]", meta) if isinstance(meta, dict) else {}


def _shallow(value: Any, levels: int) -> bool:
    """Whether a value has at most so many levels: a reader must not run out of stack."""
    inner: Any
    if isinstance(value, Mapping):
        inner = cast("Any", value).values()
    elif isinstance(value, list | tuple):
        inner = cast("Any", value)
    else:
        return True
    return levels > 0 and all(_shallow(each, levels - 1) for each in inner)
