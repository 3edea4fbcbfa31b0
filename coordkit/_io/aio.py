"""Runs operations on the event loop, and the keeper in a task of its own."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol, TypeVar

from .._core.follow import Copy, Follower, Tended, refresh
from .._core.keeper import Keeper
from .._core.ops import (
    Call,
    Defer,
    Listen,
    Op,
    Pipeline,
    Reply,
    Request,
    Rest,
    Tell,
    Wait,
    ended,
)
from ..errors import Unreachable
from .ending import end

T = TypeVar("T")
log = logging.getLogger("coordkit")

#: A sleep is looked up from this often: timers stand still while the machine is
#: suspended, and the clock of the leases does not.
LONGEST_NAP = 5.0
#: A follower may be opening its line as it is stopped: to be cancelled there is hard on
#: redis-py, and harder on uvloop, whose loop then waits at its end for ever.
PATIENCE = 0.5


class AsyncAsking(Protocol):
    """What a driver needs of the way to the server."""

    async def call(self, call: Call) -> Any:
        """Run one script and return its answer."""
        ...

    async def pipeline(self, calls: Sequence[Call], timeout: float) -> list[Any]:
        """Run several; an error of the server stands in its call's place."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class AsyncWaking(Protocol):
    """What a driver needs of the line on which wakes arrive."""

    async def listen(self, rid: str, timeout: float, channel: str = "") -> None:
        """Keep every wake for *rid* from now on, and what comes on *channel*."""
        ...

    async def wait(self, rid: str, timeout: float) -> str | None:
        """Wait for a wake, at most *timeout* seconds, and return it; None: ask again."""
        ...

    def forget(self, rid: str) -> None:
        """Keep no more wakes for *rid*."""
        ...

    def stir(self, rid: str) -> None:
        """End the wait for *rid*."""
        ...


class Aio:
    """A driver: obeys the requests of an operation, one after another."""

    def __init__(
        self,
        wires: AsyncAsking,
        line: AsyncWaking,
        clock: Callable[[], float],
        defer: Callable[[Call, float], None],
    ) -> None:
        self._wires = wires
        self._line = line
        self._clock = clock
        self._defer = defer

    async def run(self, op: Op[T]) -> T:
        """Drive *op* to its end and return what it returns."""
        try:
            return await self._drive(op, None)
        except BaseException as exc:
            if ended(op):
                raise
            return await self._drive(op, exc)  # interrupted between two requests

    async def _drive(self, op: Op[T], problem: BaseException | None) -> T:
        listening: str | None = None
        clock, call, obey = self._clock, self._wires.call, self._obey
        reply: Any = None
        asked_at = 0.0
        try:
            while True:
                try:
                    request = op.send(reply) if problem is None else op.throw(problem)
                    problem = None
                    if type(request) is Listen:
                        listening = request.rid
                    asked_at = clock()
                    # Nine questions of ten are calls: these take a frame less.
                    ask = call(request) if type(request) is Call else obey(request)
                    value = await ask
                    reply = Reply(value, asked_at, clock())
                except BaseException as exc:
                    if ended(op):
                        raise  # it has ended, with this
                    if isinstance(exc, Unreachable):
                        exc.asked_at, exc.heard_at = asked_at, clock()
                    problem = exc
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            problem = None  # it refers to this frame: what that holds would live on
            if listening is not None:
                self._line.forget(listening)

    async def stream(self, op: Op[None]) -> AsyncGenerator[Any]:
        """Drive *op*, and yield what it tells; it ends when nobody wants more."""
        listening: str | None = None
        reply: Any = None
        problem: BaseException | None = None
        asked_at = 0.0
        try:
            while True:
                try:
                    request = op.send(reply) if problem is None else op.throw(problem)
                    problem, value = None, None
                    if type(request) is Listen:
                        listening = request.rid
                    asked_at = self._clock()
                    if type(request) is Tell:
                        yield request.value
                    else:
                        value = await self._obey(request)
                    reply = Reply(value, asked_at, self._clock())
                except BaseException as exc:
                    if ended(op):
                        raise  # it has ended, with this
                    if isinstance(exc, Unreachable):
                        exc.asked_at, exc.heard_at = asked_at, self._clock()
                    problem = exc
        except StopIteration:
            return
        finally:
            problem = None  # it refers to this frame: what that holds would live on
            if listening is not None:
                self._line.forget(listening)

    async def _obey(self, request: Request) -> Any:
        match request:
            case Call():
                return await self._wires.call(request)
            case Pipeline(calls, timeout):
                return await self._wires.pipeline(calls, timeout)
            case Listen(rid, timeout, channel):
                return await self._line.listen(rid, timeout, channel)
            case Wait(rid, timeout):
                return await self._line.wait(rid, timeout)
            case Rest(until):
                return await self._rest(until)
            case Tell():
                raise TypeError("this operation is iterated over, not run")
            case Defer(call, until):
                return self._defer(call, until)

    async def _rest(self, until: float) -> bool:
        left = until - self._clock()
        if left > 0:
            await asyncio.sleep(left)
        return False


