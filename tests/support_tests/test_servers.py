"""Real servers start, fail, come back and leave nothing behind."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import MovedError, NoPermissionError

from support import server as server_module
from support.polling import until
from support.processes import Child, runs, script
from support.servers import HOST, RedisCluster, RedisServer, Sentinels, ServerNotFound


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def test_it_is_our_child_that_answers(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        assert client.info("server")["process_id"] == server.pid
        assert client.info("server")["tcp_port"] == server.port
    assert Path(f"{server.directory}/server.conf").is_file()


def test_stop_ends_the_process_and_removes_the_files() -> None:
    server = RedisServer(persistence="always").start()
    pid, directory = server.pid, server.directory
    server.client().set("a", "1")
    server.stop()
    assert not runs(pid)
    assert not directory.exists()
    server.stop()


def test_a_stopped_server_starts_again_empty() -> None:
    server = RedisServer(persistence="always").start()
    server.client().set("a", "1")
    server.stop()
    with server:
        assert server.client().get("a") is None


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize(
    ("persistence", "kept"), [("none", None), ("everysec", b"1"), ("always", b"1")]
)
def test_a_restart_keeps_the_port_and_what_was_persistent(
    persistence: server_module.Persistence, kept: bytes | None, crash: bool
) -> None:
    with RedisServer(persistence=persistence) as server:
        port, pid = server.port, server.pid
        assert server.client().set("a", "1")
        if crash:
            server.kill()
            assert not runs(pid)
        server.restart()
        assert (server.port, server.pid != pid) == (port, True)
        assert server.client().get("a") == kept
        server.restart(empty=True)
        assert server.client().get("a") is None


def test_a_killed_server_refuses_connections() -> None:
    with RedisServer() as server:
        server.kill()
        with pytest.raises(redis.ConnectionError):
            server.client().ping()


def test_a_paused_server_takes_connections_and_answers_late() -> None:
    with RedisServer() as server:
        caller, client = server.client(socket_timeout=0.1), server.client()
        assert caller.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            caller.incr("late")
        server.resume()
        # What was sent meanwhile is executed when it thaws, the caller gone or not.
        until(lambda: client.get("late") == b"1")
        server.pause()
        server.restart()
        assert client.ping()


def test_it_listens_at_a_unix_socket() -> None:
    with RedisServer(unixsocket=True) as server:
        assert server.unix_path.is_socket()
        with redis.Redis.from_url(server.unix_url) as client:
            assert client.info("server")["process_id"] == server.pid


def test_it_speaks_tls_that_a_strict_client_accepts() -> None:
    with RedisServer(tls=True) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        context = ssl.create_default_context(cafile=server.ca_file)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        for name in (HOST, "localhost"):
            raw = socket.create_connection((HOST, server.port), timeout=5)
            with raw, context.wrap_socket(raw, server_hostname=name) as secure:
                secure.sendall(b"PING\r\n")
                assert secure.recv(10) == b"+PONG\r\n"
        with (
            server.client(ssl_ca_certs=None) as stranger,
            pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            stranger.ping()


def test_memory_has_a_limit_and_a_policy() -> None:
    with RedisServer(maxmemory="2mb", policy="allkeys-lru") as server:
        client = server.client()
        for number in range(60):
            client.set(f"k{number}", b"x" * 100_000)
        assert 0 < client.dbsize() < 60
    with RedisServer(maxmemory="1kb") as server, pytest.raises(redis.OutOfMemoryError):
        server.client().set("a", "1")


def test_an_acl_may_shut_everybody_out_but_the_tests() -> None:
    acl = ["user default off", "user app on >secret ~ck:* +get"]
    with RedisServer(acl=acl) as server:
        with pytest.raises(redis.AuthenticationError):
            server.client().ping()
        client = server.client(username="app", password="secret")
        assert client.get("ck:a") is None
        with pytest.raises(NoPermissionError):
            client.set("ck:a", "1")
        assert server.info("server")["process_id"] == server.pid
        server.restart()
        assert client.get("ck:a") is None


def test_configuration_lines_are_taken() -> None:
    with RedisServer(config=["databases 3", "requirepass pw"]) as server:
        client = server.client(password="pw")
        assert client.config_get("databases") == {"databases": "3"}


def test_a_server_that_does_not_start_says_why() -> None:
    server = RedisServer(config=["no-such-directive yes"])
    with pytest.raises(AssertionError, match="no-such-directive"):
        server.start()
    with pytest.raises(AssertionError, match="was not started"):
        server.directory  # noqa: B018 -- the failed start must have removed it


def test_a_port_taken_meanwhile_is_left_to_its_owner(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((HOST, 0)) as mute:
        ports = [mute.getsockname()[1], server.port, server_module.free_port()]
        chosen = iter(ports)
        monkeypatch.setattr(server_module, "free_port", lambda: next(chosen))
        # Even a server that would let us in is not ours.
        password = server._password
        monkeypatch.setattr(secrets, "token_hex", lambda _: password)
        with RedisServer() as another:
            assert another.port == ports[2]
            with another.client() as client:
                assert client.info("server")["process_id"] == another.pid
    with server.client() as client:
        assert client.ping()


def test_a_restart_waits_for_a_port_that_is_in_use() -> None:
    with RedisServer() as server:
        server.kill()
        attempts: list[int] = []
        with socket.create_server((HOST, server.port)) as squatter:
            launch = server._launch

            def counted() -> None:
                attempts.append(1)
                if len(attempts) == 3:
                    squatter.close()
                launch()

            server._launch = counted  # type: ignore[method-assign] # to see attempts
            server.restart()
        assert len(attempts) == 3
        assert server.client().ping()


def test_valkey_does_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "valkey-server").symlink_to(server_module.server_program())
    monkeypatch.setenv("PATH", str(tmp_path))
    with RedisServer() as server:
        assert server.client().ping()
        assert "valkey-server" in server.info("server")["executable"]


def test_no_server_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerNotFound, match="valkey-server"):
        RedisServer().start()


# -- cluster and Sentinel --


@pytest.mark.slow
def test_a_cluster_serves_every_slot() -> None:
    with RedisCluster() as cluster:
        with cluster.client() as client:
            for number in range(50):
                client.set(f"k{number}", number)
        sizes = [node.client().dbsize() for node in cluster.nodes]
        assert sum(sizes) == 50
        assert all(sizes)
        with redis.RedisCluster.from_url(cluster.url) as client:
            assert client.get("k7") == b"7"
        elsewhere = str(cluster.nodes[2].client(decode_responses=True).randomkey())
        with cluster.nodes[0].client() as single, pytest.raises(MovedError):
            single.get(elsewhere)
        directories = [node.directory for node in cluster.nodes]
    assert not any(directory.exists() for directory in directories)


@pytest.mark.slow
def test_the_sentinels_replace_a_frozen_master() -> None:
    with Sentinels() as fleet:
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in fleet.sentinels)
        assert fleet.url == f"redis+sentinel://{hosts}/main/0"
        old = fleet.master
        old.client().set("a", "1")
        assert old.client().wait(1, 2000) == 1
        fleet.pause_master()
        new = fleet.wait_for_failover()
        assert new is fleet.master
        assert old is fleet.replica
        with fleet.sentinels[2].client(decode_responses=True) as sentinel:
            said = sentinel.execute_command("SENTINEL", "MASTERS")
        assert str(new.port) in str(said)
        assert new.client().get("a") == b"1"
        new.client().set("a", "2")
        fleet.resume()
        # The deposed master still takes writes: that is what tokens are for.
        assert old.client().set("a", "stale")


@pytest.mark.slow
def test_the_sentinels_replace_a_killed_master() -> None:
    with Sentinels(service="shop") as fleet:
        old = fleet.master
        fleet.kill_master()
        assert fleet.wait_for_failover() is not old
        assert fleet.master.client().set("a", "1")


def test_a_failover_that_nothing_caused_is_not_awaited() -> None:
    with Sentinels() as fleet, pytest.raises(AssertionError, match="no master was"):
        fleet.wait_for_failover()


# -- nothing is left behind --

LEAVER = """
import os, signal, sys, threading
from support.servers import RedisServer
servers = [RedisServer().start()]
thread = threading.Thread(target=lambda: servers.append(RedisServer().start()))
thread.start()
thread.join()
servers[0].pause()
if os.fork() == 0:
    if sys.argv[1] == "fork":  # outlives its parent, and holds all it inherited
        signal.pause()
    servers[1].stop()  # as the end of a `with` would; it is not the child's
    sys.exit()
