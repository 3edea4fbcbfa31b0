"""
Known wrong variants of the lock's protocol.  Each must be caught within its budget.

A mutant is one edit of a shipped script, or of one function of the core, and the
kind of episode that shows what it breaks.  One that survives says that the
simulator does not look where it should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from coordkit._core import keeper, lease, lock
from coordkit._core.claim import Claim
from coordkit._core.ops import Call, Op, Reply
from sim.episodes import EPISODES
from sim.store import shipped


def edited(script: str, *edits: tuple[str, str]) -> dict[str, str]:
    """Return *script* with each old text, which must be in it, replaced by the new one."""
    source = shipped(script)
    for old, new in edits:
        if old not in source:
            raise LookupError(f"{script}.lua has no {old!r} any more: mend the mutant")
        source = source.replace(old, new)
    return {script: source}


PUBLISH = "redis.call('PUBLISH', ARGV[5] .. string.sub(head, 1, 16), message)"
Patch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    """One wrong protocol, and where it shows."""

    name: str
    #: a kind of `EPISODES`, or of those that are given
    episode: str
    sources: Callable[[], dict[str, str]] = dict
    patch: Patch = nullcontext
    world: tuple[tuple[str, Any], ...] = ()
    episodes: Mapping[str, Callable[..., object]] = field(
        default_factory=lambda: EPISODES
    )

    def survives(self, seed: int) -> bool:
        """Play one episode; return whether nothing was noticed."""
        try:
            with self.patch():
                self.episodes[self.episode](seed, self.sources(), dict(self.world))
        except AssertionError:
            return False
        return True


@contextmanager
def _no_undo() -> Iterator[None]:
    def undo(cause: BaseException | None, attempt: Any) -> Op[None]:
        return
        yield  # a generator that asks nothing

    with mock.patch.object(lock, "_undo", undo):
        yield


@contextmanager
def _acquire_from_heard() -> Iterator[None]:
    ask = lock._Attempt.ask

    def late(self: Any, *, queue: bool) -> Op[Reply]:
        reply = yield from ask(self, queue=queue)
        return reply._replace(asked_at=reply.heard_at)

    with mock.patch.object(lock._Attempt, "ask", late):
        yield


@contextmanager
def _renew_from_heard() -> Iterator[None]:
    settle = keeper.Keeper._settle

    def late(
        self: Any, batch: Any, verdicts: Any, asked_at: float, heard_at: float
    ) -> None:
        settle(self, batch, verdicts, heard_at, heard_at)

    with mock.patch.object(keeper.Keeper, "_settle", late):
        yield


@contextmanager
def _renewal_too_late_counts() -> Iterator[None]:
    settle = keeper.Keeper._settle

    def late(
        self: Any, batch: Any, verdicts: Any, asked_at: float, heard_at: float
    ) -> None:
        settle(
            self, batch, verdicts, heard_at, min(each.deadline for each in batch) - 1e-6
        )

    with mock.patch.object(keeper.Keeper, "_settle", late):
        yield


@contextmanager
def _no_drift() -> Iterator[None]:
    with (
        mock.patch.object(lease, "DRIFT_RATE", 0.0),
        mock.patch.object(lease, "DRIFT_GRAIN", 0.0),
    ):
        yield


@contextmanager
def _new_rid_each_time() -> Iterator[None]:
    call = lock.acquire_call
    count = iter(range(10**9))

    def fresh(claim: Claim, rid: str, *, queue: bool) -> Call:
        return call(claim, f"{rid[:-9]}{next(count):08x}{rid[-1]}", queue=queue)

    with mock.patch.object(lock, "acquire_call", fresh):
        yield


@contextmanager
def _handed_from_heard() -> Iterator[None]:
    handed = lock._handed

    def late(claim: Claim, asked: Reply, wake: Reply) -> int | None:
        return handed(claim, asked._replace(asked_at=wake.heard_at), wake)

    extend = lease.Lease._extend

    def longer(self: lease.Lease, asked_at: float) -> None:
        extend(self, self._clock() if self._lasts != self.ttl else asked_at)

    with (
        mock.patch.object(lock, "_handed", late),
        mock.patch.object(lease.Lease, "_extend", longer),
    ):
        yield


@contextmanager
def _handed_for_the_ttl() -> Iterator[None]:
    made: Any = lock.LockLease.__init__

    def longer(self: Any, *args: Any, **clock: Any) -> None:
        claim, *between, _ = args
        made(self, claim, *between, claim.ttl, **clock)

    with mock.patch.object(lock.LockLease, "__init__", longer):
        yield


@contextmanager
def _handed_stale() -> Iterator[None]:
    def believed(claim: Claim, asked: Reply, wake: Reply) -> int | None:
        token, _, _ = (wake.value or "").partition(" ")
        return int(token) if token else None

    with mock.patch.object(lock, "_handed", believed):
        yield


MUTANTS = [
    Mutant(
        "acquire: deadline counted from heard_at", "rough", patch=_acquire_from_heard
    ),
    Mutant("renew: deadline counted from heard_at", "rough", patch=_renew_from_heard),
    Mutant(
        "renew: one that ends too late counts", "rough", patch=_renewal_too_late_counts
    ),
    Mutant("drift 0", "rough", patch=_no_drift),
    Mutant("undo removed", "rough", patch=_no_undo),
    Mutant("a retry with a new request id", "rough", patch=_new_rid_each_time),
    Mutant(
        "no tombstone",
        "rough",
        lambda: edited(
            "lock_release",
            ("redis.call('SET', tomb", "redis.call('GET', tomb) local _ = ('SET'"),
        ),
    ),
    Mutant(
        "release without owner check",
        "rough",
        lambda: edited(
            "lock_release",
            (
                "if held[1] ~= rid then",
                "if not held[1] then",
            ),
        ),
    ),
    Mutant(
        "renew without owner check",
        "data loss",
        lambda: edited(
            "lock_renew", ("if held[1] ~= ARGV[5*i-4] then", "if not held[1] then")
        ),
    ),
    Mutant(
        "renew that re-creates",
        "rough",
        lambda: edited(
            "lock_renew",
            (
                "if held[1] ~= ARGV[5*i-4] then return",
                (
                    "if not held[1] then redis.call('HSET', lock, 'rid', ARGV[5*i-4]) "
                    "elseif held[1] ~= ARGV[5*i-4] then return"
                ),
            ),
        ),
    ),
    Mutant(
        "acquire replayed with a new token",
        "rough",
        lambda: edited(
            "lock_acquire", ("return {'taken', held[2]}", "return {'taken', '1'}")
        ),
    ),
    Mutant(
        "constant token",
        "rough",
        lambda: edited(
            "lock_acquire", ("return {'taken', token}", "return {'taken', '7'}")
        ),
    ),
    Mutant(
        "token by plain increment",
        "data loss",
        lambda: edited(
            "lock_acquire",
            ("local token = string.format('%.0f', now_us)", "local token = '0'"),
            ("tonumber(last) >= now_us", "true"),
            (
                "string.format('%.0f', last + 1)",
                "string.format('%.0f', tonumber(last) + 1)",
            ),
            ("if last and true then", "if not last then last = 0 end if true then"),
        ),
    ),
    Mutant(
        "dead head never buried",
        "crashes",
        lambda: edited(
            "lock_acquire", ("if not head or ends > now then", "if true then")
        ),
    ),
    Mutant(
        "reservation ignored",
        "orderly",
        lambda: edited(
            "lock_acquire",
            (
                "if redis.call('EXISTS', lock, queue, holders, tomb) == 0",
                "if redis.call('EXISTS', lock, holders, tomb) == 0",
            ),
        ),
    ),
    Mutant(
        "release wakes everybody",
        "orderly",
        lambda: edited(
            "lock_release",
            (
                PUBLISH,
                (
                    f"{PUBLISH} for _, each in ipairs(redis.call('ZRANGE', queue, 0, -1)) do "
                    "redis.call('PUBLISH', ARGV[5] .. string.sub(each, 1, 16), each) end"
                ),
            ),
        ),
    ),
    Mutant(
        "release wakes nobody",
        "orderly",
        lambda: edited(
            "lock_release",
            (PUBLISH, ""),
        ),
    ),
    Mutant(
        "who gives up passes no wake on",
        "orderly",
        lambda: edited(
            "lock_release",
            ("elseif next then", "elseif false then"),
        ),
    ),
    Mutant(
        "handed over: counted from when it was heard", "rough", patch=_handed_from_heard
    ),
    Mutant("handed over: for the whole ttl", "rough", patch=_handed_for_the_ttl),
    Mutant("handed over: a stale one is believed", "rough", patch=_handed_stale),
    Mutant(
        "handed over beside readers",
        "readers and writers",
        lambda: edited(
            "lock_release", ("'EXISTS', holders) == 1", "'EXISTS', lock) == 1")
        ),
    ),
    Mutant("wake lost on reconnect", "orderly", world=(("reconnect_wakes", False),)),
    Mutant(
        "fence compares the wrong way",
        "rough",
        lambda: edited("fence_check", (") < tonumber(seen)", ") > tonumber(seen)")),
    ),
    Mutant(
        "slots not counted",
        "slots",
        lambda: edited("share_acquire", ("count < limit", "true")),
    ),
    Mutant(
        "a writer beside readers",
        "readers and writers",
        lambda: edited(
            "lock_acquire",
            (
                "if redis.call('EXISTS', lock, queue, holders, tomb) == 0",
                "if redis.call('EXISTS', lock, queue, tomb) == 0",
            ),
        ),
    ),
]
