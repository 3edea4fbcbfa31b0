"""Notices a store that goes back in time: its tokens must rise."""

from __future__ import annotations

from ..errors import FenceRegression
from .keys import BUCKETS


class Highest:
    """
    The highest token seen, a bucket: all names of a bucket share one sequence.

    So the memory is bounded, and a regression shows at whichever name comes next.
    """

    def __init__(self) -> None:
        self._seen = [0] * BUCKETS

    def so_far(self, bucket: int) -> int:
        """Return what a token that is asked for from now on must exceed."""
        return self._seen[bucket]

    def check(self, name: str, bucket: int, token: int, floor: int) -> None:
        """
        Take note of a new *token*; `FenceRegression` if it does not exceed *floor*.

        The floor is from before the question: of two threads that ask at once, the
        one with the lower token may well come here last.
        """
        if token <= floor:
            raise FenceRegression(name, token, floor)
        self._seen[bucket] = max(self._seen[bucket], token)
