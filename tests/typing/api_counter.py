"""Counters, ids, fences and gates as users type them; see `api`."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from coordkit import (
    AsyncCounter,
    AsyncFence,
    AsyncIds,
    AsyncSession,
    CoordError,
    Counter,
    CounterInfo,
    Entry,
    Fence,
    Gate,
    IdRegression,
    Ids,
    Lease,
    NotAllAdded,
    OutOfBounds,
    Overtaken,
    Passage,
    Session,
)

MINUTE = timedelta(minutes=1)

# -- counters ----------------------------------------------------------------------


def counters(s: Session, lease: Lease) -> None:
    orders = s.counter("orders")
    assert_type(orders, Counter)
    assert_type(s.counter("hits", shards=16), Counter)
    assert_type(orders.name, str)
    assert_type(orders.add(), int)
    assert_type(orders.add(5, token=lease.token), int)
    assert_type(orders.add(-5, at_least=0, at_most=100, rid="message-7"), int)
    assert_type(orders.value(), int)
    assert_type(orders.set(7, token=lease.token), int)
    assert_type(orders.delete(token=lease.token), int)
    assert_type(s.add_all({"orders": 5, "items": 12}), dict[str, int])
    assert_type(s.add_all({"orders": 5}, token=lease.token), dict[str, int])
    listed = s.counters()
    assert_type(listed, list[CounterInfo])
    for each in listed:
        assert_type(each.name, str)
        assert_type(each.value, int)
        assert_type(each.shards, int)
        assert_type(each.seen, int)


async def async_counters(s: AsyncSession) -> None:
    orders = s.counter("orders", shards=None)
    assert_type(orders, AsyncCounter)
    assert_type(orders.name, str)
    assert_type(await orders.add(5, token=7), int)
    assert_type(await orders.add(at_least=0, at_most=100, rid="message-7"), int)
    assert_type(await orders.value(), int)
    assert_type(await orders.set(7, token=7), int)
    assert_type(await orders.delete(), int)
    assert_type(await s.add_all({"orders": 5}, token=7), dict[str, int])
    assert_type(await s.counters(), list[CounterInfo])


# -- ids ---------------------------------------------------------------------------


def ids(s: Session) -> int:
    numbers = s.ids("invoice-no", block=100, start=1000)
    assert_type(numbers, Ids)
    assert_type(numbers.name, str)
    assert_type(next(numbers), int)
    for number in s.ids("invoice-no"):
        return number
    return 0


async def async_ids(s: AsyncSession) -> int:
    numbers = s.ids("invoice-no", block=100, start=1000)
    assert_type(numbers, AsyncIds)
    assert_type(numbers.name, str)
    assert_type(await anext(numbers), int)
    async for number in s.ids("invoice-no"):
        return number
    return 0


# -- fences ------------------------------------------------------------------------


def fences(fence: Fence, lease: Lease) -> None:
    assert_type(fence.set("total", "7", token=7, ttl=MINUTE), None)
    assert_type(fence.delete("total", token=lease.token), None)
    assert_type(fence.cas("total", "8", expected=b"7", token=7), bool)
    assert_type(fence.cas("total", b"8", expected=None, token=7, ttl=1.5), bool)
    assert_type(fence.append("closed", token=lease.token), int)
    assert_type(fence.append(b"closed", token=7, expected=3, keep=100), int)
    assert_type(fence.last(), int)
    assert_type(fence.journal(), list[Entry])
    for entry in fence.journal(after=3, limit=10):
        assert_type(entry.number, int)
        assert_type(entry.term, int)
        assert_type(entry.value, bytes)


async def async_fences(fence: AsyncFence) -> None:
    assert_type(await fence.set("total", "7", token=7, ttl=60), None)
    assert_type(await fence.delete("total", token=7), None)
    assert_type(await fence.cas("total", "8", expected="7", token=7), bool)
    assert_type(await fence.append("closed", token=7, expected=3, keep=9), int)
    assert_type(await fence.last(), int)
    assert_type(await fence.journal(after=3, limit=10), list[Entry])


def gates(token: int) -> None:
    gate = Gate("ledger", seen=7)
    assert_type(gate.name, str)
    assert_type(gate.seen, int)
    assert_type(gate.check(token), None)
    passage = gate.admit(token, timeout=MINUTE)
    assert_type(passage, Passage)
    with passage as nothing:
        assert_type(nothing, None)


async def async_gates(gate: Gate, token: int) -> None:
    async with gate.admit(token, 1.5) as nothing:
        assert_type(nothing, None)


# -- errors ------------------------------------------------------------------------


def errors(s: Session) -> str:
    try:
        s.counter("orders").add(5, at_most=10)
        s.add_all({"orders": 5})
        s.fence("ledger").append("closed", token=7, expected=3)
        next(s.ids("invoice-no"))
    except OutOfBounds as error:
        assert_type(error.name, str)
        return f"{error.amount} {error.value} {error.at_least} {error.at_most}"
    except NotAllAdded as error:
        assert_type(error.added, dict[str, int])
        assert_type(error.failed, dict[str, CoordError])
    except Overtaken as error:
        return f"{error.name} {error.expected} {error.last}"
    except IdRegression as error:
        return f"{error.name} {error.first} {error.last}"
    return "over"
