"""
pytest fixtures for the tests of code that uses coordkit.

They come with coordkit: there is nothing to import::

    def test_one_at_a_time(coordkit_server):
        a, b = coordkit_server.session(), coordkit_server.session()
        with a.lock("invoices").acquire():
            assert b.lock("invoices").try_acquire() is None

Each test has a `Server` of its own: fakeredis, inside the test's process, for which
``pip install coordkit[test]`` is needed.  Where COORDKIT_TEST_URL is set, it is a
random namespace of that real server instead, which is emptied after the test.

In asyncio tests the same fixtures serve whatever runs the loop: pytest-asyncio,
anyio, or a plain ``asyncio.run()`` inside of the test.

Not guaranteed: that another process, or the child of a fork, sees a server that
lives inside this one; that an answer comes as fast as from Redis; that time passes
faster: a lease of 30 s lasts 30 s, unless `Server.expire` ends it.
"""

# ruff: noqa: PLC0415  # pytest loads this in every run where coordkit is installed:
# what takes time is imported by the functions that need it, when a fixture is used.

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    import asyncio

    from ._core.keys import LockKeys
    from .async_session import AsyncSession
    from .errors import Reason
    from .lease import AsyncLease, Lease
    from .session import Session

S = TypeVar("S")

REAL_SERVER = "COORDKIT_TEST_URL"
NOT_INSTALLED = (
    "the fixtures of coordkit need fakeredis: pip install coordkit[test] "
    f"(or set {REAL_SERVER} to the URL of a real server)"
)
#: How long one answer may take at most, in seconds.
TIMEOUT = 2.0


@pytest.fixture
def coordkit_server() -> Iterator[Server]:
    """
    Start a Redis of this test's own: make sessions on it as several processes would.

    ``coordkit_server.session(identity="a")``, ``.async_session()``; and bad days:
    ``.expire(lease)``, ``.steal(name)``, ``.lose_data()``, ``with .partition():``.
    """
    server = Server(os.environ.get(REAL_SERVER))
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def coordkit_session(coordkit_server: Server) -> Session:
    """Open a `coordkit.Session` on the test's own server; it is closed after the test."""
    return coordkit_server.session()


@pytest.fixture
def coordkit_async_session(coordkit_server: Server) -> AsyncSession:
    """
    Open a `coordkit.AsyncSession` on the test's own server, for any asyncio plugin.

    It belongs to the loop that asks first.  It is closed when that loop ends or after
    the test, whichever comes first; ``async with`` closes it earlier.
    """
    return coordkit_server.async_session()


