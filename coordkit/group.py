"""
Groups: `Group` for threads, `AsyncGroup` for tasks; and membership, `Member`.

Guaranteed, by one Redis that keeps its data: a member is listed for as long as it
believes to be one, and no longer than its ttl after it was last heard of; every change
has a version, and whoever watches is told each in order, or all members anew.

Not guaranteed: that a member which is listed is alive at this moment, or that two
processes see a change at one instant.  A group excludes nobody: it is a list.  After a
loss of data, members join again by themselves, within a third of the ttl.

Clock: deadlines are the server's; what a member believes of itself is counted on its own
clock, from before the question was sent (see `coordkit.lease`).
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._core import group as _core
from ._core.claim import flag
from ._core.group import Circle, MemberLease
from ._core.lease import State
from ._core.members import GroupEvent, Members, Record, a_record, changed
from ._core.observe import observe
from ._io import clock
from ._io.fork import OfOneProcess
from ._io.loss import AsyncLost, Lost
from .errors import CoordError, NotHeld, Reason
from .lease import warn_dropped
from .lock import Acquiring

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


class _Membership(OfOneProcess, MemberLease):
    """What both flavours share: how they are made, and how they end."""

    __slots__ = ("_engine",)
    _engine: Any

    def __init__(
        self,
        engine: Any,
        circle: Circle,
        record: Record,
        rid: str,
        token: int,
        asked_at: float,
        *,
        rejoins: bool,
    ) -> None:
        self._engine = engine
        super().__init__(
            circle, record, rid, token, asked_at, rejoins=rejoins, clock=clock.now
        )

    def _let_go(self) -> bool:
        """Return True if there is something to leave."""
        if self._ended is State.RELEASED:
            raise NotHeld(self.name, "it was left before")
        if self._ended is Reason.FORKED:
            warnings.warn(
                f"{self!r} belongs to the parent process: not left by its fork",
                RuntimeWarning,
                stacklevel=4,
            )
            return False
        return True

    def __del__(self) -> None:
        if hasattr(self, "_ended") and self.held:
            warn_dropped(self)

    def __repr__(self) -> str:
        return super().__repr__().replace(" token=", f" {self.identity!r} token=", 1)


class Presence(_Membership):
    """Being there, and its end: what members and live nodes have in common."""

    __slots__ = ()
    _engine: Engine

    @property
    def lost(self) -> Lost:
        """Set while it is not a member: `is_set()`, `wait(timeout)`, `reason`."""
        return Lost(self)

    def renew(self) -> None:
        """Be heard of now; `LeaseLost` if that is too late, `Unreachable` if unknown."""
        self._engine.run(_core.beat(self))

    def leave(self) -> None:
        """
        Be a member no longer.

        `NotHeld` when it had left before.  `Unreachable` when no answer came: the keeper
        goes on trying, and the membership ends by the ttl at the latest.
        """
        if self._let_go():
            self._engine.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended is State.RELEASED:
            return
        try:
            self.leave()
        except CoordError as problem:
            if exc is None:
                raise
            exc.add_note(f"on leaving the group: {problem}")


class Member(Presence):
    """
    A membership: kept by the session for as long as it is referred to, or until `leave`.

    One that was silent for its ttl is lost, and joins again by itself (unless
    ``rejoin=False``): `lost` is set in between, and `token` is another afterwards.
    """

    __slots__ = ()

    def report(
        self,
        load: float | None = None,
        *,
        weight: float | None = None,
        capacity: float | None = None,
        meta: Mapping[str, Any] | None = None,
        draining: bool | None = None,
    ) -> None:
        """
        Tell the group something new of this member; what is not given stays as it is.

        *load*: how busy it is, in what *capacity* is counted in.  *draining*: it takes on
        nothing new.  `Unreachable` when no answer came: it is told as soon as there is
        one.  While the member is lost, it is told when it has joined again.
        """
        new = changed(self._record, load, weight, capacity, meta, draining=draining)
        self._engine.run(_core.report(self, new))


class AsyncPresence(_Membership):
    """Being there, and its end: what members and live nodes have in common."""

    __slots__ = ()
    _engine: AsyncEngine

    @property
    def lost(self) -> AsyncLost:
        """Set while it is not a member: `is_set()`, `wait(timeout)`, `reason`."""
        return AsyncLost(self)

    async def renew(self) -> None:
        """Be heard of now; `LeaseLost` if that is too late, `Unreachable` if unknown."""
        await self._engine.run(_core.beat(self))

    async def leave(self) -> None:
        """
        Be a member no longer.

        `NotHeld` when it had left before.  `Unreachable` when no answer came: the keeper
        goes on trying, and the membership ends by the ttl at the latest.
        """
        if self._let_go():
            await self._engine.leave(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended is State.RELEASED:
            return
        try:
            await self.leave()
        except CoordError as problem:
            if exc is None:
                raise
            exc.add_note(f"on leaving the group: {problem}")


class AsyncMember(AsyncPresence):
    """
    A membership: kept by the session for as long as it is referred to, or until `leave`.

    One that was silent for its ttl is lost, and joins again by itself (unless
    ``rejoin=False``): `lost` is set in between, and `token` is another afterwards.
    """

    __slots__ = ()

    async def report(
        self,
        load: float | None = None,
        *,
        weight: float | None = None,
        capacity: float | None = None,
        meta: Mapping[str, Any] | None = None,
        draining: bool | None = None,
    ) -> None:
        """
        Tell the group something new of this member; what is not given stays as it is.

        *load*: how busy it is, in what *capacity* is counted in.  *draining*: it takes on
        nothing new.  `Unreachable` when no answer came: it is told as soon as there is
        one.  While the member is lost, it is told when it has joined again.
        """
        new = changed(self._record, load, weight, capacity, meta, draining=draining)
        await self._engine.run(_core.report(self, new))


class _Named(OfOneProcess):
    """What both flavours know without asking anybody."""

    _engine: Any

    def __init__(self, engine: Any, circle: Circle) -> None:
        self._engine = engine
        self._circle = circle

    @property
    def name(self) -> str:
        """What this group is called."""
        return self._circle.name

    @property
    def ttl(self) -> float:
        """How long a member may be silent, in seconds."""
        return self._circle.ttl

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} ttl={self.ttl:g}>"


class Group(_Named):
    """A list of those who are there.  Making one sends nothing."""

    _engine: Engine

    def join(
        self,
        identity: str | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
        weight: float = 1.0,
        capacity: float | None = None,
        load: float = 0.0,
        zone: str = "",
        replace: bool = False,
        rejoin: bool = True,
    ) -> Member:
        """
        Become a member, called *identity* (None: as the session is).

        *weight*, *capacity*, *load*: for whoever chooses among the members.  *zone*: what
        fails together.  *replace*: take the place of a member of that identity, which is
        lost by its next heartbeat.  *rejoin*: when it was lost, join again by itself.

        `KeyConflict` when another member has the identity.  `Unreachable` when the server
        gave no answer for one whole ttl: then it is taken back.
        """
        engine, circle = self._engine, self._circle
        name = engine.identity if identity is None else identity
        record = a_record(name, meta, weight, capacity, load, zone)
        again = flag(rejoin, "rejoin")

        def new(rid: str, token: int, asked_at: float) -> Member:
            made = engine, circle, record, rid, token, asked_at
            return Member(*made, rejoins=again)

        return engine.join(circle, record, new, replace=flag(replace, "replace"))

    def members(self) -> Members:
        """Return all members, and the version of the group."""
        return self._engine.run(self._circle.look())

    def watch(self) -> Generator[GroupEvent]:
        """
        Yield `Members`: all there are; then every change, in order of version.

        It never ends silently: while the server gives no answer there is `Suspended`, then
        `Resumed`.  When changes cannot be told one by one, as after a long silence or a
        loss of data, `Members` comes again.
        """
        watching = observe(self._circle.subject(), self._engine.rid())
        return self._engine.stream(watching)


class AsyncGroup(_Named):
    """A list of those who are there.  Making one sends nothing."""

    _engine: AsyncEngine

    def join(
        self,
        identity: str | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
        weight: float = 1.0,
        capacity: float | None = None,
        load: float = 0.0,
        zone: str = "",
        replace: bool = False,
        rejoin: bool = True,
    ) -> Acquiring[AsyncMember]:
        """
        Become a member, called *identity* (None: as the session is).

        *weight*, *capacity*, *load*: for whoever chooses among the members.  *zone*: what
        fails together.  *replace*: take the place of a member of that identity, which is
        lost by its next heartbeat.  *rejoin*: when it was lost, join again by itself.

        `KeyConflict` when another member has the identity.  `Unreachable` when the server
        gave no answer for one whole ttl: then it is taken back.
        """
        engine, circle = self._engine, self._circle
        name = engine.identity if identity is None else identity
        record = a_record(name, meta, weight, capacity, load, zone)
        again, instead = flag(rejoin, "rejoin"), flag(replace, "replace")

        def new(rid: str, token: int, asked_at: float) -> AsyncMember:
            made = engine, circle, record, rid, token, asked_at
            return AsyncMember(*made, rejoins=again)

        def start() -> Coroutine[Any, Any, AsyncMember]:
            return engine.join(circle, record, new, replace=instead)

        return Acquiring(f"{self.name!r} {record.identity!r}", start)

    async def members(self) -> Members:
        """Return all members, and the version of the group."""
        return await self._engine.run(self._circle.look())

    def watch(self) -> AsyncGenerator[GroupEvent]:
        """
        Yield `Members`: all there are; then every change, in order of version.

        It never ends silently: while the server gives no answer there is `Suspended`, then
        `Resumed`.  When changes cannot be told one by one, as after a long silence or a
        loss of data, `Members` comes again.
        """
        watching = observe(self._circle.subject(), self._engine.rid())
        return self._engine.stream(watching)
