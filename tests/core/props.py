"""What the scenes are played with: a claim, its leases, and the errors that come up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from coordkit._core.claim import Claim, Options, lock_options
from coordkit._core.election import Standing, election_times, office, standing
from coordkit._core.group import MemberLease, circle
from coordkit._core.keeper import Keeper
from coordkit._core.lease import Lease
from coordkit._core.lock import LockLease, acquire
from coordkit._core.members import Record, a_record
from coordkit._core.ops import Op, Pipeline, Rest
from coordkit.errors import Unreachable
from core.script import Stage

#: a session's half, a random half, the mode
RID = "0123456789abcdef" + "fedcba9876543210" + "x"
TOKEN = 1_700_000_000_000_001

# What the server may answer to an acquisition.  A waiter's liveness ends at ENDS.
ENDS = 1_700_000_003_000
TAKEN = [b"taken", str(TOKEN).encode()]
BUSY = [b"busy", 10_000, 0, ENDS]

OPTIONS: dict[str, Any] = {
    "ttl": 30.0,
    "fair": True,
    "shared": False,
    "slots": None,
    "hold_at_least": 0.0,
    "max_hold": None,
    "lock_delay": 0.0,
    "waiter_ttl": 3.0,
    "meta": None,
}


#: An election of the same name.
OFFICE = office("ns", "jobs", 2.0)
TIMES: dict[str, Any] = {
    "ttl": 15.0,
    "renew_deadline": None,
    "renew_every": None,
    "handover_delay": 0.0,
    "max_term": None,
    "waiter_ttl": 3.0,
}


def a_standing(priority: int = 0, **given: Any) -> Standing:
    """How one stands for election."""
    return standing(priority, given.get("meta"), preempt=given.get("preempt", False))


def a_campaign(stands: Standing | None = None, **times: Any) -> Claim:
    """What the process ``me`` asks for when it stands for election."""
    return OFFICE.claim(
        election_times(**{**TIMES, **times}), "me", stands or a_standing()
    )


def a_term(stage: Stage, **times: Any) -> LockLease:
    """A term that was asked for at this moment."""
    return the_lease(stage, a_campaign(**times), RID, TOKEN, stage.now)


def look(
    state: str = "vacant",
    *changes: list[Any],
    leader: tuple[str, int] | None = None,
    ends_ms: int = -2,
    paused: tuple[str, str] = ("", ""),
    known: int = 1,
    candidates: Sequence[tuple[str, str]] = (),
) -> list[Any]:
    """What the server answers to a look at the election, its clock at 1700000100 s."""
    rid, fields = b"", [b""] * 5
    if leader is not None:
        identity, term = leader
        rid = RID.encode()
        record = (str(term), "1700000000500", identity, '{"a":1}', "5")
        fields = [field.encode() for field in record]
    waiting = [text.encode() for pair in candidates for text in pair]
    why, by = (text.encode() for text in paused)
    pause = b"a pause" if by else b""
    now = 1_700_000_100_000
    return [
        *(state.encode(), now, ends_ms, why, by, pause, rid, *fields),
        *(known, list(changes), waiting),
    ]


def led_by(identity: str | None, term: int = 7) -> list[Any]:
    """The same, led by that one for ten seconds more, or by nobody."""
    if identity is None:
        return look()
    return look("led", leader=(identity, term), ends_ms=10_000)


def entry(number: int, what: str, term: int, identity: str, **more: str) -> list[Any]:
    """An entry of an election's history."""
    fields = {
        "what": what,
        "term": str(term),
        "at": str(1_700_000_000_000 + 1000 * number),
        "identity": identity,
        "why": "",
        **more,
    }
    flat = [text.encode() for pair in fields.items() for text in pair]
    return [f"{number}-0".encode(), flat]


#: A group of the same name.
CIRCLE = circle("ns", "jobs", ttl=9.0, timeout=2.0)
RECORD = a_record("me", {"a": 1}, 2.0, 10.0, 0.5, "north")


def a_member(
    stage: Stage, record: Record = RECORD, *, rid: str = RID, rejoins: bool = True
) -> MemberLease:
    """A membership that was asked for at this moment."""
    return MemberLease(
        CIRCLE, record, rid, TOKEN, stage.now, rejoins=rejoins, clock=stage.clock
    )


def options(name: str = "jobs", **given: Any) -> Options:
    """The options of a lock of the namespace ``ns``, all but the *given* ones as usual."""
    return lock_options("ns", name, **{**OPTIONS, **given})


def a_claim(name: str = "jobs", **given: Any) -> Claim:
    """What the process ``me`` asks for."""
    return options(name, **given).claim("me", 2.0)


def a_lease(
    stage: Stage, name: str = "jobs", *, rid: str = RID, **given: Any
) -> LockLease:
    """A lease that was asked for at this moment."""
    return the_lease(stage, a_claim(name, **given), rid, TOKEN, stage.now)


def the_lease(
    stage: Stage,
    claim: Claim,
    rid: str,
    token: int,
    asked_at: float,
    lasts: float | None = None,
) -> LockLease:
    """The lease of that grant, which sees the time of *stage*."""
    granted = claim.first_ttl if lasts is None else lasts
    return LockLease(claim, rid, token, asked_at, granted, clock=stage.clock)


def wanting(
    stage: Stage,
    claim: Claim,
    *,
    timeout: float | None = None,
    queue: bool = True,
    listening: bool = False,
) -> Op[LockLease | None]:
    """An acquisition that begins at this moment."""

    def make(token: int, asked_at: float, lasts: float) -> LockLease:
        return the_lease(stage, claim, RID, token, asked_at, lasts)

    return acquire(
        claim,
        RID,
        make,
        now=stage.now,
        timeout=timeout,
        queue=queue,
        listening=listening,
    )


def held(lease: LockLease | None) -> LockLease:
    """The lease that was taken."""
    assert lease is not None
    return lease


# -- the keeper --------------------------------------------------------------------


def a_keeper(
    draw: float = 0.5, *, scatter: bool = False, ceiling: float = 2.0
) -> Keeper:
    """A keeper whose every draw is the same."""
    return Keeper(
        guard=nullcontext(), draw=lambda: draw, ceiling=ceiling, scatter=scatter
    )


def several(stage: Stage, count: int, **given: Any) -> list[LockLease]:
    """So many leases, each of its own name."""
    return [a_lease(stage, f"job {n}", rid=f"{n:032x}x", **given) for n in range(count)]


def keep(keeper: Keeper, leases: Sequence[Lease], now: float) -> None:
    """Have *keeper* keep them all from now on."""
    for lease in leases:
        keeper.add(lease, now)


def kept(*calls: int) -> list[list[bytes]]:
    """The answer to a trip of calls for so many leases each: all are renewed."""
    return [[b"kept"] * count for count in calls]


def trips(stage: Stage) -> list[Pipeline]:
    """What was asked in one go each time."""
    return [request for request in stage.asked if isinstance(request, Pipeline)]


def rests(stage: Stage) -> list[float]:
    """Until when it rested, looks at the clock left out."""
    return [r.until for r in stage.asked if isinstance(r, Rest) and r.until]


# -- errors ------------------------------------------------------------------------


def no_answer() -> Unreachable:
    """The question may have reached the server."""
    return Unreachable("no answer")


def not_sent() -> Unreachable:
    """The question did not leave this process."""
    return Unreachable("nobody listens", sent=False)
