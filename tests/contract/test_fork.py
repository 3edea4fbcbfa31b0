"""Processes that fork, or end, while they hold a lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from contract import forks
from contract.places import RedisPlace
from coordkit._core.keys import lock_keys
from support.processes import worker

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@pytest.mark.parametrize(
    "story",
    [
        forks.unwound,
        forks.collected,
        forks.used_anew,
        forks.by_multiprocessing,
        forks.while_the_keeper_is_at_it,
        forks.while_waiting,
        forks.on_a_loop,
        forks.while_counting,
        pytest.param(forks.while_renewing, marks=pytest.mark.slow),
    ],
    ids=lambda story: str(story.__name__),
)
def test_forked_while_held(
    redis_place: RedisPlace, namespace: str, story: Callable[[str, str], object]
) -> None:
    with worker(story, redis_place.server.url, namespace) as process:
        assert process.wait(20) == 0, process.output()
    key = lock_keys(namespace, "it").lock
    assert not redis_place.raw.exists(key)


@pytest.mark.parametrize(
    "story",
    [
        forks.ends_while_held,
        forks.ends_while_others_wait,
        forks.loop_ends_while_held,
        forks.raises_while_held,
    ],
    ids=lambda story: str(story.__name__),
)
def test_ended_while_held(
    redis_place: RedisPlace, namespace: str, story: Callable[[str, str], object]
) -> None:
    with worker(story, redis_place.server.url, namespace) as process:
        process.wait_for_output("held")
        began = time.monotonic()
        assert process.wait() == 0
        assert time.monotonic() - began < 2.0
        told = process.output()
        assert not any(word in told for word in ("Traceback", "Exception", "Fatal")), (
            told
        )
    key = lock_keys(namespace, "it").lock
    assert 0 < redis_place.raw.pttl(key) <= 500 or not redis_place.raw.exists(key)
