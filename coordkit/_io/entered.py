"""Which lease a ``with`` on a shared object entered: one stack a thread, or a task."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Entered(Generic[T]):
    """Stacks of what was entered, by who entered it."""

    __slots__ = ("_stacks", "_who")

    def __init__(self, who: Callable[[], Hashable]) -> None:
        self._who = who
        self._stacks: dict[Hashable, list[T]] = {}

    def push(self, entered: T) -> T:
        """Note what the caller has entered."""
        self._stacks.setdefault(self._who(), []).append(entered)
        return entered

    def pop(self) -> T:
        """Return what the caller entered last."""
        who = self._who()
        stack = self._stacks[who]
        entered = stack.pop()
        if not stack:
            del self._stacks[who]
        return entered
