"""
Coordination for worker processes that already have a Redis: flock for a fleet.

Names are imported when they are first used: a test run that merely has coordkit's
plugin, or ``coordkit --help``, does not pay for redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from .election import AsyncElection, Election
    from .errors import (
        CoordError,
        EmptyRing,
        FenceRegression,
        KeyConflict,
        LeadershipLost,
        LeaseLost,
        LockTimeout,
        NoCandidate,
        NoLeader,
        NotHeld,
        NotPermitted,
        Reason,
        Refused,
        StaleToken,
        Unreachable,
        Unsupported,
    )
    from .fence import AsyncFence, Fence
    from .group import AsyncGroup, AsyncMember, Group, Member
    from .lease import AsyncLease, Lease
    from .lock import Acquiring, AsyncLock, Lock
    from .lock_all import AsyncLeases, AsyncLockAll, Leases, LockAll
    from .session import AsyncSession, Session
    from .term import AsyncTerm, Term
else:
    from importlib import import_module

    _FROM = {
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
        ".election": ("AsyncElection", "Election"),
        ".errors": (
            "CoordError",
            "EmptyRing",
            "FenceRegression",
            "KeyConflict",
            "LeadershipLost",
            "LeaseLost",
            "LockTimeout",
            "NoCandidate",
            "NoLeader",
            "NotHeld",
            "NotPermitted",
            "Reason",
            "Refused",
            "StaleToken",
            "Unreachable",
            "Unsupported",
        ),
        ".fence": ("AsyncFence", "Fence"),
        ".group": ("AsyncGroup", "AsyncMember", "Group", "Member"),
        ".lease": ("AsyncLease", "Lease"),
        ".lock": ("Acquiring", "AsyncLock", "Lock"),
        ".lock_all": ("AsyncLeases", "AsyncLockAll", "Leases", "LockAll"),
        ".session": ("AsyncSession", "Session"),
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
    "AsyncElection",
    "AsyncFence",
    "AsyncGroup",
    "AsyncLease",
    "AsyncLeases",
    "AsyncLock",
    "AsyncLockAll",
    "AsyncLost",
    "AsyncMember",
    "AsyncSession",
    "AsyncTerm",
    "Candidate",
    "Changed",
    "CoordError",
    "Died",
    "Elected",
    "Election",
    "ElectionInfo",
    "EmptyRing",
    "Fence",
    "FenceRegression",
    "Group",
    "Holder",
    "Joined",
    "KeyConflict",
    "Leader",
    "LeadershipLost",
    "Lease",
    "LeaseLost",
    "Leases",
    "Left",
    "Lock",
    "LockAll",
    "LockInfo",
    "LockTimeout",
    "Lost",
    "Member",
    "MemberInfo",
    "Members",
    "Missed",
    "NoCandidate",
    "NoLeader",
    "NotHeld",
    "NotPermitted",
    "Paused",
    "Reason",
    "Refused",
    "Resumed",
    "Session",
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
