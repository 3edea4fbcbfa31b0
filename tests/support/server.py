"""
One real Redis (or Valkey) server for tests.

It listens on a free port of 127.0.0.1 that the OS chose, keeps its files in a
temporary directory, is used only after it answered with the process id of our child,
and is gone with the test process (see `processes`).

The program is `redis-server` from PATH, else `valkey-server`.  The server has one
user more than its configuration says: we ask it as that user, whatever the ACL of the
test is.
"""

from __future__ import annotations

import secrets
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support import certificates
from support.polling import until
from support.processes import Child, remove_directory, temporary_directory

Persistence: TypeAlias = Literal["none", "everysec", "always"]

HOST = "127.0.0.1"
_ADMIN = "coordkit-tests"
_NO_ANSWER = (redis.RedisError, OSError)


class PortTaken(Exception):
    """Somebody took the port between our choice and the server's bind."""


class ServerNotFound(Exception):
    """Neither redis-server nor valkey-server is on PATH."""


def server_program() -> str:
    """Return the path of the server, or raise `ServerNotFound`."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ServerNotFound("neither redis-server nor valkey-server is on PATH")
    return found


def free_port(*, with_bus: bool = False) -> int:
    """Return a port that was free just now; *with_bus*: that + 10000 was free too."""
    while True:
        with socket.socket() as probe, socket.socket() as bus:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
            if not with_bus:
                return port
            try:
                bus.bind((HOST, port + 10000))
            except (OSError, OverflowError):
                continue
            return port


def together(starts: Sequence[Callable[[], object]]) -> None:
    """Call all at once; raise the first failure when all are through."""
    with ThreadPoolExecutor(len(starts)) as pool:
        for future in [pool.submit(start) for start in starts]:
            future.result()


class Server(ABC):
    """The life of one server process; what it is, its configuration says."""

    _mode: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._password = secrets.token_hex(16)
        self._directory: Path | None = None
        self._child: Child | None = None
        self._port = 0

    @abstractmethod
    def _configuration(self) -> Iterable[str]:
        """Return the lines of the configuration file, for the port just chosen."""

    def _choose_port(self) -> int:
        return free_port()

    def _connection(self) -> dict[str, Any]:
        """Options of a plain client of this server."""
        return {"host": HOST, "port": self.port}

    @property
    def port(self) -> int:
        """The TCP port; it stays the same over `restart`."""
        return self._port

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def directory(self) -> Path:
        """Where the configuration and the data are, until `stop`."""
        assert self._directory is not None, "the server was not started"
        return self._directory

    @property
    def _running(self) -> Child:
        assert self._child is not None, "the server was not started"
        return self._child

    def log(self) -> str:
        """Return what the present process has logged so far."""
        return self._running.output()

    def client(self, **options: Any) -> redis.Redis:
        """
        Return a plain client that never repeats a command.

        *options* are those of `redis.Redis` and win over ours.
        """
        ours: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": 5.0,
            "socket_connect_timeout": 2.0,
        }
        return redis.Redis(**(ours | self._connection() | options))

    def info(self, section: str = "all") -> dict[str, Any]:
        """Return INFO, asked by a user that no ACL of the test can hinder."""
        return self._ask(section, timeout=5.0)

    def start(self) -> Self:
        """Start it on a fresh port and directory; return when it answers."""
        for _ in range(20):
            self._port = self._choose_port()
            self._directory = temporary_directory()
            (self._directory / "data").mkdir()
            self._write_configuration()
            try:
                self._launch()
            except PortTaken:
                self.stop()
            except BaseException:
                self.stop()
                raise
            else:
                return self
        raise PortTaken("twenty chosen ports in a row were taken by others")

    def stop(self) -> None:
        """
        Kill it and remove its files; it may be started again, empty.

        In a forked child this does nothing, so that unwinding a `with` there is safe.
        """
        if self._child is not None:
            if not self._child.ours:
                return
            self._child.end()
            self._child = None
        if self._directory is not None:
            remove_directory(self._directory)
            self._directory = None

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; `restart` brings it back."""
        self._running.sigkill()

    def restart(self, *, empty: bool = False) -> None:
        """
        Start it again at the same port, after an orderly end if it still runs.

        What its persistence kept is there again, unless *empty*.
        """
        if self._running.alive:
            self.resume()
            self._running.sigterm()
            self._running.wait()
        self._running.end()
        if empty:
            shutil.rmtree(self.directory / "data")
            (self.directory / "data").mkdir()
        until(self._relaunched)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections are accepted, nothing is answered."""
        self._running.sigstop()

    def resume(self) -> None:
        """Let it run on (SIGCONT)."""
        self._running.sigcont()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _ask(self, section: str, timeout: float) -> dict[str, Any]:
        user = {"username": _ADMIN, "password": self._password}
        with self.client(socket_timeout=timeout, **user) as client:
            answer: dict[str, Any] = client.info(section)
        return answer

    def _write_configuration(self) -> None:
        lines = [
            f"bind {HOST}",
            f"dir {self.directory / 'data'}",
            f"user {_ADMIN} on >{self._password} ~* &* +@all",
            *self._configuration(),
        ]
        (self.directory / "server.conf").write_text("\n".join(lines) + "\n")

    def _launch(self) -> None:
        """Start the process and wait until it, and no other, answers at the port."""
        configuration = self.directory / "server.conf"
        child = self._child = Child([server_program(), configuration, *self._mode])

        def ours() -> bool:
            if not child.alive:
                raise (PortTaken if "in use" in child.output() else AssertionError)(
                    f"the server at port {self.port} ended:\n{child.output()}"
                )
            try:
                info = self._ask("all", timeout=0.25)  # a squatter may be mute
            except _NO_ANSWER:  # not yet, or somebody else's server
                return False
            return info["process_id"] == child.pid and not info.get("loading")

        until(ours, timeout=20.0)

    def _relaunched(self) -> bool:
        """Try to take the old port again, which others may use for a moment."""
        try:
            self._launch()
        except PortTaken:
            self._running.end()
            return False
        return True


class RedisServer(Server):
    """
    One Redis server.

    *unixsocket*: it also listens at `unix_url`.  *tls*: it speaks only TLS, and
    `ca_file` vouches for it.  *acl*: lines as in redis.conf ("user app on >pw ~* ..."),
    *config*: more such lines ("hz 100"), which win over ours.
    """

    def __init__(
        self,
        *,
        persistence: Persistence = "none",
        unixsocket: bool = False,
        tls: bool = False,
        maxmemory: str | None = None,
        policy: str = "noeviction",
        acl: Sequence[str] = (),
        config: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._persistence = persistence
        self._unixsocket = unixsocket
        self._tls = tls
        self._memory = [f"maxmemory {maxmemory}", f"maxmemory-policy {policy}"]
        self._extra = [*(self._memory if maxmemory else ()), *acl, *config]

    @property
    def url(self) -> str:
        """The URL of database 0 over TCP, without credentials."""
        if self._tls:
            return f"rediss://{HOST}:{self.port}/0?ssl_ca_certs={self.ca_file}"
        return f"redis://{HOST}:{self.port}/0"

    @property
    def unix_path(self) -> Path:
        """The socket's path."""
        assert self._unixsocket, "started without unixsocket=True"
        return self.directory / "redis.sock"

    @property
    def unix_url(self) -> str:
        """The URL of database 0 over the unix socket."""
        return f"unix://{self.unix_path}?db=0"

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that vouches for the server."""
        assert self._tls, "started without tls=True"
        return self.directory / "ca.pem"

    def _connection(self) -> dict[str, Any]:
        options = super()._connection()
        if self._tls:
            options |= {"ssl": True, "ssl_ca_certs": str(self.ca_file)}
        return options

    def _configuration(self) -> Iterable[str]:
        yield from self._tls_port() if self._tls else (f"port {self.port}",)
        yield 'save ""'
        if self._persistence != "none":
            yield from ("appendonly yes", f"appendfsync {self._persistence}")
        if self._unixsocket:
            yield f"unixsocket {self.unix_path}"
        yield from self._extra

    def _tls_port(self) -> Iterable[str]:
        files = certificates.make(self.directory)
        yield "port 0"
        yield f"tls-port {self.port}"
        yield f"tls-ca-cert-file {files.ca}"
        yield f"tls-cert-file {files.cert}"
        yield f"tls-key-file {files.key}"
        yield "tls-auth-clients no"
