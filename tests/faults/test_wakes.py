"""Wakes that are lost, late or for nobody: a wake only shortens a wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from contract.flavours import Api, Started
from coordkit import AsyncLease, AsyncLock, AsyncSession, LockTimeout
from faults.conftest import CALL
from faults.network import ALL, SUBSCRIBE, asks, mute_wakes
from faults.ruler import Ruler
from support.proxy import Proxy
from support.servers import RedisServer

WAITER_TTL = 0.8
#: a hand-over without a wake: the waiter asks twice in its liveness deadline
UNWOKEN = WAITER_TTL / 2 + 0.1
#: a hand-over with one: far less than that, even on a busy machine
PROMPT = 0.2


class Queue:
    """Some who wait for one lock, each of whom lets go at once when he gets it."""

    def __init__(self, api: Api, raw: Any, lock: AsyncLock) -> None:
        self._api = api
        self._raw = raw
        self._lock = lock
        self._waiting: list[Started[AsyncLease]] = []

    @property
    def length(self) -> int:
        """How many the server knows."""
        length: int = self._raw.zcard(self._lock._options.keys.queue)
        return length

    async def joins(self, number: int) -> None:
        """Have so many more wait; return when all are in the queue."""

        async def wait() -> AsyncLease:
            return await self._lock.acquire()

        before = self.length
        self._waiting += [self._api.start(wait()) for _ in range(number)]
        await self._api.until(lambda: self.length == before + number, timeout=10)

    async def hand_over(self, lease: AsyncLease) -> tuple[AsyncLease, float]:
        """Release *lease*; return that of whoever gets it, and after how long."""
        with Ruler() as ruler:
            await lease.release()
            await self._api.until(lambda: any(w.done() for w in self._waiting))
            took = ruler.elapsed - ruler.worst
        (next_one,) = [w for w in self._waiting if w.done()]
        self._waiting.remove(next_one)
        return await next_one, took

    async def hand_overs(self, lease: AsyncLease, number: int) -> list[float]:
        """Hand it over so many times, then let all the others have it; return how long."""
        delays: list[float] = []
        for _ in range(number):
            lease, took = await self.hand_over(lease)
            delays.append(took)
        while self._waiting:
            lease, _ = await self.hand_over(lease)
        await lease.release()
        return delays


@pytest.fixture
def quick_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent line is noticed after a second, not after seven."""
    for module in ("wake", "awake"):
        monkeypatch.setattr(f"coordkit._io.{module}.PING_AFTER", 0.5)


# -- the notification connection -------------------------------------------------------


