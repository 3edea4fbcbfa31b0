"""
Balancers: `Balancer` for threads, `AsyncBalancer` for tasks.

A balancer picks a live member of a group.  The members are known in this process and
kept fresh: a pick asks nobody, but for the turns of ``"round_robin"``.

Guaranteed: whoever is picked was a member, not draining and not excluded, by an answer of
the server that is no older than *max_staleness*; when there is none, it is `StaleGroup`.

Not guaranteed: that it still lives.  A crash is seen when the member's ttl is over; it is
doubted before, once it is silent for longer than chance allows, and as soon as its
failures are reported.  Loads are as members have told them: old news, and of other
clients' picks it is all that is known.

Clock: the age of an answer and the ends of ejections are counted on our own clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._core.balance import NOBODY, Balance, Outcome, Rules, without
from ._core.group import Circle
from ._core.group_local import LocalGroup
from ._core.members import MemberInfo
from ._io import clock
from ._io.fork import OfOneProcess

if TYPE_CHECKING:
    from ._io.engine import AsyncEngine, Engine


class _Balancing(OfOneProcess):
    """What both flavours know without asking anybody."""

    _engine: Any

    def __init__(
        self, engine: Any, circle: Circle, rules: Rules, max_staleness: float
    ) -> None:
        self._engine = engine
        self._circle = circle
        self._local: LocalGroup = engine.local(circle, max_staleness)
        self._balance = Balance(self._local, rules, engine.draw)

    @property
    def name(self) -> str:
        """What the group is called."""
        return self._local.name

    @property
    def strategy(self) -> str:
        """How it picks."""
        return self._balance.strategy

    @property
    def ejected(self) -> tuple[str, ...]:
        """The identities of members that are left alone for their failures."""
        return self._balance.ejected(clock.now())

    def report(self, member: MemberInfo, outcome: Outcome) -> None:
        """
        Say how it went with a *member* that was picked: ``"ok"`` or ``"failed"``.

        *max_failures* of them in a row eject it for a while, from the picks of this
        balancer.  Either outcome ends what the pick counts for as load.  Nothing is sent.
        """
        self._balance.report(member, outcome, clock.now())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.strategy}>"


class Balancer(_Balancing):
    """Picks members of a group.  Making one sends nothing."""

    _engine: Engine

    def pick(
        self,
        key: str | bytes | None = None,
        *,
        exclude: Iterable[str | MemberInfo] = (),
    ) -> MemberInfo:
        """
        Return a member; the first pick of all asks for them.

        *key*: for the strategy ``"ring"``, and only for that.  *exclude*: members, or
        identities, not to be picked, as when one was just tried in vain.

        `NoMember` when there is nobody else.  `StaleGroup` when what is known is too old.
        `Unreachable` when the first pick, or a turn, got no answer.
        """
        balance = self._balance
        at, excluded = balance.at(key), without(exclude) if exclude else NOBODY
        if not self._local.asked:
            self._engine.load(self._local)
        if balance.shared:
            at = self._engine.run(self._circle.turn())
        return balance.pick(at, excluded, clock.now())


class AsyncBalancer(_Balancing):
    """Picks members of a group.  Making one sends nothing."""

    _engine: AsyncEngine

    async def pick(
        self,
        key: str | bytes | None = None,
        *,
        exclude: Iterable[str | MemberInfo] = (),
    ) -> MemberInfo:
        """
        Return a member; the first pick of all asks for them.

        *key*: for the strategy ``"ring"``, and only for that.  *exclude*: members, or
        identities, not to be picked, as when one was just tried in vain.

        `NoMember` when there is nobody else.  `StaleGroup` when what is known is too old.
        `Unreachable` when the first pick, or a turn, got no answer.
        """
        balance = self._balance
        at, excluded = balance.at(key), without(exclude) if exclude else NOBODY
        if not self._local.asked:
            await self._engine.load(self._local)
        if balance.shared:
            at = await self._engine.run(self._circle.turn())
        return balance.pick(at, excluded, clock.now())
