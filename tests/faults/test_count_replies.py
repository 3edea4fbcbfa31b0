"""Answers to counters, fences and ids that are lost, late or doubled."""

from __future__ import annotations

from typing import Any

import pytest

from contract.flavours import Api
from coordkit import AsyncSession, OutOfBounds, StaleToken, Unreachable
from coordkit._core.ops import Call
from coordkit._io.scripts import by_digest
from faults.conftest import CALL
from faults.network import ALL, QUESTION, asks
from faults.ruler import Ruler
from support.proxy import Proxy
from support.servers import RedisServer

#: the reply is lost and the connection closed, or the connection is silent for ever
lost = pytest.mark.parametrize("close", [True, False], ids=["closed", "silent"])


@lost
async def test_reply_to_add(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    counter = s.counter("it")
    for n in range(1, 4):
        proxy.lose_reply(match=asks("counter_add"), close=close)
        assert await counter.add(1) == n
        assert await peer.counter("it").value() == n
    assert sum(proxy.struck.values()) == 3
    proxy.lose_reply(match=asks("counter_add"), close=close)
    assert await counter.add(5, token=7, at_least=0) == 8
    proxy.lose_reply(match=asks("counter_add"), close=close)
    assert await counter.add(5, rid="message 7") == 13
    assert await peer.counter("it").add(5, rid="message 7") == 13


@lost
async def test_a_no_that_is_lost_is_said_again(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    await peer.counter("it").add(5, token=9)
    proxy.lose_reply(match=asks("counter_add"), close=close)
    with pytest.raises(StaleToken):
        await s.counter("it").add(1, token=8)
    proxy.lose_reply(match=asks("counter_add"), close=close)
    with pytest.raises(OutOfBounds):
        await s.counter("it").add(1, at_most=5)
    assert sum(proxy.struck.values()) == 2
    assert await peer.counter("it").value() == 5


@lost
async def test_reply_to_several_adds(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    names = [f"it {n}" for n in range(150)]
    amounts = dict.fromkeys(names, 1)
    proxy.lose_reply(match=asks("counter_add"), close=close)
    assert await s.add_all(amounts) == amounts
    assert sum(proxy.struck.values()) >= 1
    assert {info.name: info.value for info in await peer.counters()} == amounts


@lost
async def test_reply_to_adds_to_shards(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    """The first claims the number of shards, later ones make some."""
    wide = s.counter("wide", shards=4)
    for n in range(1, 9):
        proxy.lose_reply(match=asks("counter_add"), close=close)
        await wide.add(1)
        assert await peer.counter("wide").value() == n


@lost
async def test_reply_to_set_and_delete(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    await peer.counter("it").add(5)
    proxy.lose_reply(match=asks("counter_set"), close=close)
    assert await s.counter("it").set(0) == 5, "the first answer"
    await peer.counter("it").add(3)
    proxy.lose_reply(match=asks("counter_set"), close=close)
    assert await s.counter("it").delete() == 3
    assert await peer.counter("it").value() == 0


@lost
async def test_reply_to_writes_of_a_fence(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    fence, theirs = s.fence("it"), peer.fence("it")
    proxy.lose_reply(match=asks("fence_write"), close=close)
    assert await fence.cas("n", "1", expected=None, token=7), "it was we who did it"
    proxy.lose_reply(match=asks("fence_write"), close=close)
    assert not await fence.cas("n", "2", expected=None, token=7)
    proxy.lose_reply(match=asks("fence_append"), close=close)
    assert await fence.append("one", token=7) == 1
    proxy.lose_reply(match=asks("fence_append"), close=close)
    assert await fence.append("two", token=7, expected=1) == 2
    proxy.lose_reply(match=asks("fence_write"), close=close)
    await fence.delete("n", token=7)
    assert sum(proxy.struck.values()) == 5
    assert await theirs.get("n") is None
    proxy.lose_reply(match=asks("fence_write"), close=close)
    await fence.set("n", "3", token=8)
    assert await theirs.get("n") == b"3"
    assert await theirs.seen() == 8
    assert [entry.value for entry in await theirs.journal()] == [b"one", b"two"]


@lost
async def test_reply_to_a_block_of_ids(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    """It is wasted: nobody has its ids."""
    ids = s.ids("it", block=10)
    proxy.lose_reply(match=asks("ids_take"), close=close)
    assert [await anext(ids) for _ in range(10)] == list(range(11, 21))
    assert await anext(peer.ids("it")) == 21


# -- no reply comes ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "silent"])
async def test_every_reply_is_lost_until_the_caller_gives_up(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, how: str
) -> None:
    """It was counted, once, and nobody knows; who comes back with its id learns it."""
    counter = s.counter("it")
    proxy.lose_reply(ALL, QUESTION, close=how == "closed")
    with Ruler() as ruler:
        with pytest.raises(Unreachable):
            await counter.add(1)
        ruler.within(3 * CALL + 0.15)
    with pytest.raises(Unreachable):
        await counter.add(10, rid="message 7")
    with pytest.raises(Unreachable):
        await s.add_all({"a": 100, "b": 100})
    proxy.heal()
    assert await peer.counter("it").value() == 11
    assert await counter.add(10, rid="message 7") == 11
    assert {i.name: i.value for i in await peer.counters()} == {
        "a": 100,
        "b": 100,
        "it": 11,
    }


async def test_a_stalled_server_counts_for_a_caller_that_has_gone(
    api: Api, s: AsyncSession, peer: AsyncSession, server: RedisServer
) -> None:
    """A ghost; the retries of it find what it did, and do nothing."""
    counter = s.counter("it")
    await counter.add(1)
    server.pause()
    with pytest.raises(Unreachable):
        await counter.add(10)
    server.resume()
    await api.until(lambda: _has(peer, 11))
    await api.sleep(0.1)
    assert await peer.counter("it").value() == 11
    assert await counter.add(1) == 12


async def _has(session: AsyncSession, value: int) -> bool:
    return await session.counter("it").value() == value


def by_hand(raw: Any, call: Call) -> list[Any]:
    answer: list[Any] = raw.execute_command(*by_digest(call))
    return answer


async def test_late_duplicates(
    s: AsyncSession, peer: AsyncSession, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is one of its own: what is older than the lane's last is dead."""
    calls: list[Call] = []
    engine: Any = s._engine
    ask = engine._wires.call

    def noted(call: Call, **more: Any) -> Any:
        calls.append(call)
        return ask(call, **more)

    monkeypatch.setattr(engine._wires, "call", noted)
    counter, fence = s.counter("it"), s.fence("it")
    assert await counter.add(1) == 1
    assert await fence.append("one", token=7) == 1
    with pytest.raises(OutOfBounds):
        await counter.add(10, at_most=5)
    await fence.set("field", "x", token=7)
    assert await counter.add(2) == 3
    first, append, refused, write, last = calls
    assert len({call.keys[0] for call in (first, refused, last)}) == 1, "one lane"
    for _ in range(2):
        assert by_hand(raw, last) == ["added", "3"]
        for late in (first, append, refused, write):
            assert by_hand(raw, late)[0] == "gone"
    await peer.counter("it").add(-3)
    assert by_hand(raw, refused) == ["gone"], "though it would be in bounds by now"
    assert await peer.counter("it").value() == 0
    assert len(await peer.fence("it").journal()) == 1


# -- the memory of the server --------------------------------------------------------------


@lost
async def test_a_restart_between_a_question_and_its_answer(
    api: Api, namespace: str, close: bool
) -> None:
    """With an append-only file the memory of requests is as lasting as the counters."""
    with RedisServer(persistence="always") as server, Proxy(server.port) as proxy:
        s = api.session(proxy.url, namespace=namespace, timeout=2.0)
        peer = api.session(server.url, namespace=namespace)
        assert await s.counter("it").add(1) == 1
        proxy.lose_reply(match=asks("counter_add"), close=close)

        async def add() -> int:
            return await s.counter("it").add(10)

        adding = api.start(add())
        await api.until(lambda: _has(peer, 11))
        server.kill()
        server.restart()
        assert await adding == 11
        assert await peer.counter("it").value() == 11
