"""
Coordination for worker processes that already have a Redis: flock for a fleet.

Names are imported when they are first used: a test run that merely has coordkit's
plugin, or ``coordkit --help``, does not pay for redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._core.counter import CounterInfo
    from ._core.fence import Entry
    from ._core.inspect import Holder, LockInfo
    from ._core.lease import State
    from ._core.members import (
        Changed,
        Died,
        Joined,
        Left,
        MemberInfo,
        Members,
    )
    from ._core.observe import Resumed, Suspended
    from ._core.ring_change import Move
    from ._core.ring_history import RingDiff
    from ._core.ring_ketama import Migration
    from ._core.ring_local import Location
    from ._core.ring_member import Assigned, Handover, Revoked
    from ._core.ring_node import Node
    from ._core.ring_read import RingInfo
    from ._core.ring_snapshot import Range
    from ._core.ring_stats import NodeShare, RingStats
    from ._core.ring_write import RingChange
    from ._core.terms import (
        Candidate,
        Elected,
        ElectionInfo,
        Leader,
        Missed,
        Paused,
        Unpaused,
        Vacant,
    )
    from ._io.loss import AsyncLost, Lost
    from .async_session import AsyncSession
    from .balancer import AsyncBalancer, Balancer
    from .counter import AsyncCounter, Counter
    from .election import AsyncElection, Election
    from .errors import (
        CoordError,
        DamagedRing,
        EmptyRing,
        FenceRegression,
        IdRegression,
        KeyConflict,
        LeadershipLost,
        LeaseLost,
        LockTimeout,
        NoCandidate,
        NoLeader,
        NoMember,
        NoNode,
        NotAllAdded,
        NotHeld,
        NotPermitted,
        OutOfBounds,
        Overloaded,
        Overtaken,
        Reason,
        Refused,
        RingChanged,
        StaleGroup,
        StaleRing,
        StaleToken,
        Unreachable,
        Unsupported,
    )
    from .fence import AsyncFence, Fence
    from .gate import Gate, Passage
    from .group import AsyncGroup, AsyncMember, Group, Member
    from .ids import AsyncIds, Ids
    from .lease import AsyncLease, Lease
    from .live import AsyncLiveNode, LiveNode
    from .lock import Acquiring, AsyncLock, Lock
    from .lock_all import AsyncLeases, AsyncLockAll, Leases, LockAll
    from .plan import AsyncPlan, Plan
    from .ring import AsyncRing, Ring
    from .session import Session
    from .term import AsyncTerm, Term
else:
    from importlib import import_module

    _FROM = {
        "._core.counter": ("CounterInfo",),
        "._core.fence": ("Entry",),
        "._core.inspect": ("Holder", "LockInfo"),
        "._core.lease": ("State",),
        "._core.members": (
            "Changed",
            "Died",
            "Joined",
            "Left",
            "MemberInfo",
            "Members",
        ),
        "._core.observe": ("Resumed", "Suspended"),
        "._core.ring_change": ("Move",),
        "._core.ring_history": ("RingDiff",),
        "._core.ring_ketama": ("Migration",),
        "._core.ring_local": ("Location",),
        "._core.ring_member": ("Assigned", "Handover", "Revoked"),
        "._core.ring_node": ("Node",),
        "._core.ring_read": ("RingInfo",),
        "._core.ring_snapshot": ("Range",),
        "._core.ring_stats": ("NodeShare", "RingStats"),
        "._core.ring_write": ("RingChange",),
        "._core.terms": (
            "Candidate",
            "Elected",
            "ElectionInfo",
            "Leader",
            "Missed",
            "Paused",
            "Unpaused",
            "Vacant",
        ),
        "._io.loss": ("AsyncLost", "Lost"),
        ".async_session": ("AsyncSession",),
        ".balancer": ("AsyncBalancer", "Balancer"),
        ".counter": ("AsyncCounter", "Counter"),
        ".election": ("AsyncElection", "Election"),
        ".errors": (
            "CoordError",
            "DamagedRing",
            "EmptyRing",
            "FenceRegression",
            "IdRegression",
            "KeyConflict",
            "LeadershipLost",
            "LeaseLost",
            "LockTimeout",
            "NoCandidate",
            "NoLeader",
            "NoMember",
            "NoNode",
            "NotAllAdded",
            "NotHeld",
            "NotPermitted",
            "OutOfBounds",
            "Overloaded",
            "Overtaken",
            "Reason",
            "Refused",
            "RingChanged",
            "StaleGroup",
            "StaleRing",
            "StaleToken",
            "Unreachable",
            "Unsupported",
        ),
        ".fence": ("AsyncFence", "Fence"),
        ".gate": ("Gate", "Passage"),
        ".group": ("AsyncGroup", "AsyncMember", "Group", "Member"),
        ".ids": ("AsyncIds", "Ids"),
        ".lease": ("AsyncLease", "Lease"),
        ".live": ("AsyncLiveNode", "LiveNode"),
        ".lock": ("Acquiring", "AsyncLock", "Lock"),
        ".lock_all": ("AsyncLeases", "AsyncLockAll", "Leases", "LockAll"),
        ".plan": ("AsyncPlan", "Plan"),
        ".ring": ("AsyncRing", "Ring"),
        ".session": ("Session",),
        ".term": ("AsyncTerm", "Term"),
    }

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        module = next((m for m, names in _FROM.items() if name in names), None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(module, __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names, imported or not."""
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
    "Acquiring",
    "Assigned",
    "AsyncBalancer",
    "AsyncCounter",
    "AsyncElection",
    "AsyncFence",
    "AsyncGroup",
    "AsyncIds",
    "AsyncLease",
    "AsyncLeases",
    "AsyncLiveNode",
    "AsyncLock",
    "AsyncLockAll",
    "AsyncLost",
    "AsyncMember",
    "AsyncPlan",
    "AsyncRing",
    "AsyncSession",
    "AsyncTerm",
    "Balancer",
    "Candidate",
    "Changed",
    "CoordError",
    "Counter",
    "CounterInfo",
    "DamagedRing",
    "Died",
    "Elected",
    "Election",
    "ElectionInfo",
    "EmptyRing",
    "Entry",
    "Fence",
    "FenceRegression",
    "Gate",
    "Group",
    "Handover",
    "Holder",
    "IdRegression",
    "Ids",
    "Joined",
    "KeyConflict",
    "Leader",
    "LeadershipLost",
    "Lease",
    "LeaseLost",
    "Leases",
    "Left",
    "LiveNode",
    "Location",
    "Lock",
    "LockAll",
    "LockInfo",
    "LockTimeout",
    "Lost",
    "Member",
    "MemberInfo",
    "Members",
    "Migration",
    "Missed",
    "Move",
    "NoCandidate",
    "NoLeader",
    "NoMember",
    "NoNode",
    "Node",
    "NodeShare",
    "NotAllAdded",
    "NotHeld",
    "NotPermitted",
    "OutOfBounds",
    "Overloaded",
    "Overtaken",
    "Passage",
    "Paused",
    "Plan",
    "Range",
    "Reason",
    "Refused",
    "Resumed",
    "Revoked",
    "Ring",
    "RingChange",
    "RingChanged",
    "RingDiff",
    "RingInfo",
    "RingStats",
    "Session",
    "StaleGroup",
    "StaleRing",
    "StaleToken",
    "State",
    "Suspended",
    "Term",
    "Unpaused",
    "Unreachable",
    "Unsupported",
    "Vacant",
    "__version__",
]
