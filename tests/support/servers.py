"""The real servers that tests run against: single, clustered, or under Sentinel."""

from __future__ import annotations

from support.cluster import RedisCluster
from support.sentinels import Sentinels
from support.server import HOST, RedisServer, ServerNotFound, free_port, server_program

__all__ = [
    "HOST",
    "RedisCluster",
    "RedisServer",
    "Sentinels",
    "ServerNotFound",
    "free_port",
    "server_program",
]