class KeeperTask(Aio):
    """The keeper's own driver: a task with a connection of its own."""

    def __init__(
        self,
        keeper: Keeper,
        wires: AsyncAsking,
        line: AsyncWaking,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(wires, line, clock, keeper.defer)
        self._keeper = keeper
        self._stirred = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def stir(self) -> None:
        """Have the keeper look again; start it if it does not run."""
        if self._stopping:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._keep(), name="coordkit-keeper"
            )
        self._stirred.set()

    async def stop(self) -> None:
        """Let it end."""
        self._stopping = True
        await end(self._task)
        await self._wires.close()

    async def _keep(self) -> None:
        try:
            await self.run(self._keeper.keep())
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("the keeper has failed: every lease it kept is lost")
            raise
        finally:
            self._keeper.abandon()

    async def _rest(self, until: float) -> bool:
        left = until - self._clock()
        if left > 0:
            nap = None if math.isinf(left) else min(left, LONGEST_NAP)
            try:
                async with asyncio.timeout(nap):
                    await self._stirred.wait()
            except TimeoutError:
                pass
        else:
            await asyncio.sleep(0)  # one turn for the others
        self._stirred.clear()
        return self._stopping


class FollowerTask(Aio):
    """The follower's own driver: a task that starts with the first copy."""

    def __init__(
        self,
        follower: Follower,
        wires: AsyncAsking,
        line: AsyncWaking,
        clock: Callable[[], float],
        defer: Callable[[Call, float], None],
        rid: str,
    ) -> None:
        super().__init__(wires, line, clock, defer)
        self._follower = follower
        self._rid = rid
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def follow(self, copy: Copy) -> None:
        """Ask about *copy* now, and keep it fresh from then on."""
        await self.run(refresh(copy))
        if not self._follower.add(copy):
            return
        if self._task is not None:
            self.stir()
            return
        self._task = asyncio.get_running_loop().create_task(
            self._follow(), name="coordkit-follower"
        )

    def attend(self, tended: Tended) -> None:
        """Keep *tended* fresh from now on, and have it tend."""
        self._follower.attend(tended)
        self.stir()

    def stir(self) -> None:
        """Have it look again."""
        self._line.stir(self._rid)

    async def stop(self) -> None:
        """Let it end after what it is doing, if that ends soon."""
        self._stopping = True
        self._line.stir(self._rid)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=PATIENCE)
        await end(self._task)
        self._follower.abandon()  # a task that never began has not done so

    async def _rest(self, until: float) -> bool:
        await super()._rest(until)
        return self._stopping

    async def _follow(self) -> None:
        try:
            await self.run(self._follower.follow(self._rid))
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("the follower has failed: nothing is kept fresh any more")
            raise
        finally:
            self._follower.abandon()
