"""What is published on a channel reaches all who observe it, and silence is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from contract.flavours import Api, Threads, stream
from contract.marks import everywhere, on_redis, on_redis_and_fake, only_sync
from contract.places import Place, RedisPlace, take
from coordkit import AsyncSession
from coordkit._core.keys import in_bucket, news_channel
from coordkit._core.observe import Resumed, Subject, Suspended, observe
from coordkit._core.ops import Call
from support.servers import RedisServer

#: A change is told at once, not when one would ask anyway.
SOON, SELDOM = 1.0, 15.0


class Board:
    """Something that others change: a set of words in Redis, and who observes it."""

    def __init__(self, raw: Any, namespace: str, name: str = "board") -> None:
        self._raw = raw
        self.key = in_bucket(namespace, 0, name)
        self.channel = news_channel(namespace, "board", name)
        #: how often it was looked at
        self.asked = 0

    def write(self, word: str, *, publish: bool = True) -> None:
        self._raw.zadd(self.key, {word: "+inf"})
        if publish:
            self._raw.publish(self.channel, "changed")

    def watch(self, session: AsyncSession, every: float = SELDOM) -> Any:
        """Tell each word once."""
        seen: set[bytes] = set()

        def ask() -> Call:
            self.asked += 1
            return Call("index_list", (self.key,), (), 2.0)

        def read(value: list[bytes]) -> Iterator[str]:
            for word in value:
                if word not in seen:
                    seen.add(word)
                    yield word.decode()

        subject = Subject(self.channel, ask, read)
        return stream(session, observe(subject, session._engine.rid(), every=every))


async def promptly(telling: Any, expected: Any) -> None:
    began = time.monotonic()
    assert await anext(telling) == expected
    assert time.monotonic() - began < SOON


@pytest.fixture
def board(place: Place, namespace: str) -> Board:
    return Board(place.raw, namespace)


async def heard(api: Api, place: Place, board: Board, number: int = 1) -> None:
    """Wait until so many connections listen to the channel."""
    await api.until(
        lambda: dict(place.raw.pubsub_numsub(board.channel))[board.channel] == number
    )


@everywhere
async def test_what_is_true_comes_first_and_then_what_is_pushed(
    api: Api, s: AsyncSession, board: Board
) -> None:
    board.write("one", publish=False)
    telling = board.watch(s)
    await promptly(telling, "one")
    for word in ("two", "three"):
        later = api.start(promptly(telling, word))
        await api.sleep(0.1)
        board.write(word)
        await later
    await telling.aclose()


@on_redis_and_fake
async def test_each_hears_what_it_listens_to(
    api: Api, place: Place, s: AsyncSession, namespace: str
) -> None:
    boards = [Board(place.raw, namespace, name) for name in "ab"]
    watching = [board.watch(s) for board in (*boards, boards[0])]
    for board in boards:
        board.write("first", publish=False)
    for telling in watching:
        await promptly(telling, "first")
    told = [api.start(anext(telling)) for telling in watching]
    for board in boards:
        await heard(api, place, board)
    boards[0].write("more")
    assert [await told[0], await told[2]] == ["more", "more"]
    assert not told[1].done()
    boards[1].write("even more")
    assert await told[1] == "even more"


@on_redis
async def test_beside_a_waiter_that_reads_already(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession, board: Board
) -> None:
    """Of threads, one reads for all: the channel is added by that one."""
    async with s2.lock("it", ttl=60).acquire() as lease:
        waiter = api.start(take(s.lock("it", waiter_ttl=40)))
        await api.until(lambda: place.waiting(s.lock("it")) == 1)
        board.write("one", publish=False)
        telling = board.watch(s)
        await promptly(telling, "one")
        later = api.start(promptly(telling, "two"))
        await heard(api, place, board)
        board.write("two")
        await later
        await lease.release()
        await (await waiter).release()


@on_redis_and_fake
async def test_many_messages_that_have_come_are_one_reason_to_ask(
    api: Api, place: Place, s: AsyncSession, board: Board
) -> None:
    """As when a thousand members join, with ten who watch."""
    telling = board.watch(s)
    board.write("first", publish=False)
    await promptly(telling, "first")
    await heard(api, place, board)
    words = [f"{number:03}" for number in range(100)]
    for word in words:
        board.write(word)
    assert [await anext(telling) for _ in words] == words
    later = api.start(promptly(telling, "last"))
    await api.sleep(0.3)  # the others are read, if they are
    board.write("last")
    await later
    assert board.asked < 10


@on_redis
async def test_what_was_changed_while_the_line_was_lost_is_told(
    api: Api, place: Place, s: AsyncSession, board: Board
) -> None:
    telling = board.watch(s)
    later = api.start(anext(telling))
    await heard(api, place, board)
    board.write("one", publish=False)
    place.raw.client_kill_filter(_type="pubsub")
    assert await later == "one"
    later = api.start(promptly(telling, "two"))
    await heard(api, place, board)
    board.write("two")
    await later


@on_redis
async def test_a_lost_message_is_made_up_for(s: AsyncSession, board: Board) -> None:
    telling = board.watch(s, every=0.2)
    board.write("one", publish=False)
    await promptly(telling, "one")
    board.write("two", publish=False)
    await promptly(telling, "two")


@on_redis
async def test_who_leaves_is_no_longer_told(
    api: Api, place: Place, s: AsyncSession, s2: AsyncSession, board: Board
) -> None:
    board.write("one", publish=False)
    left, stays = board.watch(s), board.watch(s2)
    await promptly(left, "one")
    await promptly(stays, "one")
    later = api.start(anext(stays))
    await heard(api, place, board, 2)
    await left.aclose()
    board.write("two")
    assert await later == "two"
    await heard(api, place, board, 1)
    assert s._engine._line._boxes == {}
    assert s._engine._line._listeners == {}


@on_redis
async def test_a_closed_session_lets_go(
    api: Api, place: Place, namespace: str, board: Board
) -> None:
    session = api.session(place.where(api), namespace=namespace)
    watching = board.watch(session)

    async def to_the_end() -> None:
        async for news in watching:
            assert isinstance(news, Suspended), "it was about to ask"

    later = api.start(to_the_end())
    await heard(api, place, board)
    await session.close()
    with pytest.raises(RuntimeError, match=r"session (was|is) closed"):
        await later
    with pytest.raises(RuntimeError, match="session is closed"):
        await anext(board.watch(session))


@pytest.mark.slow
async def test_what_changed_during_an_outage_is_told(api: Api, namespace: str) -> None:
    with RedisServer(persistence="always") as server:
        session = api.session(server.url, namespace=namespace, timeout=0.3)
        with server.client() as raw:
            board = Board(raw, namespace)
            board.write("one")
            telling = board.watch(session)
            await promptly(telling, "one")
            later = api.start(anext(telling))
            await heard(api, RedisPlace(server), board)
        server.restart()
        with server.client() as raw:
            Board(raw, namespace).write("two", publish=False)
        news = [await later]
        while news[-1] != "two":
            news.append(await anext(telling))
        *silence, _ = news
        assert [type(each) for each in silence] in ([], [Suspended, Resumed])
        server.stop()
        silent = await anext(telling)
        assert isinstance(silent, Suspended)
        assert f"127.0.0.1:{server.port}" in silent.why


@pytest.mark.slow
async def test_a_frozen_server_is_told(api: Api, namespace: str) -> None:
    with RedisServer() as server, server.client() as raw:
        session = api.session(server.url, namespace=namespace, timeout=0.3)
        board = Board(raw, namespace)
        board.write("one")
        telling = board.watch(session, every=0.2)
        assert await anext(telling) == "one"
        server.pause()
        try:
            assert isinstance(await anext(telling), Suspended)
        finally:
            server.resume()
        resumed = await anext(telling)
        assert isinstance(resumed, Resumed)
        assert 0 < resumed.silent < 10
        board.write("two")
        assert await anext(telling) == "two"


@only_sync
@on_redis
async def test_in_the_child_of_a_fork_it_is_the_parents(
    api: Api, s: AsyncSession, board: Board
) -> None:
    from contract.forks import in_child

    assert isinstance(api, Threads)
    board.write("one", publish=False)
    telling = board.watch(s)
    await promptly(telling, "one")

    def go_on() -> None:
        with pytest.raises(RuntimeError, match="process that forked this one"):
            telling.__anext__().send(None)

    assert in_child(go_on) == 0
    board.write("two")
    await promptly(telling, "two")
