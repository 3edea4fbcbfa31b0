"""What may go wrong in a simulated world, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    Chances and rates; the default is a quick network on which nothing is lost.

    Chances are for each request, reply or wake, from 0 to 1.  Rates are how often a
    second of world time.  Lengths are the longest that is drawn, in seconds, except
    the two latencies, which are means.
    """

    latency: float = 0.001
    """Mean time of one way."""
    slow: float = 0.0
    """Chance that a way takes `slow_latency` on the mean."""
    slow_latency: float = 0.2

    request_lost: float = 0.0
    """The request never arrives."""
    reply_lost: float = 0.0
    """The request is executed, the caller never learns of it."""
    ghost: float = 0.0
    """The request arrives once the caller has given up, up to `ghost_delay` later."""
    ghost_delay: float = 3.0
    duplicate: float = 0.0
    """The request arrives again, up to `ghost_delay` later; its second reply is lost."""
    cut: float = 0.0
    """A pipeline is cut: the first few calls are executed, no reply."""
    reset: float = 0.3
    """Part of these losses at which the caller hears at once of a closed connection."""

    wake_lost: float = 0.0
    """A published wake does not reach its session, though the connection lives."""
    disconnects: float = 0.0
    """Rate at which some session loses its subscription; its wakes are lost meanwhile."""
    reconnect: float = 0.5
    """Longest time until the session subscribes again."""

    server_pauses: float = 0.0
    """Rate of the server standing still; what arrives meanwhile runs afterwards."""
    server_pause: float = 1.0
    restarts: float = 0.0
    """Rate of restarts; the server comes back empty."""
    restart: float = 0.3
    """Longest time a restart takes; connecting is refused meanwhile."""
    flushes: float = 0.0
    """Rate of FLUSHALL."""
    clock_steps: float = 0.0
    """Rate of the server's wall clock being set, forward or back."""
    clock_step: float = 1.0

    client_pauses: float = 0.0
    """Rate of some client being stopped for a while (SIGSTOP)."""
    client_pause: float = 2.0
    crashes: float = 0.0
    """Rate of some client dying (SIGKILL)."""
    partitions: float = 0.0
    """Rate of some client being cut off: nothing comes through, either way, for a while."""
    partition: float = 1.5

    drift: float = 0.005
    """Clocks of the clients run fast or slow by up to so much."""
    server_drift: float = 0.005
    """The same of the server's."""

    @classmethod
    def rough(cls) -> Faults:
        """A bad day: everything but loss of data, duplicates, crashes, clock steps."""
        return cls(
            slow=0.05,
            request_lost=0.03,
            reply_lost=0.03,
            ghost=0.03,
            cut=0.1,
            wake_lost=0.05,
            disconnects=0.1,
            server_pauses=0.1,
            client_pauses=0.2,
        )