class Server:
    """
    A Redis of one test's own, and the bad days that code has to survive.

    The bad days are plain functions, in asyncio tests too: there is nothing to await.
    """

    def __init__(self, url: str | None) -> None:
        from .errors import CoordError
        from .session import Session

        self._url = url
        self._namespace = f"test-{os.urandom(8).hex()}"
        self._fakeredis = None if url else _fakeredis()
        self._fake = self._fakeredis and self._fakeredis.FakeServer()
        self._cut = _Cut()
        self._ways: list[_Way] = []
        # Kept, for a lease that nobody refers to warns that it was not released.
        self._stolen: list[Lease] = []
        self._outside = self._opened(Session, _Way, identity="outside")
        self._ways[0].everyone = _Cut()  # no partition cuts off whoever does the rest
        try:
            self._outside.ping()
        except CoordError as exc:
            pytest.fail(f"{REAL_SERVER}: {exc}", pytrace=False)
        self._client = self._asking()

    def session(
        self, identity: str | None = None, *, timeout: float = TIMEOUT
    ) -> Session:
        """Return a new `Session` on this server, as another process would have it."""
        from .session import Session

        return self._opened(Session, _Way, identity=identity, timeout=timeout)

    def async_session(
        self, identity: str | None = None, *, timeout: float = TIMEOUT
    ) -> AsyncSession:
        """Return a new `AsyncSession` on this server, as another process would have it."""
        from .async_session import AsyncSession

        return self._opened(AsyncSession, _AsyncWay, identity=identity, timeout=timeout)

    # -- bad days ----------------------------------------------------------------------

    def expire(self, lease: Lease | AsyncLease) -> None:
        """
        End *lease* now, as if its ttl had passed without a renewal.

        Its holder is told ``expired``.  The lock is free for the next waiter, or, if
        it has a ``lock_delay``, after that.
        """
        from .errors import Reason

        self._way_of(lease).lose(lease, Reason.EXPIRED)
        claim = lease._claim
        keys, (seconds, micros) = claim.keys, self._client.time()
        now = seconds * 1000 + micros // 1000
        if claim.limit is not None:
            self._client.zadd(keys.holders, {lease.holder: now}, xx=True)
        elif self._client.hget(keys.lock, "rid") == lease.holder.encode():
            if claim.lock_delay:
                self._client.hset(keys.lock, "until", now)
                self._client.pexpire(keys.lock, int(claim.lock_delay * 1000))
            else:
                self._client.delete(keys.lock)
        self._wake(keys)

    def steal(self, name: str, *, ttl: float = 30.0, told: bool = True) -> Lease:
        """
        Give the lock *name* to another holder, whoever has it; return that lease.

        The token rises.  The old holder is told ``stolen`` (of a shared lock:
        ``evicted``) at once, unless it is cut off.  With ``told=False`` it believes
        in its lease until its next renewal: only its token keeps it out by then.
        """
        held = [lease for lease in self._leases() if lease.name == name]
        lock = self._outside.lock(name, ttl=ttl, fair=False)
        keys = lock._options.keys
        while (lease := lock.try_acquire()) is None:
            self._client.delete(keys.lock, keys.holders, keys.records)
        self._stolen.append(lease)
        self._tell(held if told else ())
        return lease

    def lose_data(self, *, told: bool = True) -> None:
        """
        Lose all data, as by FLUSHALL or a restart without persistence.

        Every holder that is not cut off is told ``data_lost`` at once, or, with
        ``told=False``, at its next renewal.  A real server loses only what was
        stored through these fixtures.
        """
        held = self._leases()
        self._wipe()
        self._tell(held if told else ())

    @contextlib.contextmanager
    def partition(self, *sessions: Session | AsyncSession) -> Generator[None]:
        """
        Cut these *sessions* off from the server for a ``with`` block; without any, all.

        Every question of theirs fails at once, no wake reaches them, and their leases
        end by their own clock.
        """
        cuts = [self._way_of(session).cut for session in sessions] or [self._cut]
        for cut in cuts:
            cut.depth += 1
        try:
            yield
        finally:
            for cut in cuts:
                cut.depth -= 1

    # -- its end -----------------------------------------------------------------------

    def close(self) -> None:
        """Close every session, and leave nothing on a real server."""
        with contextlib.ExitStack() as last_first:
            last_first.callback(self._client.close)
            last_first.callback(self._wipe)
            for way in self._ways:
                last_first.callback(way.close)

    def __repr__(self) -> str:
        return f"<Server of {self._outside!r}>"

    # -- how it does it ------------------------------------------------------------------

    def _opened(self, kind: Callable[..., S], way: type[_Way], **options: Any) -> S:
        where: Any = self._url
        if self._fake is not None:
            client = getattr(self._fakeredis, way.client)
            where = client(server=self._fake, host="fakeredis")
        session = kind(where, namespace=self._namespace, **options)
        self._ways.append(way(session, self._cut))
        return session

    def _way_of(self, ours: Any) -> _Way:
        """Return the way of a session, or of a lease that was taken through it."""
        for way in self._ways:
            if way.engine is getattr(ours, "_engine", None):
                return way
        raise ValueError(f"{ours!r} was not made by coordkit_server")

    def _leases(self) -> list[Any]:
        return [lease for way in self._ways for lease in way.engine.keeper.leases()]

    def _tell(self, held: Iterable[Any]) -> None:
        """Tell every holder of what the server has lost; who is cut off hears nothing."""
        from ._core.lock import _why

        for lease in held:
            way = self._way_of(lease)
            if not way.is_cut():
                way.lose(lease, self._outside._engine.run(_why(lease)))

    def _asking(self) -> Any:
        """Return a client of redis-py, for what is not in the protocol."""
        import redis

        source = self._outside._engine.source
        dial, nodes = source._origin.dial, source._origin.nodes
        if nodes:
            login: dict[str, Any] = {
                key: dial.settings.get(key) for key in ("username", "password")
            }
            return redis.RedisCluster(*nodes[0], **login)
        return redis.Redis.from_pool(
            redis.ConnectionPool(dial.connection_class, **dial.settings)
        )

    def _wake(self, keys: LockKeys) -> None:
        """Have the first waiter ask now: it counts on the end that was due."""
        from ._core.keys import wake_prefix

        for head in self._client.zrange(keys.queue, 0, 0):
            channel = wake_prefix(self._namespace) + head[:16].decode()
            self._client.publish(channel, head)

    def _wipe(self) -> None:
        from ._core.keys import LAYOUT

        if self._fake is not None:
            self._client.flushall()
            return
        ours = f"{LAYOUT}:{self._namespace}:*"
        for key in self._client.scan_iter(match=ours, count=1000):
            self._client.delete(key)


