"""Two scripts and a lock made of them, for the tests of the simulator itself."""

from __future__ import annotations

from itertools import pairwise

from coordkit._core.ops import Call, Op
from coordkit.errors import Unreachable
from sim.world import Client, Faults, Scenario, World

TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, redis.call('INCR', KEYS[2])}
"""
GIVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', 'wake:' .. string.sub(ARGV[2], 1, 16), ARGV[2])
return 1
"""
SOURCES = {"take": TAKE, "give": GIVE}
TTL = 1.0
TIMEOUT = 0.4


def take(rid: str, key: str = "lock", timeout: float = TIMEOUT) -> Call:
    """Take the lock for *rid*; {1, how often it was taken} or {0, ms left}."""
    return Call("take", (key, "count"), (rid, int(TTL * 1000)), timeout)


def give(rid: str, wake: str = "", timeout: float = TIMEOUT) -> Call:
    """Give it back and wake the request *wake*; 1 or 0."""
    return Call("give", ("lock",), (rid, wake), timeout)


def world(faults: Faults | None = None, *, seed: int = 1) -> World:
    """A world that knows the two scripts and keeps a trace."""
    return World(seed, faults, SOURCES, trace=True)


class Holdings:
    """Who believed to hold the lock, from when to when, in world time."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float, str]] = []

    def overlap(self) -> bool:
        """Whether two believed so at once."""
        spans = sorted(self.spans)
        return any(a[1] > b[0] for a, b in pairwise(spans))


def contend(
    client: Client, holdings: Holdings, rounds: int, *, from_heard: bool = False
) -> Scenario[None]:
    """Take and give back; *from_heard* counts the lease from the wrong instant."""
    for _ in range(rounds):
        rid = client.rid()
        deadline = yield from _taken(rid, from_heard=from_heard)
        start = client.world.now
        yield client.world.rng.uniform(0, 1.5 * TTL)
        until = min(client.world.now, client.world_time(deadline))
        holdings.spans.append((start, max(start, until), client.name))
        try:
            yield give(rid)
        except Unreachable:
            yield TTL  # it ends by itself


def _taken(rid: str, *, from_heard: bool) -> Op[float]:
    while True:
        try:
            reply = yield take(rid)
        except Unreachable:
            continue
        deadline = (reply.heard_at if from_heard else reply.asked_at) + 0.98 * TTL
        if reply.value[0] == 1 and reply.heard_at < deadline:
            return deadline
