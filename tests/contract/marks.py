"""Where a test of the matrix runs, when it is not everywhere."""

from __future__ import annotations

import pytest

#: redis-py 7 warns of what its own cluster's client does
CLUSTER = pytest.param(
    "cluster",
    marks=pytest.mark.filterwarnings(
        "ignore:Call to '__init__' function with deprecated usage.*lib_name"
    ),
)
#: To a lock a master under Sentinel is a plain server: what takes its time is left out.
SERVERS = ["redis", "acl", "fakeredis", CLUSTER]
ALL_SERVERS = [*SERVERS, "sentinel"]

everywhere = pytest.mark.parametrize("place", ALL_SERVERS, indirect=True)
on_redis = pytest.mark.parametrize("place", ["redis"], indirect=True)
on_redis_and_fake = pytest.mark.parametrize(
    "place", ["redis", "fakeredis"], indirect=True
)
only_sync = pytest.mark.parametrize("api", ["sync"], indirect=True)
only_async = pytest.mark.parametrize("api", ["async", "uvloop"], indirect=True)
uvloop_too = pytest.mark.parametrize("api", ["sync", "async", "uvloop"], indirect=True)
