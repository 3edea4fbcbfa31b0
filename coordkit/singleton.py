"""Makes a function a singleton: of all processes, one at a time runs it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from ._core.span import limit_seconds
from .errors import LockTimeout

if TYPE_CHECKING:
    from .lock import AsyncLock, Lock

P = ParamSpec("P")
R = TypeVar("R")
Busy = Literal["raise", "skip"]


def check_busy(busy: Busy) -> Busy:
    """Return *busy* if it says what to do when another process runs the function."""
    if busy not in ("raise", "skip"):
        raise ValueError(f"busy={busy!r} is neither 'raise' nor 'skip'")
    return busy


def _wants_lease(function: Callable[..., Any]) -> bool:
    return "lease" in inspect.signature(function).parameters


def singleton(
    lock: Lock, timeout: float | None, busy: Busy
) -> Callable[[Callable[P, R]], Callable[P, R | None]]:
    """Run the decorated function under *lock*."""
    limit = limit_seconds(timeout, "timeout")
    check_busy(busy)

    def decorate(function: Callable[P, R]) -> Callable[P, R | None]:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{function.__qualname__} is a coroutine function: use AsyncSession"
            )
        pass_lease = _wants_lease(function)

        @wraps(function)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R | None:
            try:
                lease = lock.acquire(limit)
            except LockTimeout:
                if busy == "skip":
                    return None
                raise
            with lease:
                if pass_lease:
                    kwargs["lease"] = lease
                return function(*args, **kwargs)

        return alone

    return decorate


def async_singleton(
    lock: AsyncLock, timeout: float | None, busy: Busy
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R | None]]]:
    """Run the decorated coroutine function under *lock*."""
    limit = limit_seconds(timeout, "timeout")
    check_busy(busy)

    def decorate(
        function: Callable[P, Awaitable[R]],
    ) -> Callable[P, Awaitable[R | None]]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{getattr(function, '__qualname__', function)} is not a coroutine "
                "function: use Session"
            )
        pass_lease = _wants_lease(function)

        @wraps(function)
        async def alone(*args: P.args, **kwargs: P.kwargs) -> R | None:
            try:
                lease = await lock.acquire(limit)
            except LockTimeout:
                if busy == "skip":
                    return None
                raise
            async with lease:
                if pass_lease:
                    kwargs["lease"] = lease
                return await function(*args, **kwargs)

        return alone

    return decorate
