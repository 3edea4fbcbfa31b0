"""Notices a store that goes back in time: its tokens must rise."""

from __future__ import annotations

from ..errors import FenceRegression
from .keys import BUCKETS, bucket_of


class Highest:
    """
    The highest token seen, a bucket: all names of a bucket share one sequence.

    So the memory is bounded, and a regression shows at whichever name comes next.
    """

    def __init__(self) -> None:
        self._seen = [0] * BUCKETS

    def check(self, name: str, token: int) -> None:
        """Take note of a new *token*; `FenceRegression` if an earlier one was as high."""
        bucket = bucket_of(name)
        seen = self._seen[bucket]
        if token < seen:
            raise FenceRegression(name, token, seen)
        self._seen[bucket] = token
