"""Processes that stand for election, lead when they are elected, and are killed."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

from ..forked import Forked
from .contestants import Maker


class Candidate(Forked):
    """It says when it is about to wait, and when it acts as the leader."""

    def __init__(self, maker: Maker, url: str, name: str, ttl: int) -> None:
        super().__init__(_stand, maker, url, name, ttl)
        self.told()

    def acting(self) -> int:
        """Wait until it leads; return since when, in ns of CLOCK_MONOTONIC."""
        since: int = self.told()
        return since


def _stand(
    maker: Maker, url: str, name: str, ttl: int, pipe: Connection[Any, Any]
) -> None:
    contestant = maker(url, name, ttl)
    pipe.send("waits")
    contestant.take()
    pipe.send(time.monotonic_ns())
    contestant.keep()
