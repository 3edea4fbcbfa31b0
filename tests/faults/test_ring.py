"""Answers about a ring that are lost: what was asked for is done once, and told as it was done."""

from __future__ import annotations

from typing import Any

import pytest

from contract.ringplay import NODES, keys_of, known
from coordkit import AsyncRing, AsyncSession
from faults.network import asks
from support.proxy import Proxy

#: the reply is lost and the connection closed, or the connection is silent for ever
lost = pytest.mark.parametrize("close", [True, False], ids=["closed", "silent"])


async def is_sound(ring: AsyncRing, version: int, *nodes: str) -> None:
    """Check that the ring has come so far, with these nodes, and fits together."""
    await ring.refresh()
    assert ring.version == version
    assert sorted(node.name for node in ring.nodes()) == sorted(nodes)
    assert await ring.verify() == []


@lost
async def test_reply_to_a_change(
    s: AsyncSession, peer: AsyncSession, proxy: Proxy, close: bool
) -> None:
    ring = s.ring("shards")
    await ring.create(slots=1024)
    await ring.add(NODES)
    proxy.lose_reply(match=asks("ring_commit"), close=close)
    change = await ring.add("cache-4")
    assert sum(proxy.struck.values()) == 1
    assert (change.version, change.added) == (3, ("cache-4",))
    await is_sound(await known(peer.ring("shards")), 3, *NODES, "cache-4")
    assert (await peer.ring("shards").diff(2)).changes == (change,)


@lost
async def test_reply_to_a_part_of_a_first_placement(
    s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, close: bool
) -> None:
    """It is laid ready in parts: one may be laid twice, and nothing is left over."""
    proxy.lose_reply(match=asks("ring_stage"), close=close)
    await s.ring("shards").add(NODES)
    assert sum(proxy.struck.values()) == 1
    await is_sound(await known(peer.ring("shards")), 1, *NODES)
    assert raw.keys("*staged*") == []


@lost
async def test_reply_to_an_end(
    s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, close: bool
) -> None:
    ring = s.ring("shards")
    await ring.create(slots=1024)
    proxy.lose_reply(match=asks("ring_delete"), close=close)
    assert await ring.delete(), "it was there when it was first asked"
    assert sum(proxy.struck.values()) == 1
    assert await peer.ring("shards").info() is None
    assert not await ring.delete()


@lost
async def test_replies_about_what_is_assigned(
    s: AsyncSession, peer: AsyncSession, raw: Any, proxy: Proxy, close: bool
) -> None:
    ring = s.ring("shards")
    await ring.create(slots=1024)
    await ring.add(NODES)
    proxy.lose_reply(match=asks("ring_assign"), close=close)
    node = await ring.assign("job")
    assert await peer.ring("shards").assign("job") == node
    assert raw.hgetall(keys_of(s).loads) == {node: "1"}, "counted once"
    await ring.assign("other")
    proxy.lose_reply(match=asks("ring_release"), close=close)
    assert await ring.release("job") == node, "as it was when it was first asked"
    assert sum(proxy.struck.values()) == 2
    assert sum(map(int, raw.hvals(keys_of(s).loads))) == 1, "let go once"
