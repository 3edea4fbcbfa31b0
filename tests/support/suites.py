"""
Runs small suites as users of coordkit's pytest fixtures would write them.

A test module takes this in with ``pytest_plugins = ["pytester", "support.suites"]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from support.servers import RedisServer

ROOT = Path(__file__).parent.parent.parent
#: Runs coroutines, as the plugins of others do.
CONFTEST = """
import asyncio, inspect
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if inspect.iscoroutinefunction(pyfuncitem.obj):
        names = inspect.signature(pyfuncitem.obj).parameters
        given = {name: pyfuncitem.funcargs[name] for name in names}
        asyncio.run(pyfuncitem.obj(**given))
        return True
"""
#: What a suite starts with: two sessions of each flavour, and how to wait in a queue.
HEAD = """
import asyncio, time
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from threading import enumerate as threads
import pytest
from coordkit import *

SOON = 0.7  # without a wake, waiters ask again after 1.5 s

server = pytest.fixture(lambda coordkit_server: coordkit_server)
a = pytest.fixture(lambda server: server.session("a"))
b = pytest.fixture(lambda server: server.session(identity="b", timeout=1))
task_a = pytest.fixture(lambda server: server.async_session("a"))
task_b = pytest.fixture(lambda server: server.async_session("b"))
lease = pytest.fixture(lambda a: a.lock("x").acquire())

def queue(lock):
    waiter = ThreadPoolExecutor(1).submit(lock.acquire, 5)
    while lock.info().waiters == 0:
        time.sleep(0.01)
    return waiter

async def queue_task(lock):
    waiter = asyncio.ensure_future(lock.acquire(5).__aenter__())
    while (await lock.info()).waiters == 0:
        await asyncio.sleep(0.01)
    return waiter
"""

Suite: TypeAlias = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Run a suite in a process of its own, where every warning is an error."""
    # With this tree's plugin and no other, whether or not it is installed.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("COORDKIT_TEST_URL", raising=False)
    pytester.makeconftest(CONFTEST)

    def run(source: str, *args: str) -> pytest.RunResult:
        pytester.makepyfile(HEAD + source)
        plugin = ("-p", "coordkit.testing")
        return pytester.runpytest_subprocess(*plugin, "-W", "error", "-v", *args)

    return run


@pytest.fixture(params=["fakeredis", "redis"])
def anywhere(
    request: pytest.FixtureRequest, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Suite]:
    """Run a suite on both kinds of server; on the real one it leaves nothing behind."""
    if request.param == "fakeredis":
        yield suite
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    monkeypatch.setenv("COORDKIT_TEST_URL", server.url)
    client = server.client()
    client.set("of somebody else", "1")
    yield suite
    assert client.keys() == [b"of somebody else"]
    assert len(client.client_list()) == 1