class _Cut:
    """How many partitions cut something off at present."""

    depth = 0


class _Way:
    """The way of one `Session` to the server, which partitions can cut."""

    client = "FakeRedis"

    def __init__(self, session: Any, everyone: _Cut) -> None:
        self.session = session
        self.everyone = everyone
        self.cut = _Cut()
        self.engine = engine = session._engine
        engine._line = self._gated(engine._line)
        for driver in (engine._io, engine._keeping):
            driver._line, driver._wires = engine._line, self._gated(driver._wires)

    def _gated(self, inner: Any) -> Any:
        from ._io.gate import Gate

        return Gate(inner, self.shut)

    def is_cut(self) -> bool:
        """Whether nothing passes at present."""
        return self.everyone.depth > 0 or self.cut.depth > 0

    def shut(self) -> bool:
        """Whether the gate is shut for who asks now."""
        return self.is_cut()

    def lose(self, lease: Any, reason: Reason) -> None:
        """Tell the holder of *lease*, as the keeper would."""
        self.engine.keeper._lose(lease, reason)

    def close(self) -> None:
        """Close the session."""
        self.session.close()


class _AsyncWay(_Way):
    """The way of one `AsyncSession`."""

    client = "FakeAsyncRedis"
    #: closes the session when its loop ends; started when it first asks
    closing: asyncio.Task[None] | None = None

    def _gated(self, inner: Any) -> Any:
        from ._io.gate import AsyncGate

        return AsyncGate(inner, self.shut)

    def lose(self, lease: Any, reason: Reason) -> None:
        """Tell the holder of *lease*, in the thread of its loop."""
        from asyncio import _get_running_loop as here

        loop = self.closing and self.closing.get_loop()
        if loop and loop.is_running() and loop is not here():
            loop.call_soon_threadsafe(super().lose, lease, reason)
        else:
            super().lose(lease, reason)

    def close(self) -> None:
        """Close the session, unless its loop has ended: then it is closed."""
        from asyncio import CancelledError

        if self.closing is None or self.closing.done():
            return
        loop = self.closing.get_loop()
        if loop.is_running():  # in another thread
            loop.call_soon_threadsafe(self.closing.cancel)
        elif not loop.is_closed():
            self.closing.cancel()
            with contextlib.suppress(CancelledError):
                loop.run_until_complete(self.closing)

    def shut(self) -> bool:
        """Whether it is cut; and see to it that the session is closed in the end."""
        from asyncio import create_task

        self.closing = self.closing or create_task(self._close_in_the_end())
        return self.is_cut()

    async def _close_in_the_end(self) -> None:
        """Wait for the cancellation that ends every loop; no fixture can await it."""
        from asyncio import CancelledError, Event

        try:
            await Event().wait()
        except CancelledError:
            await self.session.close()
            raise


def _fakeredis() -> Any:
    """Return fakeredis, if it is there and can run Lua."""
    try:
        import_module("lupa")
        return import_module("fakeredis")
    except ImportError:
        pytest.fail(NOT_INSTALLED, pytrace=False)
