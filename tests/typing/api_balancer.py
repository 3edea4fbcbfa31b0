"""Balancers as users type them: see `api`."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from coordkit import (
    AsyncBalancer,
    AsyncSession,
    Balancer,
    MemberInfo,
    NoMember,
    Session,
    StaleGroup,
)
from coordkit._core.balance import Strategy

SECONDS = timedelta(seconds=10)


def balancers(s: Session) -> None:
    balancer = s.balancer(
        "workers",
        strategy="ring",
        cost=0.01,
        c=2,
        max_staleness=SECONDS,
        max_suspicion=None,
        max_failures=3,
        ejection=SECONDS,
        max_ejected=0.1,
    )
    assert_type(balancer, Balancer)
    assert_type(balancer.name, str)
    assert_type(balancer.strategy, str)
    member = balancer.pick("user:42")
    assert_type(member, MemberInfo)
    assert_type(balancer.pick(b"user:42", exclude=[member, "w1"]), MemberInfo)
    assert_type(balancer.report(member, "ok"), None)
    balancer.report(member, "failed")
    balancer.report(member, "slow")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(balancer.ejected, tuple[str, ...])
    s.balancer("workers", strategy="best")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def balancers_for_tasks(s: AsyncSession) -> None:
    balancer = s.balancer("workers", strategy="least_loaded", max_suspicion=2)
    assert_type(balancer, AsyncBalancer)
    member = await balancer.pick()
    assert_type(member, MemberInfo)
    assert_type(await balancer.pick(exclude={member.identity}), MemberInfo)
    assert_type(balancer.report(member, "failed"), None)
    assert_type(balancer.ejected, tuple[str, ...])


def nobody(s: Session, strategy: Strategy) -> str:
    try:
        return s.balancer("workers", strategy=strategy).pick().identity
    except (NoMember, StaleGroup) as problem:
        assert_type(problem.name, str)
        return problem.name
