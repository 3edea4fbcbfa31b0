"""The clock that leases are counted on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial


def _boottime() -> Callable[[], float]:
    """Return a clock that counts suspended time too, where there is one."""
    clock_id = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    if clock_id is None:
        return time.monotonic
    return partial(time.clock_gettime, clock_id)


#: Seconds that only grow.  `time.monotonic` stops while the machine sleeps, on
#: Linux: a holder that counted on it would believe for too long.
now: Callable[[], float] = _boottime()
