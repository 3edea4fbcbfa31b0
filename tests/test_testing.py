"""The fixtures for users' tests, met as users meet them: by running small suites."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.servers import RedisServer

if TYPE_CHECKING:  # at run time it is a plugin, and imported as such
    from support.suites import Suite

pytest_plugins = ["pytester", "support.suites"]


# -- one server, several sessions ----------------------------------------------------


def test_sessions_exclude_each_other(anywhere: Suite) -> None:
    done = anywhere("""
def test_threads(a, b):
    with a.lock("x").acquire() as lease:
        assert b.lock("x").try_acquire() is None
        assert b.lock("x").info().identity == "a"
    with b.lock("x").acquire(timeout=0) as later:
        assert later.token > lease.token

async def test_tasks(task_a, task_b):
    async with task_a.lock("x").acquire() as lease:
        assert await task_b.lock("x").try_acquire() is None
        assert (await task_b.lock("x").info()).identity == "a"
    async with task_b.lock("x").acquire(timeout=0) as later:
        assert later.token > lease.token

async def test_both(coordkit_session, coordkit_async_session):
    with coordkit_session.lock("x").acquire():
        assert await coordkit_async_session.lock("x").try_acquire() is None
""")
    done.assert_outcomes(passed=3)


def test_waiters_wake(anywhere: Suite) -> None:
    done = anywhere("""
def test_a_thread(lease, b):
    waiter = queue(b.lock("x"))
    lease.release()
    waiter.result(SOON).release()

async def test_a_task(task_a, task_b):
    lease = await task_a.lock("x").acquire()
    waiter = await queue_task(task_b.lock("x"))
    await lease.release()
    await (await asyncio.wait_for(waiter, SOON)).release()

async def test_a_task_by_a_thread(lease, task_b):
    waiter = await queue_task(task_b.lock("x"))
    await asyncio.to_thread(lease.release)
    await (await asyncio.wait_for(waiter, SOON)).release()
""")
    done.assert_outcomes(passed=3)


# -- nothing is left -------------------------------------------------------------------


def test_nothing_leaks_from_test_to_test(anywhere: Suite) -> None:
    done = anywhere("""
kept = []

def test_leaves_all_it_can(server, a, lease):
    kept.append(lease)
    a.fence("f").check(5)
    server.steal("y")
    server.partition().__enter__()

def test_finds_nothing(a):
    assert [thread.name for thread in threads()] == ["MainThread"]
    assert not kept[0].held
    assert (a.locks(), a.fence("f").seen()) == ([], 0)

async def test_leaves_a_loop(task_a):
    kept.extend([await task_a.lock("x").acquire(), task_a])

def test_finds_it_closed(a):
    assert not kept[1].held
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(kept[2].ping())
    assert a.locks() == []
""")
    done.assert_outcomes(passed=4)


def test_sessions_end_with_the_test_when_the_loop_goes_on(anywhere: Suite) -> None:
    done = anywhere("""
kept = []

@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner

def test_leaves_it_open(runner, task_a):
    kept.append(runner.run(task_a.lock("x").acquire().__aenter__()))

def test_finds_it_closed(runner):
    assert kept[0].state is State.RELEASED
    assert asyncio.all_tasks(runner.get_loop()) == set()

def test_closes_it(runner, task_a):
    runner.run(task_a.ping())
    runner.run(task_a.close())
""")
    done.assert_outcomes(passed=3)


PYTEST_ASYNCIO = """
pytestmark = pytest.mark.asyncio(loop_scope="SCOPE")
"""
ANYIO = """
pytestmark = pytest.mark.anyio
anyio_backend = pytest.fixture(scope="SCOPE")(lambda: "asyncio")
"""


@pytest.mark.parametrize("scope", ["function", "module"])
@pytest.mark.parametrize(
    ("plugin", "mark", "option"),
    [
        pytest.param(
            "pytest_asyncio.plugin",
            PYTEST_ASYNCIO,
            "asyncio_default_fixture_loop_scope=function",
            id="pytest-asyncio",
        ),
        pytest.param("anyio.pytest_plugin", ANYIO, "addopts=", id="anyio"),
    ],
)
def test_with_the_plugins_of_others(
    anywhere: Suite, plugin: str, mark: str, option: str, scope: str
) -> None:
    pytest.importorskip(plugin)
    suite = """
async def test_a_body_is_cancelled(coordkit_server, coordkit_async_session):
    with pytest.raises(LeaseLost):
        async with coordkit_async_session.lock("x").acquire() as lease:
            coordkit_server.expire(lease)
            await asyncio.sleep(5)

async def test_left_open(coordkit_async_session):
    await coordkit_async_session.ping()

async def test_closed(coordkit_async_session):
    async with coordkit_async_session as session:
        await session.ping()
"""
    done = anywhere(mark.replace("SCOPE", scope) + suite, "-p", plugin, "-o", option)
    done.assert_outcomes(passed=3)


# -- what it takes ---------------------------------------------------------------------

PACKAGE = Path(__file__).parent.parent / "coordkit"
ONE_LINE = """
def test_without(): pass
def test_with(coordkit_session): pass
"""


@pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
def test_says_in_one_line_what_to_install(
    suite: Suite, pytester: pytest.Pytester, missing: str
) -> None:
    pytester.makeconftest(f"import sys; sys.modules[{missing!r}] = None")
    done = suite(ONE_LINE)
    done.assert_outcomes(passed=1, errors=1)
    said = [line for line in done.outlines if "pip install coordkit[test]" in line]
    assert said[0].startswith("the fixtures of coordkit need fakeredis: pip install")
    done.stdout.no_fnmatch_line("*testing.py*")


def test_needs_no_fakeredis_for_a_real_server(
    suite: Suite,
    pytester: pytest.Pytester,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COORDKIT_TEST_URL", redis_server.url)
    pytester.makeconftest("import sys; sys.modules['fakeredis'] = None")
    suite(ONE_LINE).assert_outcomes(passed=2)


def test_says_in_one_line_that_the_real_server_does_not_answer(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COORDKIT_TEST_URL", "redis://:secret@127.0.0.1:1/0")
    done = suite(ONE_LINE)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["COORDKIT_TEST_URL: no answer from redis://*"])
    done.stdout.no_fnmatch_line("*secret*")
    done.stdout.no_fnmatch_line("*testing.py*")


def test_the_list_of_fixtures_explains_each(suite: Suite) -> None:
    shown = suite("", "--fixtures").stdout
    shown.fnmatch_lines(["coordkit_server -- *testing.py:*", "    Start a Redis of *"])
    shown.fnmatch_lines(["    ``.expire(lease)``, ``.steal(name)``, ``.lose_data()``*"])
    for name in ("Session", "AsyncSession"):
        shown.fnmatch_lines([f"    Open a `coordkit.{name}` on the test's own server*"])


def test_the_plugin_itself_imports_nothing_that_takes_time() -> None:
    """Whatever the package around it imports: that stands empty here."""
    program = """
import sys, types, pytest
sys.modules["coordkit"] = package = types.ModuleType("coordkit")
package.__path__ = [sys.argv[1]]
before = set(sys.modules)
import coordkit.testing
print(*sorted(set(sys.modules) - before))
"""
    argv = [sys.executable, "-c", program, str(PACKAGE)]
    done = subprocess.run(argv, capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["coordkit.testing"]
