"""A server, a proxy before it, and sessions on both sides of the proxy."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from contract.flavours import APIS, Api
from coordkit import AsyncSession
from coordkit._io.scripts import SCRIPTS
from support.proxy import Proxy
from support.servers import RedisServer

#: the time-out of sessions whose questions get no answer: short, for it is waited for
CALL = 0.3


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


@pytest.fixture(scope="module")
def module_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(module_server: RedisServer) -> Iterator[RedisServer]:
    """Return a server that runs, is empty, and knows every script."""
    with module_server.client() as client:
        client.flushall()
        for script in SCRIPTS.values():
            client.script_load(script.source)
    yield module_server
    module_server.resume()


@pytest.fixture
def raw(server: RedisServer) -> Iterator[Any]:
    """Return a plain client with decoded answers, for what no session would do."""
    with server.client(decode_responses=True) as client:
        yield client


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def namespace() -> str:
    """Return a namespace that no other test has used."""
    return secrets.token_hex(4)


@pytest.fixture
def s(api: Api, proxy: Proxy, namespace: str) -> AsyncSession:
    """Return the session under test: it asks through the proxy."""
    return api.session(proxy.url, namespace=namespace, timeout=CALL)


@pytest.fixture
def peer(api: Api, server: RedisServer, namespace: str) -> AsyncSession:
    """Return another client of the same namespace, with a network that works."""
    return api.session(server.url, namespace=namespace)
