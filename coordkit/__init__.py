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
    from ._io.loss import AsyncLost, Lost
    from .counter import AsyncCounter, Counter
    from .errors import (
        CoordError,
        EmptyRing,
        FenceRegression,
        IdRegression,
        KeyConflict,
        LeadershipLost,
        LeaseLost,
        LockTimeout,
        NoLeader,
        NotAllAdded,
        NotHeld,
        NotPermitted,
        OutOfBounds,
        Overtaken,
        Reason,
        Refused,
        StaleToken,
        Unreachable,
        Unsupported,
    )
    from .fence import AsyncFence, Fence
    from .gate import Gate, Passage
    from .ids import AsyncIds, Ids
    from .lease import AsyncLease, Lease
    from .lock import Acquiring, AsyncLock, Lock
    from .lock_all import AsyncLeases, AsyncLockAll, Leases, LockAll
    from .session import AsyncSession, Session
else:
    from importlib import import_module

    _FROM = {
        "._core.counter": ("CounterInfo",),
        "._core.fence": ("Entry",),
        "._core.inspect": ("Holder", "LockInfo"),
        "._core.lease": ("State",),
        "._io.loss": ("AsyncLost", "Lost"),
        ".counter": ("AsyncCounter", "Counter"),
        ".errors": (
            "CoordError",
            "EmptyRing",
            "FenceRegression",
            "IdRegression",
            "KeyConflict",
            "LeadershipLost",
            "LeaseLost",
            "LockTimeout",
            "NoLeader",
            "NotAllAdded",
            "NotHeld",
            "NotPermitted",
            "OutOfBounds",
            "Overtaken",
            "Reason",
            "Refused",
            "StaleToken",
            "Unreachable",
            "Unsupported",
        ),
        ".fence": ("AsyncFence", "Fence"),
        ".gate": ("Gate", "Passage"),
        ".ids": ("AsyncIds", "Ids"),
        ".lease": ("AsyncLease", "Lease"),
        ".lock": ("Acquiring", "AsyncLock", "Lock"),
        ".lock_all": ("AsyncLeases", "AsyncLockAll", "Leases", "LockAll"),
        ".session": ("AsyncSession", "Session"),
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
    "AsyncCounter",
    "AsyncFence",
    "AsyncIds",
    "AsyncLease",
    "AsyncLeases",
    "AsyncLock",
    "AsyncLockAll",
    "AsyncLost",
    "AsyncSession",
    "CoordError",
    "Counter",
    "CounterInfo",
    "EmptyRing",
    "Entry",
    "Fence",
    "FenceRegression",
    "Gate",
    "Holder",
    "IdRegression",
    "Ids",
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
    "NotAllAdded",
    "NotHeld",
    "NotPermitted",
    "OutOfBounds",
    "Overtaken",
    "Passage",
    "Reason",
    "Refused",
    "Session",
    "StaleToken",
    "State",
    "Unreachable",
    "Unsupported",
    "__version__",
]
