"""A master, its replica, and three Sentinels that watch them, for tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import redis

from support.polling import until
from support.server import HOST, PortTaken, RedisServer, Server, free_port, together

# No wait for more replicas to come before the first one is fed.
_FED_AT_ONCE = "repl-diskless-sync-delay 0"


class _Sentinel(Server):
    """One Sentinel, told all it would else find out within seconds."""

    _mode = ("--sentinel",)

    def __init__(self, port: int, myid: str, lines: Iterable[str]) -> None:
        super().__init__()
        self.myid = myid
        self._fixed = port
        self._lines = tuple(lines)

    def _choose_port(self) -> int:
        return self._fixed

    def _configuration(self) -> Iterable[str]:
        yield f"port {self.port}"
        yield f"sentinel myid {self.myid}"
        yield from self._lines


class Sentinels:
    """
    One master, one replica, three Sentinels (quorum two).

    A master that answers nothing for *down_after* seconds is replaced; that takes some
    two to four seconds, most of it the Sentinels' own random delays.
    """

    def __init__(self, *, service: str = "main", down_after: float = 0.5) -> None:
        self.service = service
        self.nodes: list[RedisServer] = []
        self.sentinels: list[_Sentinel] = []
        self._down_after = round(down_after * 1000)
        self._before = 0
        self._paused: list[RedisServer] = []

    @property
    def url(self) -> str:
        """`redis+sentinel://HOST:PORT,HOST:PORT,HOST:PORT/SERVICE/0`."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}/0"

    @property
    def master(self) -> RedisServer:
        """The node that the first Sentinel takes for the master."""
        port = self._master_port(self.sentinels[0])
        return next(node for node in self.nodes if node.port == port)

    @property
    def replica(self) -> RedisServer:
        """The other node."""
        master = self.master
        return next(node for node in self.nodes if node is not master)

    def start(self) -> Self:
        """Start all; return when the Sentinels are ready to fail over."""
        for _ in range(5):
            try:
                self._start()
            except PortTaken:
                self.stop()
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise AssertionError("the ports for the Sentinels were taken five times")

    def stop(self) -> None:
        """Kill everything and remove its files."""
        for server in (*self.sentinels, *self.nodes):
            server.stop()
        self.sentinels, self.nodes, self._paused = [], [], []

    def kill_master(self) -> None:
        """Kill the present master (SIGKILL)."""
        self._master_to_lose().kill()

    def pause_master(self) -> None:
        """Freeze the present master (SIGSTOP); it wakes up as a stale one."""
        master = self._master_to_lose()
        master.pause()
        self._paused.append(master)

    def resume(self) -> None:
        """Let every frozen master run on; it learns of its successor in some 10 s."""
        while self._paused:
            self._paused.pop().resume()

    def wait_for_failover(self, timeout: float = 20.0) -> RedisServer:
        """
        Wait until the master lost last is replaced; return the new one.

        Then every Sentinel names the new one, and it says itself that it is master.
        """
        assert self._before, "no master was killed or paused"

        def replaced() -> bool:
            ports = {self._master_port(sentinel) for sentinel in self.sentinels}
            if len(ports) != 1 or self._before in ports:
                return False
            role: str = self.master.info("replication")["role"]
            return role == "master"

        until(replaced, timeout=timeout, every=0.02)
        return self.master

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        master = RedisServer(config=[_FED_AT_ONCE])
        self.nodes = [master]
        master.start()
        follow = f"replicaof {HOST} {master.port}"
        replica = RedisServer(config=[_FED_AT_ONCE, follow])
        self.nodes.append(replica)
        replica.start()
        until(lambda: replica.info("replication")["master_link_status"] == "up")
        known = {secrets.token_hex(20): free_port() for _ in range(3)}
        self.sentinels = [
            _Sentinel(port, myid, self._watch(master.port, replica.port, known, myid))
            for myid, port in known.items()
        ]
        together([sentinel.start for sentinel in self.sentinels])
        until(self._ready, timeout=20.0, every=0.02)

    def _watch(
        self, master: int, replica: int, known: dict[str, int], myid: str
    ) -> Iterable[str]:
        service = self.service
        yield f"sentinel monitor {service} {HOST} {master} 2"
        yield f"sentinel down-after-milliseconds {service} {self._down_after}"
        # Less would abort the failover before the replica has told its new role.
        yield f"sentinel failover-timeout {service} 3000"
        yield f"sentinel known-replica {service} {HOST} {replica}"
        for other, port in known.items():
            if other != myid:
                yield f"sentinel known-sentinel {service} {HOST} {port} {other}"

    def _ask(self, sentinel: _Sentinel, *words: str) -> Any:
        with sentinel.client(decode_responses=True) as client:
            return client.execute_command("SENTINEL", *words, self.service)

    def _master_port(self, sentinel: _Sentinel) -> int:
        return int(self._ask(sentinel, "GET-MASTER-ADDR-BY-NAME")[1])

    def _master_to_lose(self) -> RedisServer:
        master = self.master
        self._before = master.port
        return master

    def _ready(self) -> bool:
        return all(self._could_fail_over(sentinel) for sentinel in self.sentinels)

    def _could_fail_over(self, sentinel: _Sentinel) -> bool:
        try:
            self._ask(sentinel, "CKQUORUM")
        except redis.ResponseError:
            return False
        (replica,) = self._ask(sentinel, "REPLICAS")
        said = _pairs(replica)
        return said["flags"] == "slave" and said["master-link-status"] == "ok"


def _pairs(reply: Any) -> dict[str, str]:
    """Read what is a map in RESP3 and a flat list in RESP2."""
    if isinstance(reply, dict):
        return {str(key): str(value) for key, value in reply.items()}
    return dict(zip(reply[::2], reply[1::2], strict=True))