async def test_hand_over_is_prompt(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any
) -> None:
    """What the faults below are compared with."""
    queue = Queue(api, raw, s.lock("it", waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(6)
    assert max(await queue.hand_overs(lease, 6)) <= PROMPT


async def test_the_line_is_cut_while_many_wait(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy
) -> None:
    queue = Queue(api, raw, s.lock("it", waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(6)
    for _ in range(3):
        assert raw.client_kill_filter(_type="pubsub") == 1
        lease, took = await queue.hand_over(lease)
        assert took <= UNWOKEN
        await api.until(raw.pubsub_channels)
    assert max(await queue.hand_overs(lease, 3)) <= PROMPT


async def test_the_line_is_black_holed_while_many_wait(
    api: Api,
    s: AsyncSession,
    peer: AsyncSession,
    raw: Any,
    proxy: Proxy,
    quick_pings: None,
) -> None:
    queue = Queue(api, raw, s.lock("it", waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(7)
    assert mute_wakes(proxy) == 1
    lease, took = await queue.hand_over(lease)
    assert took <= UNWOKEN
    before = proxy.commands["SUBSCRIBE"]
    await api.until(lambda: proxy.commands["SUBSCRIBE"] > before)
    await api.sleep(0.1)
    assert max(await queue.hand_overs(lease, 6)) <= PROMPT


@pytest.mark.parametrize("close", [True, False], ids=["closed", "silent"])
async def test_there_is_no_line_to_be_had_while_many_wait(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, close: bool
) -> None:
    """It breaks, and no subscription is answered: those who wait ask at their pace."""
    queue = Queue(api, raw, s.lock("it", waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(7)
    proxy.lose_reply(ALL, SUBSCRIBE, close=close)
    raw.client_kill_filter(_type="pubsub")
    delays: list[float] = []
    for _ in range(2):
        lease, took = await queue.hand_over(lease)
        delays.append(took)
    await api.sleep(1.2 * WAITER_TTL)
    assert queue.length == 5, "who waits keeps its place"
    proxy.heal()
    await api.until(raw.pubsub_channels, timeout=3)
    await api.sleep(0.1)
    assert max(await queue.hand_overs(lease, 5)) <= PROMPT
    assert max(delays) <= UNWOKEN


async def test_who_begins_to_wait_without_a_line_gives_up_in_time(
    api: Api, s: AsyncSession, peer: AsyncSession, proxy: Proxy
) -> None:
    """A subscription that gets no answer is not paid for by every caller in turn."""
    proxy.lose_reply(ALL, SUBSCRIBE, close=False)
    lock = s.lock("it", ttl=20)
    async with peer.lock("it").acquire():
        with Ruler() as ruler:

            async def give_up() -> None:
                with pytest.raises(LockTimeout):
                    await lock.acquire(timeout=0.4)
                ruler.within(0.4 + CALL + 0.2)

            await api.all(*(give_up() for _ in range(8)))


@pytest.mark.parametrize("api", ["sync"], indirect=True)
async def test_a_short_lease_does_not_wait_a_long_time_for_its_line(
    api: Api, peer: AsyncSession, proxy: Proxy, namespace: str
) -> None:
    """A fifth of the ttl is what any question may take, a subscription too."""
    session = api.session(proxy.url, namespace=namespace)
    proxy.lose_reply(ALL, SUBSCRIBE, close=False)
    async with peer.lock("it").acquire():
        with Ruler() as ruler:
            with pytest.raises(LockTimeout):
                await session.lock("it", ttl=1).acquire(timeout=0.3)
            ruler.within(0.3 + 0.2 + 0.3)


# -- one message -----------------------------------------------------------------------


@pytest.mark.parametrize("late", [asks("lock_acquire"), SUBSCRIBE], ids=["no", "line"])
async def test_released_between_the_failed_try_and_the_wait(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, late: bytes
) -> None:
    """
    The lock becomes free while the answer "no", or that of the subscription, travels.

    The wake is there before anybody waits for it, or is never sent: in both cases
    the lock is had at once, and not when the wait would end by itself.
    """
    lock = s.lock("it", ttl=20, waiter_ttl=20)
    lease = await peer.lock("it").acquire()
    await s.ping()

    async def acquire() -> AsyncLease:
        return await lock.acquire()

    proxy.delay(0.05, "to_client")
    acquiring = api.start(acquire())
    if late == SUBSCRIBE:
        await api.until(lambda: proxy.commands["SUBSCRIBE"])
    else:
        await api.until(lambda: raw.zcard(lock._options.keys.queue))
    with Ruler() as ruler:
        await lease.release()
        mine = await acquiring
        ruler.within(6 * 0.05 + PROMPT)
    proxy.heal()
    await mine.release()


async def test_one_wake_is_lost(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy
) -> None:
    """The message is lost together with the line that it travelled on."""
    queue = Queue(api, raw, s.lock("it", waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(4)
    mute_wakes(proxy)
    lease, took = await queue.hand_over(lease)
    assert took <= UNWOKEN
    raw.client_kill_filter(_type="pubsub")
    proxy.heal()
    await api.sleep(UNWOKEN)  # the line stands again
    assert max(await queue.hand_overs(lease, 3)) <= PROMPT


async def test_a_lock_that_was_handed_over_unheard_is_had_by_asking(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy
) -> None:
    """It is the waiter's from the release on: one token is minted, not two."""
    queue = Queue(api, raw, s.lock("it", ttl=20, waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(1)
    mute_wakes(proxy)
    lease, took = await queue.hand_over(lease)
    assert took <= UNWOKEN
    assert int(raw.get(lease._claim.keys.fence)) == lease.token
    assert lease.remaining() > WAITER_TTL, "asked for, it lasts for the whole ttl"
    await lease.release()


async def test_a_lock_that_was_handed_over_is_not_believed_in_when_that_is_late(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy
) -> None:
    """The message arrives when the lock is another's already."""
    lease = await peer.lock("it").acquire()
    lock = s.lock("it", ttl=20, waiter_ttl=0.5)

    async def acquire() -> AsyncLease:
        return await lock.acquire(timeout=10)

    waiter = api.start(acquire())
    await api.until(lambda: raw.zcard(lease._claim.keys.queue) == 1)
    proxy.black_hole()
    await lease.release()
    assert raw.hget(lease._claim.keys.lock, "identity") == s.identity
    second = await peer.lock("it").acquire(timeout=3)
    proxy.heal()
    await api.sleep(0.3)
    assert not waiter.done()
    second.check()
    await second.release()
    mine = await waiter
    assert mine.token > second.token
    await mine.release()


async def test_wakes_for_nobody_do_no_harm(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any
) -> None:
    queue = Queue(api, raw, s.lock("it", waiter_ttl=WAITER_TTL))
    lease = await peer.lock("it").acquire()
    await queue.joins(2)
    (channel,) = raw.pubsub_channels()
    words: Sequence[bytes | str] = ("", "no such rid", b"\xff\xfe", "x" * 10_000)
    for word in words:
        assert raw.publish(channel, word) == 1
    assert max(await queue.hand_overs(lease, 2)) <= PROMPT


# -- what it costs ---------------------------------------------------------------------


async def test_requests_of_a_hand_over(
    api: Api, s: AsyncSession, raw: Any, proxy: Proxy
) -> None:
    """Sixteen take turns: each hand-over costs at most four requests, however they count."""
    rounds, workers = 8, 16
    lock = s.lock("it", ttl=20)

    async def work() -> int:
        last = 0
        for _ in range(rounds):
            async with lock.acquire() as lease:
                assert lease.token > last
                last = lease.token
                await api.sleep(0.002)
        return last

    await s.ping()
    proxy.reset_counts()
    tokens = await api.all(*(work() for _ in range(workers)))
    assert len(set(tokens)) == workers
    ours = proxy.commands
    handshakes = sum(n for name, n in ours.items() if name in ("CLIENT", "HELLO"))
    assert (proxy.requests - handshakes) / (rounds * workers) <= 4, ours
    assert ours["SUBSCRIBE"] == 1


async def test_a_hundred_wait_on_one_connection(
    api: Api, s: AsyncSession, peer: AsyncSession, raw: Any
) -> None:
    queue = Queue(api, raw, s.lock("it"))
    lease = await peer.lock("it").acquire()
    await queue.joins(100)
    (line,) = raw.client_list(_type="pubsub")
    assert int(line["sub"]) == 1
    delays = await queue.hand_overs(lease, 100)
    assert sorted(delays)[50] <= PROMPT
    assert len(raw.client_list(_type="pubsub")) == 1


async def test_waiters_take_no_connection_of_the_pool(
    api: Api, server: RedisServer, raw: Any, namespace: str
) -> None:
    """A pool of one serves any number of waiters, and the release still goes through."""
    url = f"{server.url}?max_connections=1"
    session = api.session(url, namespace=namespace)
    lock = session.lock("it")
    lease = await lock.acquire()
    queue = Queue(api, raw, lock)
    await queue.joins(10)
    assert max(await queue.hand_overs(lease, 10)) <= PROMPT
