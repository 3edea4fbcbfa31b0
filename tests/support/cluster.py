"""A real Redis Cluster for tests: three masters, no replicas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from support.polling import until
from support.server import HOST, RedisServer, free_port, together


class _ClusterNode(RedisServer):
    """One master of a cluster, still without slots."""

    def _choose_port(self) -> int:
        return free_port(with_bus=True)  # `cluster-port` came only with Redis 7

    def _configuration(self) -> Iterable[str]:
        yield from super()._configuration()
        yield "cluster-enabled yes"
        # Not in the data directory: an empty restart keeps its place in the cluster.
        yield f"cluster-config-file {self.directory / 'nodes.conf'}"
        yield f"cluster-announce-ip {HOST}"
        yield "cluster-node-timeout 2000"


class RedisCluster:
    """Three masters without replicas, each with a third of the slots."""

    def __init__(self, *, config: Sequence[str] = ()) -> None:
        self.nodes: list[RedisServer] = [_ClusterNode(config=config) for _ in range(3)]

    @property
    def url(self) -> str:
        """The URL of the first node; the others are found through it."""
        return self.nodes[0].url

    def client(self, **options: Any) -> redis.RedisCluster:
        """Return a plain cluster client that never repeats a command."""
        node: Any = ClusterNode  # redis-py leaves it untyped
        ours: dict[str, Any] = {
            "startup_nodes": [node(HOST, each.port) for each in self.nodes],
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 5.0,
        }
        return redis.RedisCluster(**(ours | options))

    def start(self) -> Self:
        """Start and join the nodes; return when all of them see every slot served."""
        try:
            together([node.start for node in self.nodes])
            self._join()
            # About 2 s: a new master is held back for so long by the server itself.
            until(self._complete, timeout=20.0, every=0.02)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill the nodes and remove their files."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _join(self) -> None:
        share = -(-16384 // len(self.nodes))
        for index, node in enumerate(self.nodes):
            slots = range(index * share, min((index + 1) * share, 16384))
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                for other in self.nodes[:index]:
                    client.execute_command("CLUSTER", "MEET", HOST, other.port)

    def _complete(self) -> bool:
        wanted = {
            "cluster_state:ok",
            "cluster_slots_ok:16384",
            f"cluster_known_nodes:{len(self.nodes)}",
        }

        def sees_all(node: RedisServer) -> bool:
            with node.client(decode_responses=True) as client:
                said = client.execute_command("CLUSTER", "INFO")
            return wanted <= set(str(said).splitlines())

        return all(sees_all(node) for node in self.nodes)
