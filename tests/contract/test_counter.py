"""Counters: exact, counted once, fenced, bounded, in one part or in many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis, on_redis_and_fake, only_async
from contract.places import Place
from coordkit import (
    AsyncSession,
    CoordError,
    KeyConflict,
    NotAllAdded,
    OutOfBounds,
    StaleToken,
    Unsupported,
)
from coordkit._core.keys import counter_keys, lasting_keys

LEAST, MOST = -(2**63), 2**63 - 1


@everywhere
async def test_what_is_added_is_there(s: AsyncSession, s2: AsyncSession) -> None:
    mine, theirs = s.counter("orders"), s2.counter("orders")
    assert await theirs.value() == 0
    assert await mine.add(5) == 5
    assert await theirs.add() == 6
    assert await mine.add(-10) == -4
    assert await theirs.value() == -4
    assert await mine.set(40) == -4
    assert await theirs.add(2) == 42
    assert await theirs.delete() == 42
    assert await mine.value() == 0
    assert await mine.delete() == 0
    assert await mine.add(1) == 1
    assert mine.name == "orders"


async def test_values_are_exact_to_the_last_digit(s: AsyncSession) -> None:
    """Lua counts in doubles: of these it would lose the last digits."""
    counter = s.counter("it")
    for value in (2**53 - 1, 2**53, 2**53 + 1, MOST - 1, LEAST + 1, -(2**53) - 1):
        await counter.set(value)
        assert await counter.value() == value
        assert await counter.add(1) == value + 1
        assert await counter.add(-1) == value
        assert await counter.set(0) == value
    assert await counter.add(MOST) == MOST
    assert await counter.add(LEAST) == -1
    assert await counter.add(LEAST + 1) == LEAST
    assert await counter.delete() == LEAST
    total = 0
    for n in (999_999_999_999_999_999, 7, -1_000_000_000_000_000_001, MOST - 5, -MOST):
        total += n
        assert await counter.add(n) == total


async def test_beyond_64_bits_it_is_refused_and_stays(s: AsyncSession) -> None:
    counter = s.counter("it")
    for value, amount in ((MOST, 1), (MOST, MOST), (LEAST, -1), (LEAST, LEAST)):
        await counter.set(value)
        with pytest.raises(OutOfBounds, match=f"stands at {value}") as out:
            await counter.add(amount)
        assert (out.value.value, out.value.amount) == (value, amount)
        assert (out.value.at_least, out.value.at_most) == (LEAST, MOST)
        assert await counter.value() == value


async def test_bounds(s: AsyncSession) -> None:
    stock = s.counter("stock")
    assert await stock.add(10, at_most=10) == 10
    with pytest.raises(OutOfBounds) as out:
        await stock.add(1, at_most=10)
    error = out.value
    assert (error.name, error.amount, error.value) == ("stock", 1, 10)
    assert (error.at_least, error.at_most) == (LEAST, 10)
    assert isinstance(error, CoordError)
    with pytest.raises(OutOfBounds):
        await stock.add(-11, at_least=0)
    assert await stock.add(-10, at_least=0, at_most=0) == 0
    assert await stock.add(-100, at_least=-100) == -100
    assert await stock.add(1, at_least=-99, at_most=-99) == -99
    await stock.set(-5)
    with pytest.raises(OutOfBounds):
        await stock.add(1, at_least=-3, at_most=9)
    assert await stock.add(2, at_least=-3, at_most=9) == -3


@pytest.mark.parametrize("limit", [9, 10, 99, 100, 10**17, 2**53 + 1, MOST])
async def test_bounds_are_numbers_not_texts(s: AsyncSession, limit: int) -> None:
    counter = s.counter("it")
    for sign in (1, -1):
        await counter.set(sign * (limit - 1))
        span: dict[str, Any] = {"at_most" if sign > 0 else "at_least": sign * limit}
        assert await counter.add(sign, **span) == sign * limit
        with pytest.raises(OutOfBounds):
            await counter.add(sign, **span)
        assert await counter.value() == sign * limit


async def test_who_shares_stock_takes_no_more_than_there_is(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    await s.counter("stock").set(10)

    async def take(session: AsyncSession) -> int:
        try:
            await session.counter("stock").add(-1, at_least=0)
        except OutOfBounds:
            return 0
        return 1

    taken = await api.all(*(take(each) for each in (s, s2) * 10))
    assert sum(taken) == 10
    assert await s2.counter("stock").value() == 0


async def test_many_at_once(api: Api, s: AsyncSession, s2: AsyncSession) -> None:
    async def add(session: AsyncSession, n: int) -> list[int]:
        counter = session.counter("it")
        return [await counter.add(n) for _ in range(20)]

    answers = await api.all(*(add(each, 1) for each in (s, s2) * 5))
    every = sorted(value for values in answers for value in values)
    assert every == list(range(1, 201)), "each value was answered once"


# -- fenced ----------------------------------------------------------------------------


@everywhere
async def test_a_stale_holder_is_refused(s: AsyncSession, s2: AsyncSession) -> None:
    old = await s.lock("it").acquire()
    assert await s.counter("it").add(5, token=old.token) == 5
    await s2.lock("it").break_()
    async with s2.lock("it").acquire() as new:
        assert await s2.counter("it").add(1, token=new.token) == 6
        for ask in (
            s.counter("it").add(1, token=old.token),
            s.counter("it").set(1, token=old.token),
            s.counter("it").delete(token=old.token),
        ):
            with pytest.raises(StaleToken) as stale:
                await ask
            error = stale.value
            assert (error.name, error.token, error.seen) == ("it", old.token, new.token)
        assert await s.counter("it").add(1) == 7, "without a token it is anybody's"
        assert await s2.counter("it").add(1, token=new.token) == 8
        (info,) = await s.counters()
        assert (info.value, info.seen) == (8, new.token)
    with pytest.raises(CoordError):
        await old.release()


async def test_a_deleted_counter_still_knows_its_token(
    place: Place, s: AsyncSession
) -> None:
    counter = s.counter("it")
    await counter.add(5, token=7)
    assert await counter.delete(token=8) == 5
    for ask in (
        counter.add(1, token=7),
        counter.set(1, token=7),
        counter.delete(token=7),
    ):
        with pytest.raises(StaleToken):
            await ask
    key = counter_keys(s.namespace, "it").counter
    assert 6 * 86_400_000 < place.raw.pttl(key) <= 7 * 86_400_000
    assert await counter.add(1, token=8) == 1
    assert place.raw.pttl(key) == -1, "and lasts when it is used again"
    assert await counter.delete() == 1
    assert await counter.set(3, token=9) == 0
    assert place.raw.pttl(key) == -1


async def test_a_counter_that_was_never_fenced_leaves_nothing(
    place: Place, s: AsyncSession
) -> None:
    await s.counter("it").add(5)
    await s.counter("it").delete()
    key = counter_keys(s.namespace, "it").counter
    assert not place.raw.exists(key)
    assert await s.counters() == []


# -- once for each request --------------------------------------------------------------


@everywhere
async def test_a_request_with_an_id_counts_once_whoever_asks(
    s: AsyncSession, s2: AsyncSession
) -> None:
    assert await s.counter("it").add(5, rid="message 7") == 5
    await s.counter("it").add(1)
    assert await s2.counter("it").add(5, rid="message 7") == 5
    assert await s2.counter("it").add(9, rid="message 7") == 5, "it is the same request"
    assert await s2.counter("other").add(5, rid="message 7") == 5, "of another counter"
    assert await s2.counter("it").add(5, rid="message 8") == 11
    assert await s.counter("it").value() == 11


async def test_a_no_is_a_no_when_it_is_asked_again(s: AsyncSession) -> None:
    for _ in range(2):
        with pytest.raises(OutOfBounds):
            await s.counter("it").add(5, at_most=4, rid="message 7")
    await s.counter("it").set(-10)
    with pytest.raises(OutOfBounds):
        await s.counter("it").add(5, at_most=4, rid="message 7")
    assert await s.counter("it").value() == -10


@on_redis_and_fake
async def test_what_is_remembered_of_requests(
    api: Api, place: Place, s: AsyncSession
) -> None:
    counter = s.counter("it")

    async def some() -> None:
        for _ in range(50):
            await counter.add(1)

    await api.all(*(some() for _ in range(4)))
    memos = place.raw.keys(f"*{s.namespace}*memo:*")
    assert 1 <= len(memos) <= 4, "as many as were under way at once"
    assert all(0 < place.raw.pttl(memo) <= 600_000 for memo in memos)
    await counter.add(1, rid="message 7")
    (chosen,) = set(place.raw.keys(f"*{s.namespace}*memo:*")) - set(memos)
    assert 86_000_000 < place.raw.pttl(chosen) <= 86_400_000


# -- several in one trip ----------------------------------------------------------------


@everywhere
async def test_several_in_one_trip(s: AsyncSession, s2: AsyncSession) -> None:
    amounts = {f"it {n}": n for n in range(250)}
    assert await s.add_all(amounts) == amounts
    assert await s2.add_all(amounts) == {name: 2 * n for name, n in amounts.items()}
    assert await s.add_all({"it 7": -20}) == {"it 7": -6}


async def test_what_is_refused_disturbs_no_other(place: Place, s: AsyncSession) -> None:
    await s.counter("fenced").add(1, token=9)
    await s.counter("full").set(MOST)
    place.raw.set(counter_keys(s.namespace, "foreign").counter, "mine")
    amounts = dict.fromkeys(["a", "fenced", "full", "foreign", "z"], 1)
    with pytest.raises(NotAllAdded, match="3 of 5 counters were not added to") as told:
        await s.add_all(amounts, token=8)
    error = told.value
    assert error.added == {"a": 1, "z": 1}
    assert {name: type(each) for name, each in error.failed.items()} == {
        "fenced": StaleToken,
        "full": OutOfBounds,
        "foreign": KeyConflict,
    }
    assert await s.counter("full").value() == MOST
    assert await s.counter("fenced").value() == 1


# -- listing ---------------------------------------------------------------------------


@everywhere
async def test_counters_lists_what_there_is_in_the_namespace(
    s: AsyncSession, s2: AsyncSession, elsewhere: AsyncSession
) -> None:
    assert await s.counters() == []
    names = ["b", "a:1", "ü 💥", "*", "counter:x", "zero"]
    for n, name in enumerate(names):
        await s.counter(name).add(n)
    await s.counter("zero").set(0)
    await s.counter("deleted").add(1)
    await s.counter("deleted").delete()
    await s.counter("wide", shards=3).add(7)
    await elsewhere.counter("other").add(1)
    async with s.lock("held").acquire():
        seen = await s2.counters()
    assert [each.name for each in seen] == sorted([*names, "wide"])
    assert {each.name: each.value for each in seen} == {
        **{name: n for n, name in enumerate(names)},
        "zero": 0,
        "wide": 7,
    }
    assert {each.name: each.shards for each in seen}["wide"] == 3
    assert {each.seen for each in seen} == {0}


# -- shards ----------------------------------------------------------------------------


@everywhere
async def test_a_sharded_counter_is_one_counter(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    async def add(session: AsyncSession) -> None:
        hits = session.counter("hits", shards=8)
        for _ in range(25):
            await hits.add(3)

    await api.all(*(add(each) for each in (s, s2) * 2))
    for session in (s, s2):
        assert await session.counter("hits", shards=8).value() == 300
        assert await session.counter("hits").value() == 300, "it knows how many it has"
    await s2.counter("hits").add(-300)
    assert await s.counter("hits").value() == 0
    (info,) = await s.counters()
    assert (info.name, info.value, info.shards) == ("hits", 0, 8)


async def test_its_shards_are_in_several_buckets(
    api: Api, place: Place, s: AsyncSession
) -> None:
    hits = s.counter("hits", shards=8)
    for _ in range(64):
        await hits.add(1)
    shards = [counter_keys(s.namespace, "hits", n).counter for n in range(8)]
    values = [int(place.raw.hget(key, "value")) for key in shards]
    assert sum(values) == 64
    assert min(values) >= 4, "and each has its part"
    if hasattr(place.raw, "keyslot"):
        nodes = {place.raw.get_node_from_key(key) for key in shards}
        assert len(nodes) == 3, "all nodes of the cluster work"


async def test_what_was_there_is_handed_to_who_replaces_it(
    api: Api, s: AsyncSession, s2: AsyncSession
) -> None:
    """An add is in the old value or in the new one, whatever happens at once."""

    async def add() -> int:
        hits = s.counter("hits", shards=4)
        for _ in range(50):
            await hits.add(1)
        return 0

    async def reset() -> int:
        hits = s2.counter("hits", shards=4)
        return sum([await hits.set(0) for _ in range(20)])

    handed = sum(await api.all(add(), add(), reset()))
    assert handed + await s.counter("hits").value() == 100


async def test_clients_that_do_not_agree_on_shards(s: AsyncSession) -> None:
    await s.counter("one").add(1)
    await s.counter("eight", shards=8).add(1)
    for counter, told in (
        (s.counter("one", shards=8), "'one' has 1 shards, not 8"),
        (s.counter("eight", shards=4), "'eight' has 8 shards, not 4"),
        (s.counter("eight", shards=1), "'eight' has 8 shards, not 1"),
    ):
        for ask in (counter.add(1), counter.value(), counter.set(1), counter.delete()):
            with pytest.raises(KeyConflict, match=told):
                await ask
    assert await s.counter("one").value() == await s.counter("eight").value() == 1


async def test_a_sharded_counter_cannot_be_fenced_or_bounded(s: AsyncSession) -> None:
    await s.counter("hits", shards=4).add(1)
    told = "'hits' has 4 shards: a token or a bound cannot be checked"
    for ask in (
        s.counter("hits").add(1, token=7),
        s.counter("hits").add(1, at_most=7),
        s.counter("hits").set(1, token=7),
    ):
        with pytest.raises(Unsupported, match=told):
            await ask
    assert await s.counter("hits").value() == 1


async def test_the_shards_of_a_deleted_counter(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    hits, theirs = s.counter("hits", shards=4), s2.counter("hits")
    for _ in range(20):
        await hits.add(1)
    assert await theirs.value() == 20
    assert await hits.delete() == 20
    assert await s.counters() == []
    for _ in range(10):
        await theirs.add(1)  # as many shards as it had
    assert await hits.value() == await theirs.value() == 10
    assert [info.shards for info in await s.counters()] == [4]
    assert await theirs.delete() == 10
    again = s.counter("hits", shards=2)
    for _ in range(10):
        await again.add(1)
    assert await again.value() == await s2.counter("hits").value() == 10
    assert [info.shards for info in await s.counters()] == [2]
    assert await again.delete() == 10
    assert await s.counter("hits", shards=1).add(5) == 5
    assert await s2.counter("hits").add(1, token=7) == 6


async def test_requests_with_an_id_find_their_shard(
    s: AsyncSession, s2: AsyncSession
) -> None:
    for n in range(20):
        rid = f"message {n}"
        first = await s.counter("hits", shards=4).add(1, rid=rid)
        assert await s2.counter("hits").add(1, rid=rid) == first
    assert await s.counter("hits").value() == 20


async def test_several_at_once_some_of_them_sharded(s: AsyncSession) -> None:
    await s.counter("hits", shards=4).add(1)
    assert (await s.add_all({"one": 1, "hits": 5}))["one"] == 1
    assert await s.counter("hits").value() == 6
    with pytest.raises(NotAllAdded) as told:
        await s.add_all({"one": 1, "hits": 5}, token=7)
    assert isinstance(told.value.failed["hits"], Unsupported)
    assert told.value.added == {"one": 2}


# -- what others did to its keys ----------------------------------------------------------


@on_redis_and_fake
async def test_a_foreign_value_at_its_key(place: Place, s: AsyncSession) -> None:
    key, counter = counter_keys(s.namespace, "it").counter, s.counter("it")

    async def conflicts() -> None:
        asked = [counter.add(1), counter.add(1, token=7, at_most=5), counter.value()]
        asked += [counter.set(1), counter.delete(), counter.add(1, rid="x")]
        for ask in asked:
            with pytest.raises(KeyConflict):
                await ask

    place.raw.set(key, "mine")
    await conflicts()
    assert place.raw.get(key) == "mine"
    place.raw.delete(key)
    for foreign in ("1.5", "ten", "0x10", "1e3"):
        place.raw.hset(key, "value", foreign)
        await conflicts()
        assert place.raw.hgetall(key) == {"value": foreign}


@on_redis_and_fake
async def test_a_foreign_value_at_its_index(place: Place, s: AsyncSession) -> None:
    keys = counter_keys(s.namespace, "it")
    place.raw.set(keys.lasting, "mine")
    for ask in (s.counter("it").add(1), s.counter("it").set(1)):
        with pytest.raises(KeyConflict):
            await ask
    assert not place.raw.exists(keys.counter), "nothing has changed"
    assert place.raw.get(keys.lasting) == "mine"


async def test_scripts_forgotten_in_between(place: Place, s: AsyncSession) -> None:
    counter = s.counter("it", shards=2)
    for n in range(5):
        place.forget_scripts()
        await counter.add(1)
        place.forget_scripts()
        assert await counter.value() == n + 1
        place.forget_scripts()
        assert len(await s.add_all({"a": 1, "b": 1})) == 2
        place.forget_scripts()
        assert len(await s.counters()) == 3


async def test_data_that_the_server_loses_are_lost(
    place: Place, s: AsyncSession
) -> None:
    await s.counter("it").add(5, token=7)
    place.lose_data()
    assert await s.counter("it").add(1, token=6) == 1
    assert [info.value for info in await s.counters()] == [1]


@on_redis
async def test_the_index_does_not_expire_with_leases(
    place: Place, s: AsyncSession
) -> None:
    await s.counter("it").add(1)
    async with s.lock("it", ttl=0.1).acquire():
        pass
    ends = [place.raw.pttl(key) for key in lasting_keys(s.namespace)]
    assert set(ends) == {-1, -2}


@only_async
async def test_who_is_cancelled_may_add_again(s: AsyncSession) -> None:
    """The lane of a cancelled add is free, and its straggler too late."""
    counter: Any = s.counter("it")
    for turns in range(12):
        before = await counter.value()
        task = asyncio.create_task(counter.add(1))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await counter.add(1) in (before + 1, before + 2)
    assert 12 <= await counter.value() <= 24
