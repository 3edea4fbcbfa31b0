"""
One test for both flavours of the API.

A test is a coroutine function written against `AsyncSession`.  For ``async`` it runs
on an event loop, and what it starts are tasks.  For ``sync`` the same code meets a
`Session` that shows the face of its twin: whatever is awaited blocks instead, the
coroutine never suspends, and what it starts are threads.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
)
from functools import wraps
from typing import Any, Generic, Protocol, TypeVar, cast

import coordkit
from coordkit import AsyncSession, Session
from coordkit._core.ops import Op

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: No test may hang: nothing that one waits for takes so long.
PATIENCE = 20.0


class Started(Awaitable[T_co], Protocol[T_co]):
    """Work that goes on beside the test; await it for its result."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...


class Api(ABC):
    """How a test meets coordkit, and how it does several things at once."""

    name: str

    def __init__(self) -> None:
        self._sessions: list[AsyncSession] = []
        self._warm: list[AsyncSession] = []

    @abstractmethod
    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test to its end, then close every session that it made."""

    @abstractmethod
    def start(self, work: Coroutine[Any, Any, T]) -> Started[T]:
        """Have *work* done beside the test."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""

    @abstractmethod
    def _open(self, where: Any, **options: Any) -> AsyncSession: ...

    def session(
        self, where: Any, *, warm: bool = False, **options: Any
    ) -> AsyncSession:
        """
        Return a new session; it is closed after the test.

        *warm*: it is connected before the test begins, so that a short lease is not
        used up by that.
        """
        made = self._open(where, **options)
        self._sessions.append(made)
        if warm:
            self._warm.append(made)
        return made

    async def until(
        self,
        condition: Callable[[], Any],
        *,
        timeout: float = 5.0,
        every: float = 0.002,
    ) -> Any:
        """Return the first true answer of *condition*, which may be awaitable."""
        end = time.monotonic() + timeout
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            assert time.monotonic() < end, f"not within {timeout} s: {answer!r}"
            await self.sleep(every)

    async def all(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """Do all of it at once; return the results, or raise the first failure."""
        started = [self.start(each) for each in work]
        return [await each for each in started]

    async def _whole(self, test: Coroutine[Any, Any, None]) -> None:
        for session in self._warm:
            await session.ping()
        await test

    async def _close(self) -> None:
        for session in self._sessions:
            await session.close()


class Asyncio(Api):
    """`AsyncSession` on an event loop."""

    name = "async"

    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.new_event_loop()

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=self._loop) as runner:
            runner.run(self._in_time(test))

    async def _in_time(self, test: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._whole(test)
        finally:
            await self._close()

    def start(self, work: Coroutine[Any, Any, T]) -> Started[T]:
        return asyncio.create_task(work)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _open(self, where: Any, **options: Any) -> AsyncSession:
        return AsyncSession(where, **options)


class Uvloop(Asyncio):
    """The same on the loop of uvloop."""

    name = "uvloop"

    def _loop(self) -> asyncio.AbstractEventLoop:
        import uvloop

        return uvloop.new_event_loop()


class Threads(Api):
    """`Session` in threads."""

    name = "sync"

    def __init__(self) -> None:
        super().__init__()
        self._started: list[_Thread[Any]] = []

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        try:
            drive(self._whole(test))
        finally:
            drive(self._close())
            for started in self._started:
                started.thread.join(PATIENCE)
                assert not started.thread.is_alive(), (
                    "a thread of the test does not end"
                )

    def start(self, work: Coroutine[Any, Any, T]) -> Started[T]:
        started = _Thread(work)
        self._started.append(started)
        return started

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 -- blocking is what this flavour does

    def _open(self, where: Any, **options: Any) -> AsyncSession:
        return cast("AsyncSession", _faced(Session(where, **options)))


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise AssertionError("a blocking test awaited something that suspends")


class _Thread(Generic[T]):
    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result.append(drive(self._work))
        except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
            self._error = error

    def done(self) -> bool:
        return not self.thread.is_alive()

    def __await__(self) -> Generator[Any, None, T]:
        self.thread.join(PATIENCE)
        assert self.done(), f"{self._work} is not done within {PATIENCE} s"
        if self._error is not None:
            raise self._error
        return self._result[0]
        yield  # makes it a generator


# -- the face of a twin ------------------------------------------------------------

_TWINS: dict[type, Any] = {
    getattr(coordkit, name.removeprefix("Async")): getattr(coordkit, name)
    for name in coordkit.__all__
    if name.startswith("Async")
}


def real(faced: Any) -> Any:
    """Return what coordkit itself has made."""
    return object.__getattribute__(faced, "_real") if type(faced) is _Face else faced


async def run(session: AsyncSession, op: Op[T]) -> T:
    """Have a session's driver obey an operation."""
    running: Any = session._engine.run(op)
    return cast("T", await running if inspect.isawaitable(running) else running)


def stream(session: AsyncSession, op: Op[None]) -> AsyncGenerator[Any]:
    """Have a session's driver obey an operation that tells."""
    telling: Any = session._engine.stream(op)
    return cast("AsyncGenerator[Any]", _iterated(telling))


def _faced(value: Any) -> Any:
    return _Face(value) if type(value) in _TWINS else _iterated(value)


def _iterated(value: Any) -> Any:
    telling: Any = value
    return _Iterating(telling) if inspect.isgenerator(value) else value


class _Face:
    """A blocking object that shows the face of its asyncio twin."""

    def __init__(self, value: Any) -> None:
        self._real = value

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if not callable(value):
            return _faced(value)
        twin = getattr(_TWINS[type(self._real)], name)
        if name == "singleton":
            return _decorating(value)
        if name == "run":
            return _running(value)
        if name in ("acquire", "campaign", "join"):
            return lambda *args, **kwargs: _Acquiring(lambda: value(*args, **kwargs))
        if inspect.iscoroutinefunction(twin):

            async def asked(*args: Any, **kwargs: Any) -> Any:
                return _faced(value(*args, **kwargs))

            return asked
        return lambda *args, **kwargs: _faced(value(*args, **kwargs))

    async def __aenter__(self) -> Any:
        return _faced(self._real.__enter__())

    async def __aexit__(self, *exc: object) -> None:
        self._real.__exit__(*exc)

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return next(self._real)

    def __getitem__(self, key: str) -> Any:
        return _faced(self._real[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)

    def __eq__(self, other: object) -> bool:
        return self._real is real(other)

    def __hash__(self) -> int:
        return id(self._real)

    def __repr__(self) -> str:
        return repr(self._real)


class _Iterating:
    """A generator that blocks, with the face of an asynchronous one."""

    def __init__(self, telling: Generator[Any]) -> None:
        self._telling = telling

    def __aiter__(self) -> _Iterating:
        return self

    async def __anext__(self) -> Any:
        try:
            return _faced(next(self._telling))
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self._telling.close()


class _Acquiring:
    """`coordkit.lock.Acquiring`, for threads."""

    def __init__(self, acquire: Callable[[], Any]) -> None:
        self._acquire = acquire

    def __await__(self) -> Generator[Any, None, Any]:
        return _faced(self._acquire())
        yield  # makes it a generator

    async def __aenter__(self) -> Any:
        self._lease = self._acquire()
        return _faced(self._lease.__enter__())

    async def __aexit__(self, *exc: object) -> None:
        self._lease.__exit__(*exc)


def _decorating(singleton: Callable[..., Any]) -> Callable[..., Any]:
    """Let the decorator of threads decorate a coroutine function that never suspends."""

    def decorator(*args: Any, **kwargs: Any) -> Any:
        decorate = singleton(*args, **kwargs)

        def decorated(function: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
            @wraps(function)
            def blocking(*given: Any, **named: Any) -> Any:
                named = {name: _faced(value) for name, value in named.items()}
                return drive(function(*given, **named))

            alone = decorate(blocking)

            @wraps(function)
            async def asked(*given: Any, **named: Any) -> Any:
                return alone(*given, **named)

            return asked

        return decorated

    return decorator


def _running(run: Callable[..., Any]) -> Callable[..., Any]:
    """Let `Election.run` call a coroutine function that never suspends."""

    async def asked(
        function: Callable[[Any], Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> Any:
        return run(lambda term: drive(function(_faced(term))), *args, **kwargs)

    return asked


APIS: dict[str, type[Api]] = {kind.name: kind for kind in (Threads, Asyncio, Uvloop)}
