"""
When what happens to a lease, and that the end of a command fits into it.

Seconds from a renewal, as its holder counts: from before the question was sent::

    ttl / 3     the keeper renews; without an answer it asks again
    renew_by    ttl / 2: a renewal may come this late without any harm
    stop_at     there was none: the group is sent the stop signal
    kill_at     SIGKILL, `grace` later
    ends_at     the holder may not act from here on, `margin` later
    ttl         the server gives the lock to the next one
"""

from __future__ import annotations

import math
from typing import NamedTuple

import click

from coordkit._core.lease import believed_until
from coordkit._core.span import LONGEST_TTL, ttl_seconds

from ._exit import Exit, Failure

#: What SIGKILL may take on a busy machine, with whoever has to send it.
LEAST_MARGIN, MOST_MARGIN = 0.25, 2.0
#: More is for those who ask for it.
USUAL_GRACE = 10.0
#: Three days fit into the longest ttl.
LONGEST_GRACE = 3 * 86_400.0


class TimeLine(NamedTuple):
    """The instants of a lease of *ttl* seconds that a command runs under."""

    ttl: float
    grace: float
    margin: float

    @property
    def renew_by(self) -> float:
        """How late a renewal may come."""
        return self.ttl / 2

    @property
    def ends_at(self) -> float:
        """When the lease ends for its holder."""
        return believed_until(0.0, self.ttl)

    @property
    def kill_at(self) -> float:
        """When SIGKILL is sent."""
        return self.ends_at - self.margin

    @property
    def stop_at(self) -> float:
        """When the stop signal is sent."""
        return self.kill_at - self.grace

    @property
    def room(self) -> float:
        """The longest grace that fits."""
        return self.kill_at - self.renew_by


def time_line(ttl: float, grace: float | None) -> TimeLine:
    """Return the time line; without *grace* it is 10 s, or what fits.  78 if none does."""
    try:
        ttl_seconds(ttl)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if grace is not None and grace > LONGEST_GRACE:
        raise click.UsageError("--kill-after is 3d at most")
    line = TimeLine(ttl, 0.0, _margin(ttl))
    line = line._replace(
        grace=min(USUAL_GRACE, max(line.room, 0.0)) if grace is None else grace
    )
    if line.grace <= line.room:
        return line
    late, over = _typed(line.renew_by), _typed(line.kill_at)
    advice = f"--ttl {_typed(_long_enough(line.grace))} at least"
    if line.room > 0:
        advice = f"--kill-after {_typed(line.room)} at most, or {advice}"
    what = (
        f"{_typed(line.grace)} between the stop signal and SIGKILL do not fit into a lease "
        f"of {_typed(ttl)}"
    )
    if line.room < 0:
        what = f"a lease of {_typed(ttl)} is too short to end a command in"
    raise Failure(
        f"{what}: a renewal may come as late as {late}, and all must be over at {over}; "
        f"type {advice}",
        Exit.CONFIG,
    )


def _margin(ttl: float) -> float:
    return min(max(LEAST_MARGIN, ttl / 20), MOST_MARGIN)


def _long_enough(grace: float) -> float:
    """Return a ttl that this grace fits into, in whole seconds."""
    ttl = 1.0
    while TimeLine(ttl, grace, _margin(ttl)).room < grace:
        ttl += max(1.0, ttl // 20)
    return min(ttl, LONGEST_TTL)


def _typed(seconds: float) -> str:
    """Return *seconds* as one would type them, never rounded up."""
    return f"{math.floor(seconds * 1000) / 1000:.3f}".rstrip("0").rstrip(".") + "s"