os.waitpid(0, os.WNOHANG if sys.argv[1] == "fork" else 0)
servers[1].client().ping()
assert servers[1].directory.exists()
for server in servers:
    print("server", server.pid, server.directory)
print("ready")
if sys.argv[1] == "exit":
    sys.exit()
signal.pause()
"""


@pytest.mark.parametrize("end", ["kill", "exit", "interrupt", "fork"])
def test_a_test_process_takes_its_servers_with_it(tmp_path: Path, end: str) -> None:
    program = tmp_path / "leaver.py"
    program.write_text(LEAVER)
    env = {"PYTHONPATH": str(Path(server_module.__file__).parent.parent)}
    with script(program, end, env=env) as child:
        said = child.wait_for_output("ready")
        lines = [line.split() for line in said.splitlines() if "server" in line]
        assert len(lines) == 2
        _end(child, end)
        try:
            until(lambda: not any(runs(int(pid)) for _, pid, _ in lines))
            until(lambda: not any(Path(path).exists() for _, _, path in lines))
        finally:
            if end == "fork":
                os.killpg(child.pid, signal.SIGKILL)


def test_a_server_outlives_the_thread_that_started_it() -> None:
    server = RedisServer()
    server_module.together([server.start])
    try:
        time.sleep(0.05)  # a parent-death signal would have come at once
        assert server.client().ping()
    finally:
        server.stop()


def _end(child: Child, how: str) -> None:
    if how in ("kill", "fork"):
        child.sigkill()
    elif how == "interrupt":
        child.sigint()
        child.wait()
    else:
        assert child.wait() == 0
