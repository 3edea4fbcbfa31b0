"""Ids: each is handed out once, to whatever thread, task, session or process."""

from __future__ import annotations

import pytest

from contract.flavours import Api
from contract.marks import everywhere, on_redis_and_fake
from contract.places import Place
from coordkit import AsyncIds, AsyncSession, IdRegression, KeyConflict, OutOfBounds
from coordkit._core.keys import ids_key


async def some(ids: AsyncIds, count: int) -> list[int]:
    return [await anext(ids) for _ in range(count)]


@everywhere
async def test_no_id_is_handed_out_twice(s: AsyncSession, s2: AsyncSession) -> None:
    mine, theirs = s.ids("it", block=3), s2.ids("it", block=5)
    assert await some(mine, 4) == [1, 2, 3, 4]
    assert await some(theirs, 6) == [7, 8, 9, 10, 11, 12]
    assert await some(mine, 4) == [5, 6, 17, 18]
    assert await some(s.ids("other"), 2) == [1, 2]
    assert await some(s.ids("it", block=1), 2) == [20, 21]
    assert mine.name == "it"


async def test_iterating(s: AsyncSession) -> None:
    taken: list[int] = []
    async for number in s.ids("it", block=2):
        taken.append(number)
        if number == 5:
            break
    assert taken == [1, 2, 3, 4, 5]


async def test_many_share_one(api: Api, s: AsyncSession) -> None:
    ids = s.ids("it", block=7)
    found = await api.all(*(some(ids, 100) for _ in range(8)))
    assert sorted(n for numbers in found for n in numbers) == list(range(1, 801))
    assert all(numbers == sorted(numbers) for numbers in found), "they rise"


async def test_a_block_is_one_question(place: Place, s: AsyncSession) -> None:
    ids = s.ids("it", block=1000)
    await anext(ids)
    place.forget_scripts()  # who asked would be asked for the source
    place.lose_data()
    assert await some(ids, 999) == list(range(2, 1001))


async def test_none_is_below_the_start(s: AsyncSession) -> None:
    assert await some(s.ids("it", block=2, start=100), 3) == [100, 101, 102]
    assert await some(s.ids("it", block=1, start=50), 1) == [104]
    assert await some(s.ids("it", block=1, start=200), 1) == [200]


async def test_the_last_ids_there_are(s: AsyncSession) -> None:
    ids = s.ids("it", block=10, start=2**53 - 10)
    assert await some(ids, 10) == list(range(2**53 - 10, 2**53))
    for block in (1, 10, 2**32):
        with pytest.raises(OutOfBounds, match=f"stands at {2**53 - 1}"):
            await anext(s.ids("it", block=block))
    with pytest.raises(OutOfBounds):
        await anext(ids)


async def test_a_store_that_goes_back_is_found_out(
    place: Place, s: AsyncSession, s2: AsyncSession
) -> None:
    ids = s.ids("it", block=10)
    assert await some(ids, 10) == list(range(1, 11))
    place.lose_data()
    with pytest.raises(IdRegression, match="start=11 or higher") as told:
        await anext(ids)
    assert (told.value.name, told.value.first, told.value.last) == ("it", 1, 10)
    assert await some(s2.ids("it", start=told.value.last + 1), 1) == [11]
    assert await some(ids, 1) == [1011], "from there on it is right again"


@on_redis_and_fake
async def test_a_foreign_value_at_its_key(place: Place, s: AsyncSession) -> None:
    key = ids_key(s.namespace, "it")
    for foreign in ("mine", "1.5", "-1", ""):
        place.raw.set(key, foreign)
        with pytest.raises(KeyConflict):
            await anext(s.ids("it"))
        assert place.raw.get(key) == foreign
    place.raw.delete(key)
    place.raw.rpush(key, "mine")
    with pytest.raises(KeyConflict):
        await anext(s.ids("it"))


async def test_ids_are_no_counter(s: AsyncSession) -> None:
    await anext(s.ids("it"))
    assert await s.counter("it").add(5) == 5
    assert [info.name for info in await s.counters()] == ["it"]
    assert await some(s.ids("it", block=1), 1) == [1001]
