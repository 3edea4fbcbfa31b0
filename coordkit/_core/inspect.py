"""What an operator asks of locks: who holds them, let go, and be broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ..errors import CoordError, KeyConflict
from .asking import ask, insist
from .claim import read_meta
from .keys import LockKeys, in_bucket, index_keys, lock_keys
from .ops import Call, Op, Pipeline
from .reply import number, text

#: The tombstone of a broken lease outlives what it could still have lasted by this.
BROKEN_MS = 10_000


@dataclass(frozen=True, slots=True)
class Holder:
    """
    One holder of a lock, as the server told it at one instant.

    *holder* is the random id of this acquisition, *identity* the process it
    belongs to, *expires_in* in seconds, *since* in seconds of the server's clock.
    """

    holder: str
    identity: str
    token: int
    expires_in: float
    since: float
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class LockInfo:
    """
    A held lock, as the server told it at one instant; it may have changed since.

    *mode* is ``"alone"``, ``"shared"`` or ``"slots"`` (at most *limit* holders), or
    ``"cooling"`` when it was released but is kept taken by ``hold_at_least``.  The
    other fields speak of the holder that has it longest; *holders* has them all.
    """

    name: str
    mode: str
    holder: str
    identity: str
    token: int
    expires_in: float
    since: float
    waiters: int
    meta: Mapping[str, Any]
    holders: tuple[Holder, ...]
    limit: int | None = None


def info(name: str, keys: LockKeys, timeout: float) -> Op[LockInfo | None]:
    """Return who holds *name*, or None."""
    reply = yield from ask(_info_call(keys, timeout))
    return _info(name, reply.value)


def listing(namespace: str, timeout: float) -> Op[list[LockInfo]]:
    """Return every held lock of *namespace*, by name.  Reads the indexes: no SCAN."""
    names = yield from listed(index_keys(namespace), "lock:", timeout)
    if not names:
        return []
    calls = tuple(_info_call(lock_keys(namespace, name), timeout) for name in names)
    reply = yield from ask(Pipeline(calls, timeout))
    found: list[LockInfo] = []
    for name, value in zip(names, reply.value, strict=True):
        if isinstance(value, CoordError):
            continue  # a foreign value at this key: it is no lock, and hides no other
        with suppress(KeyConflict):
            seen = _info(name, value)
            if seen is not None:
                found.append(seen)
    return found


def listed(indexes: Iterable[str], kind: str, timeout: float) -> Op[list[str]]:
    """Return the names of that kind that these indexes list, in order."""
    calls = tuple(Call("index_list", (key,), (), timeout) for key in indexes)
    reply = yield from ask(Pipeline(calls, timeout))
    members = sorted({text(m) for bucket in values(reply.value) for m in bucket})
    return [m.removeprefix(kind) for m in members if m.startswith(kind)]


def break_(
    name: str, namespace: str, wake: str, holder: str | None, timeout: float
) -> Op[LockInfo | None]:
    """Take *name* from its present holders, or from *holder* only; return who had it."""
    keys = lock_keys(namespace, name)
    seen = yield from info(name, keys, timeout)
    if seen is None or not any(holder in (None, h.holder) for h in seen.holders):
        return None
    broken = False
    for held in seen.holders:
        if holder not in (None, held.holder):
            continue
        tomb_ms = int(held.expires_in * 1000) + BROKEN_MS
        call = Call(
            "lock_break",
            (
                keys.lock,
                keys.queue,
                keys.tomb + held.holder,
                keys.index,
                keys.holders,
                keys.records,
            ),
            (held.holder, tomb_ms, f"lock:{name}", wake),
            timeout,
        )
        reply = yield from insist(call)
        broken = broken or text(reply.value[0]) == "broken"
    return seen if broken else None


def revoke(name: str, namespace: str, timeout: float) -> Op[LockInfo | None]:
    """Ask every present holder of *name* to let go; return who that is."""
    keys = lock_keys(namespace, name)
    seen = yield from info(name, keys, timeout)
    if seen is None:
        return None
    asked = False
    for held in seen.holders:
        call = Call(
            "lock_revoke",
            (keys.lock, keys.holders, keys.records),
            (held.holder, "asked"),
            timeout,
        )
        reply = yield from insist(call)
        asked = asked or text(reply.value[0]) == "asked"
    return seen if asked else None


def probe(namespace: str, timeout: float) -> Op[None]:
    """Ask something harmless: raises what a first lock would raise."""
    key = in_bucket(namespace, 0, "index")
    yield from ask(Call("index_list", (key,), (), timeout))


def _info_call(keys: LockKeys, timeout: float) -> Call:
    return Call(
        "lock_info", (keys.lock, keys.alive, keys.holders, keys.records), (), timeout
    )


def _info(name: str, value: list[Any]) -> LockInfo | None:
    state, waiters = text(value[0]), number(value[1])
    if state == "free":
        return None
    limit: int | None = None
    if state == "held":
        rid, ends_ms, token, since, identity, meta = value[2:]
        record = [text(part or "") for part in (token, since, identity, meta)]
        holders = [_holder(text(rid), ends_ms, record)]
        mode = "alone" if holders[0].holder else "cooling"
    else:
        limit = number(value[2]) or None
        mode = "slots" if limit else "shared"
        holders = [
            _holder(text(rid), ends_ms, text(record).split("\n", 3))
            for rid, ends_ms, record in zip(
                value[3::3], value[4::3], value[5::3], strict=True
            )
        ]
        holders.sort(key=lambda held: held.token)
    first = holders[0]
    return LockInfo(
        name=name,
        mode=mode,
        holder=first.holder,
        identity=first.identity,
        token=first.token,
        expires_in=first.expires_in,
        since=first.since,
        waiters=waiters,
        meta=first.meta,
        holders=tuple(holders),
        limit=limit,
    )


def _holder(rid: str, ends_ms: Any, record: list[str]) -> Holder:
    token, since, identity, meta = [*record, "", "", "", ""][:4]
    try:
        return Holder(
            holder=rid,
            identity=identity,
            token=int(token or 0),
            expires_in=max(0, number(ends_ms)) / 1000,
            since=int(since or 0) / 1000,
            meta=read_meta(meta),
        )
    except ValueError:
        raise KeyConflict(f"what is kept of holder {rid!r} is not ours") from None


def values(answers: Any) -> list[Any]:
    """Return the values of a pipeline; raise the first refusal among them."""
    for answer in answers:
        if isinstance(answer, CoordError):
            raise answer
    return list(answers)
