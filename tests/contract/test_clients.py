"""Sessions made from a user's own client, and users with few rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from contract.flavours import Api, Threads
from contract.places import RedisPlace, promptly, take
from coordkit import (
    AsyncSession,
    CoordError,
    LeaseLost,
    LockTimeout,
    NotPermitted,
    Unreachable,
)
from coordkit_cli.acl import rules
from support.servers import HOST, RedisServer, free_port

PASSWORD = "wr0ng:s3cr3t"
RIGHTS = [
    "-@all",
    "+@read",
    "+@write",
    "+@connection",
    "+@pubsub",
    "+eval",
    "+evalsha",
    "+time",
]


def client_of(api: Api, server: RedisServer, **options: Any) -> Any:
    """Return a client of redis-py's, of this flavour."""
    blocking = isinstance(api, Threads)
    if "retry" in options:
        retry = Retry if blocking else AsyncRetry
        options["retry"] = retry(ExponentialBackoff(), options["retry"])
    kind: Any = redis.Redis if blocking else redis.asyncio.Redis
    return kind(host=HOST, port=server.port, **options)


CLIENTS: dict[str, dict[str, Any]] = {
    "decoding": {"decode_responses": True},
    "latin": {"encoding": "latin-1", "decode_responses": True},
    "resp3": {"protocol": 3},
    "resp3 decoding": {"protocol": 3, "decode_responses": True},
    "retrying": {"retry": 10, "retry_on_error": [OSError], "socket_timeout": 30},
    "of one": {"max_connections": 1},
    "single": {"single_connection_client": True},
    "another database": {"db": 5},
}


@pytest.fixture
def server(redis_place: RedisPlace) -> RedisServer:
    return redis_place.server


@pytest.mark.parametrize("options", CLIENTS.values(), ids=CLIENTS.keys())
async def test_a_users_client(
    api: Api, server: RedisServer, namespace: str, options: dict[str, Any]
) -> None:
    client = client_of(api, server, **options)
    s, s2 = (api.session(client, namespace=namespace) for _ in range(2))
    lock = s.lock("é 💥", ttl=0.4, meta={"é": "💥"})
    async with lock.acquire(timeout=1) as lease:
        first = lease.deadline
        seen = await s2.lock("é 💥").info()
        assert seen is not None
        assert (seen.token, seen.meta) == (lease.token, {"é": "💥"})
        assert [each.name for each in await s2.locks()] == ["é 💥"]
        with pytest.raises(LockTimeout):
            await s2.lock("é 💥").acquire(timeout=0.02)
        await api.until(lambda: lease.deadline > first)
        waiter = api.start(take(s2.lock("é 💥", ttl=60, waiter_ttl=40)))
        await api.until(_waiting(s, "é 💥"))
    await (await promptly(waiter)).release()
    reader = await s.lock("it", shared=True).acquire()
    await s2.fence("it").set("é", "💥", token=reader.token)
    assert await s.fence("it").get("é") == "💥".encode()
    await s2.lock("it").break_()
    with pytest.raises(LeaseLost):
        await reader.renew()


def _waiting(s: AsyncSession, name: str) -> Any:
    async def waiting() -> bool:
        seen = await s.lock(name).info()
        return seen is not None and seen.waiters == 1

    return waiting


async def test_a_pool_of_one_serves_any_number_of_waiters(
    api: Api, redis_place: RedisPlace, namespace: str
) -> None:
    """And the holder's release goes through beside them."""
    client = client_of(api, redis_place.server, max_connections=1)
    s = api.session(client, namespace=namespace)
    lock = s.lock("it", ttl=60, waiter_ttl=40)
    holder = await lock.acquire()
    served: list[int] = []

    async def wait(number: int) -> None:
        async with lock.acquire(timeout=10):
            served.append(number)

    waiters = [api.start(wait(number)) for number in range(20)]
    await api.until(lambda: redis_place.waiting(lock) == 20)
    assert await lock.try_acquire() is None
    await holder.renew()
    await holder.release()
    for waiter in waiters:
        await waiter
    assert sorted(served) == list(range(20))


# -- rights --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """Return a server with a user of few rights, and none without a password."""
    acl = [
        f"user shop on >shop-pw {' '.join(rules('shop', (6, 2)))}",
        f"user prefix on >pw ~ck:1:* &ck:1:* {' '.join(RIGHTS)}",
        "user default off",
    ]
    with RedisServer(acl=acl) as server:
        yield server


@pytest.mark.parametrize("user", ["shop:shop-pw", "prefix:pw"])
async def test_a_user_held_to_the_prefix_has_all_it_needs(
    api: Api, guarded: RedisServer, user: str
) -> None:
    url = f"redis://{user}@{HOST}:{guarded.port}/0"
    s, s2 = (api.session(url, namespace="shop") for _ in range(2))
    lock = s.lock("it", ttl=0.4)
    async with lock.acquire() as lease:
        first = lease.deadline
        await lease.renew()
        assert await s2.lock("it").info()
        assert len(await s2.locks()) == 1
        await api.until(lambda: lease.deadline > first)
        waiter = api.start(take(s2.lock("it", ttl=60, waiter_ttl=40)))
        await api.until(_waiting(s, "it"))
    await (await promptly(waiter)).release()
    lease = await s.lock("it", slots=2).acquire()
    await s.fence("it").set("field", "value", token=lease.token)
    await s.lock("it").revoke()
    with pytest.raises(LeaseLost):
        await lease.renew()
    assert await s.lock("it").break_()


async def test_a_user_may_not_touch_another_namespace(
    api: Api, guarded: RedisServer
) -> None:
    url = f"redis://shop:shop-pw@{HOST}:{guarded.port}/0"
    s = api.session(url, namespace="bank")
    for ask in (s.lock("it").acquire, s.lock("it").try_acquire, s.locks, s.ping):
        with pytest.raises(NotPermitted) as error:
            await ask()
        assert isinstance(error.value, PermissionError)
        assert "shop-pw" not in f"{error.value}{error.value!r}"


@pytest.mark.parametrize("login", [f"shop:{PASSWORD}@", f"nobody:{PASSWORD}@", ""])
async def test_a_wrong_password_is_told_and_not_shown(
    api: Api, guarded: RedisServer, login: str
) -> None:
    s = api.session(f"redis://{login}{HOST}:{guarded.port}/0", namespace="shop")
    for ask in (s.lock("it").acquire, s.lock("it").try_acquire, s.locks, s.ping):
        with pytest.raises(NotPermitted) as error:
            await ask()
        cause: BaseException | None = error.value
        while cause is not None:
            assert "s3cr3t" not in f"{cause}{cause!r}"
            cause = cause.__cause__ or cause.__context__
        assert str(guarded.port) in str(error.value)
    assert "s3cr3t" not in f"{s!r}{s.address}{s.lock('it')!r}"


async def test_nobody_is_there(api: Api, namespace: str) -> None:
    url = f"redis://shop:{PASSWORD}@{HOST}:{free_port()}/0"
    s = api.session(url, namespace=namespace, timeout=0.2)
    with pytest.raises(Unreachable) as error:
        await s.lock("it").acquire(timeout=0.1)
    assert isinstance(error.value, ConnectionError)
    assert isinstance(error.value, CoordError)
    assert "s3cr3t" not in f"{error.value}{error.value!r}"
    with pytest.raises(Unreachable):
        await s.lock("it").try_acquire()
