"""The matrix: every test that asks for `api` and `place` runs with each of both."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from contract.flavours import APIS, Api
from contract.marks import SERVERS
from contract.places import (
    AclPlace,
    ClusterPlace,
    FakePlace,
    Place,
    RedisPlace,
    SentinelPlace,
)
from coordkit import AsyncSession
from support.servers import RedisCluster, RedisServer, Sentinels


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Let the flavour run a test that is a coroutine function."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    given: dict[str, Any] = pyfuncitem.funcargs
    names = inspect.signature(pyfuncitem.obj).parameters
    api: Api = given["api"]
    api.run(pyfuncitem.obj(**{name: given[name] for name in names}))
    return True


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest) -> Api:
    """Return how the test meets coordkit."""
    return APIS[request.param]()


@pytest.fixture(scope="session")
def redis_place() -> Iterator[RedisPlace]:
    with RedisServer() as server, closing(RedisPlace(server)) as place:
        yield place


@pytest.fixture(scope="session")
def acl_place() -> Iterator[AclPlace]:
    with RedisServer(acl=AclPlace.ACL) as server, closing(AclPlace(server)) as place:
        yield place


@pytest.fixture(scope="session")
def fakeredis_place() -> Iterator[FakePlace]:
    with closing(FakePlace()) as place:
        yield place


@pytest.fixture(scope="session")
def cluster_place() -> Iterator[ClusterPlace]:
    with RedisCluster() as cluster, closing(ClusterPlace(cluster)) as place:
        yield place


@pytest.fixture(scope="session")
def sentinel_place() -> Iterator[SentinelPlace]:
    # A busy machine must not look like a dead master.
    sentinels = Sentinels(down_after=10.0)
    with sentinels, closing(SentinelPlace(sentinels)) as place:
        yield place


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> Place:
    """Return the server of the test; nobody else has its namespace."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """Return a namespace that no other test has used."""
    name = secrets.token_hex(4)
    if "place" in request.fixturenames:
        place: Place = request.getfixturevalue("place")
        place.admit(name)
    return name


@pytest.fixture
def s(api: Api, place: Place, namespace: str) -> AsyncSession:
    """Return a session: `AsyncSession`, or `Session` with the face of it."""
    return api.session(place.where(api), namespace=namespace, warm=True)


@pytest.fixture
def s2(api: Api, place: Place, namespace: str) -> AsyncSession:
    """Return a second client of the same namespace."""
    return api.session(place.where(api), namespace=namespace, warm=True)


@pytest.fixture
def elsewhere(api: Api, place: Place, namespace: str) -> AsyncSession:
    """Return a client of another namespace, whose name begins like ours."""
    other = f"{namespace}.x"
    place.admit(namespace, other)
    return api.session(place.where(api), namespace=other)
