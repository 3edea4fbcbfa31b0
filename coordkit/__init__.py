"""Coordination for worker processes that already have a Redis: flock for a fleet."""

from __future__ import annotations

from ._core.inspect import Holder, LockInfo
from ._core.lease import Reason, State
from ._io.loss import AsyncLost, Lost
from .errors import (
    CoordError,
    EmptyRing,
    FenceRegression,
    KeyConflict,
    LeadershipLost,
    LeaseLost,
    LockTimeout,
    NoLeader,
    NotHeld,
    NotPermitted,
    Refused,
    StaleToken,
    Unreachable,
    Unsupported,
)
from .fence import AsyncFence, Fence
from .lease import AsyncLease, Lease
from .lock import AsyncLock, Lock
from .lock_all import AsyncLeases, AsyncLockAll, Leases, LockAll
from .session import AsyncSession, Session

__version__ = "0.1.0"

__all__ = [
    "AsyncFence",
    "AsyncLease",
    "AsyncLeases",
    "AsyncLock",
    "AsyncLockAll",
    "AsyncLost",
    "AsyncSession",
    "CoordError",
    "EmptyRing",
    "Fence",
    "FenceRegression",
    "Holder",
    "KeyConflict",
    "LeadershipLost",
    "Lease",
    "LeaseLost",
    "Leases",
    "Lock",
    "LockAll",
    "LockInfo",
    "LockTimeout",
    "Lost",
    "NoLeader",
    "NotHeld",
    "NotPermitted",
    "Reason",
    "Refused",
    "Session",
    "StaleToken",
    "State",
    "Unreachable",
    "Unsupported",
    "__version__",
]
