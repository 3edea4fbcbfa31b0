"""The proxy is transparent, counts, and fails exactly as told."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.polling import until
from support.proxy import Proxy
from support.servers import HOST, RedisServer

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def direct(server: RedisServer) -> Any:
    client = server.client()
    client.flushall()
    return client


@pytest.fixture
def proxy(server: RedisServer, direct: Any) -> Iterator[Proxy]:
    with Proxy(server.port) as started:
        yield started


@pytest.fixture
def connect(proxy: Proxy) -> Iterator[Connect]:
    """Clients through the proxy, each connected and without retries."""
    clients: list[redis.Redis] = []

    def make(**options: Any) -> redis.Redis:
        no_retry = Retry(NoBackoff(), 0)
        options = {"retry": no_retry, "socket_timeout": 5.0, **options}
        client = redis.Redis(host=HOST, port=proxy.port, **options)
        clients.append(client)
        client.ping()
        return client

    yield make
    for client in clients:
        client.close()


# -- transparency --


@pytest.mark.parametrize("protocol", [2, 3])
def test_every_kind_of_reply_passes(
    connect: Connect, direct: Any, protocol: int
) -> None:
    client = connect(protocol=protocol)
    direct.rpush("list", *range(300))
    direct.hset("hash", mapping={"a": "1", "b": ""})
    direct.zadd("zset", {"a": 1.5})
    for client_of_both in (client, direct):
        assert client_of_both.lrange("list", 0, -1)[299] == b"299"
        assert client_of_both.hgetall("hash") == {b"a": b"1", b"b": b""}
        assert client_of_both.zscore("zset", "a") == 1.5
        assert client_of_both.get("none") is None
        assert client_of_both.exists("none") == 0
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            client_of_both.get("list")


def test_large_values_pass_both_ways(connect: Connect) -> None:
    client, value = connect(), os.urandom(3_000_000)
    client.set("large", value)
    assert client.get("large") == value


def test_a_client_that_does_not_read_holds_up_nobody_else(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    value = b"x" * 30_000_000
    direct.set("large", value)
    with socket.create_connection((HOST, proxy.port), timeout=5) as slow:
        slow.sendall(b"GET large\r\n")
        until(lambda: proxy.commands["GET"])
        for _ in range(20):
            assert connect().ping()
        assert len(_receive(slow, len(value) + 13)) == len(value) + 13


@pytest.mark.parametrize("protocol", [2, 3])
def test_subscriptions_and_messages_pass(
    connect: Connect, direct: Any, proxy: Proxy, protocol: int
) -> None:
    subscriber = connect(protocol=protocol).pubsub()
    proxy.lose_reply(match=b"GET")  # messages are no replies: this one waits
    subscriber.subscribe("one", "two")
    subscriber.psubscribe("t*")
    assert [_message(subscriber) for _ in range(3)] == [
        ("subscribe", b"one", 1),
        ("subscribe", b"two", 2),
        ("psubscribe", b"t*", 3),
    ]
    direct.publish("one", "hello")
    assert _message(subscriber) == ("message", b"one", b"hello")
    subscriber.unsubscribe()
    assert {_message(subscriber)[0] for _ in range(2)} == {"unsubscribe"}
    direct.publish("tea", "time")
    assert _message(subscriber) == ("pmessage", b"tea", b"time")
    assert not proxy.struck
    subscriber.close()


def test_blocking_commands_and_transactions_pass(connect: Connect, direct: Any) -> None:
    client = connect()
    threading.Timer(0.05, lambda: direct.rpush("queue", "job")).start()
    assert client.blpop(["queue"], timeout=5) == (b"queue", b"job")
    with client.pipeline(transaction=True) as pipe:
        assert pipe.incr("n").incr("n").execute() == [1, 2]


def test_what_is_not_the_protocol_passes_uncounted() -> None:
    with (
        socket.create_server((HOST, 0)) as listener,
        Proxy(listener.getsockname()[1]) as proxy,
        socket.create_connection((HOST, proxy.port), timeout=5) as client,
    ):
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            client.sendall(b"*x\r\nwhat is this")
            assert _receive(server, 16) == b"*x\r\nwhat is this"
            server.sendall(b"<html>no line end")
            assert _receive(client, 17) == b"<html>no line end"
            server.sendall(b"more")
            assert _receive(client, 4) == b"more"
            client.shutdown(socket.SHUT_WR)
            assert server.recv(10) == b""
        assert client.recv(10) == b""
        assert proxy.requests == 0
        until(lambda: proxy.open_connections == 0)


def test_a_replica_can_follow_through_the_proxy(
    server: RedisServer, proxy: Proxy, direct: Any
) -> None:
    direct.set("a", "1")
    direct.config_set("repl-diskless-sync-delay", 0)
    with RedisServer(config=[f"replicaof {HOST} {proxy.port}"]) as replica:
        client = replica.client()
        until(lambda: client.get("a") == b"1")
        direct.set("a", "2")
        until(lambda: client.get("a") == b"2")


# -- counting --


def test_requests_are_counted_one_by_one(connect: Connect, proxy: Proxy) -> None:
    client = connect()
    proxy.reset_counts()
    with client.pipeline(transaction=False) as pipe:
        for number in range(100):
            pipe.set(f"k{number}", number)
        pipe.execute()
    client.get("k7")
    assert proxy.requests == 101
    assert proxy.commands == {"SET": 100, "GET": 1}
    with client.pipeline(transaction=True) as pipe:
        pipe.incr("n").execute()
    assert proxy.commands["MULTI"] == proxy.commands["EXEC"] == 1


def test_a_request_in_pieces_counts_once_and_an_inline_one_too(proxy: Proxy) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n":
            client.sendall(bytes([byte]))
        assert _receive(client, 8) == b"$2\r\nhi\r\n"
        client.sendall(b"\r\nping\r\n")
        assert _receive(client, 7) == b"+PONG\r\n"
        assert proxy.commands == {"PING": 2}


def test_connections_are_counted(connect: Connect, proxy: Proxy) -> None:
    first, second = connect(), connect()
    assert (proxy.connections, proxy.open_connections) == (2, 2)
    first.close()
    until(lambda: proxy.open_connections == 1)
    second.ping()
    assert proxy.connections == 2


# -- faults --


def test_a_lost_reply_is_of_a_request_that_was_executed(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    client, other = connect(), connect()
    proxy.lose_reply(match=b"precious")
    assert client.incr("common") == 1
    with pytest.raises(redis.ConnectionError):
        client.incr("precious")
    assert direct.get("precious") == b"1"
    assert other.incr("precious") == 2
    assert proxy.struck == {"lost_reply": 1}


def test_a_reply_that_looks_like_a_message_is_a_reply(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    direct.rpush("fake", "message", "channel", "hi")
    client = connect(protocol=2)
    proxy.lose_reply(match=b"fake")
    with pytest.raises(redis.ConnectionError):
        client.lrange("fake", 0, -1)


def test_several_replies_are_lost_in_a_row(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    client = connect()
    proxy.lose_reply(2, match=b"INCR")
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.incr("n")
    assert client.incr("n") == 3
    assert proxy.struck == {"lost_reply": 2}


def test_a_reply_is_lost_in_the_middle_of_a_pipeline(proxy: Proxy, direct: Any) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        proxy.lose_reply(match=b"two")
        client.sendall(b"INCR one\r\nINCR two\r\nINCR three\r\n")
        assert _receive(client, 4) == b":1\r\n"
        assert _until_closed(client) == b""
    assert direct.mget("one", "two") == [b"1", b"1"]


def test_the_reply_to_a_request_under_way_can_be_lost(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        client.sendall(b"BLPOP queue 0\r\n")
        until(lambda: proxy.commands["BLPOP"])
        proxy.lose_reply()
        until(lambda: direct.info("clients")["blocked_clients"])
        direct.rpush("queue", "job")
        assert _until_closed(client) == b""
    assert direct.llen("queue") == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_reply_to_a_subscription_can_be_lost(
    connect: Connect, proxy: Proxy, direct: Any, protocol: int
) -> None:
    client = connect(protocol=protocol)
    proxy.lose_reply(match=b"SUBSCRIBE")
    subscriber = client.pubsub()
    subscriber.subscribe("one")
    with pytest.raises(redis.ConnectionError):
        subscriber.connection.read_response()
    assert proxy.struck == {"lost_reply": 1}
    subscriber.close()


def test_a_connection_that_lost_a_reply_may_stay_silent(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=0.1) as client:
        proxy.lose_reply(close=False)
        client.sendall(b"INCR n\r\n")
        until(lambda: direct.get("n") == b"1")
        client.sendall(b"INCR n\r\n")
        until(lambda: direct.get("n") == b"2")  # its requests still pass
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert connect().incr("n") == 3  # others are not concerned
        assert proxy.struck == {"silenced": 1}
        proxy.heal()
        assert _until_closed(client) == b""


def test_a_reply_is_cut_in_the_middle(proxy: Proxy, direct: Any) -> None:
    direct.set("a", "0123456789")
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        proxy.cut_mid_reply()
        client.sendall(b"GET a\r\n")
        assert _until_closed(client) == b"$10\r\n0123456789\r\n"[:8]
    assert proxy.struck == {"cut_mid_reply": 1}


@pytest.mark.parametrize(
    ("direction", "trips"), [("both", 2), ("to_server", 1), ("to_client", 1)]
)
def test_a_delay_is_added_to_each_direction(
    connect: Connect, proxy: Proxy, direction: Any, trips: int
) -> None:
    client = connect()
    proxy.delay(0.05, direction)
    assert 0.05 * trips <= _quickest_of_five(client.ping) < 0.05 * (trips + 0.9)
    proxy.heal()
    assert _quickest_of_five(client.ping) < 0.045


def test_delayed_bytes_keep_their_order_and_wait_side_by_side(proxy: Proxy) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        client.sendall(b"ECHO 0\r\n")
        _receive(client, 7)
        proxy.delay(0.1, "to_server")
        before = time.monotonic()
        for number in range(1, 10):
            client.sendall(f"ECHO {number}\r\n".encode())
            until(lambda: proxy.commands["ECHO"] > number)  # noqa: B023 -- at once
        expected = b"".join(b"$1\r\n%d\r\n" % number for number in range(1, 10))
        assert _receive(client, len(expected)) == expected
        assert 0.1 <= time.monotonic() - before < 0.6  # and not 9 times 0.1


def test_a_black_hole_holds_what_arrives_late_after_healing(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    client = connect(socket_timeout=0.1)
    proxy.black_hole()
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    assert proxy.commands["INCRBY"] == 1  # which redis-py sends for INCR
    assert direct.get("n") is None
    client.close()
    proxy.heal()
    until(lambda: direct.get("n") == b"1")  # the caller has long gone


def test_a_black_hole_swallows_replies_and_ends_too(proxy: Proxy, direct: Any) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=0.1) as client:
        client.sendall(b"BLPOP queue 0\r\n")
        until(lambda: direct.info("clients")["blocked_clients"])
        proxy.black_hole()
        direct.rpush("queue", "job")
        direct.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5)
        proxy.heal()
        assert _until_closed(client) == b"*2\r\n$5\r\nqueue\r\n$3\r\njob\r\n"


def test_what_a_black_hole_held_may_be_lost(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    client, idle = connect(socket_timeout=0.1), connect()
    proxy.black_hole()
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    proxy.heal(deliver=False)
    assert idle.ping()  # it had lost nothing
    assert direct.get("n") is None
    assert proxy.open_connections == 1


def test_a_cut_resets_every_connection_now(
    connect: Connect, proxy: Proxy, direct: Any
) -> None:
    before = direct.info("clients")["connected_clients"]
    sockets = [socket.create_connection((HOST, proxy.port), timeout=5) for _ in "123"]
    until(lambda: proxy.open_connections == 3)
    proxy.cut()
    assert proxy.open_connections == 0
    for client in sockets:
        with client, pytest.raises(ConnectionResetError):
            client.recv(1)
    assert connect().ping()
    assert proxy.struck == {"cut": 3}
    until(lambda: direct.info("clients")["connected_clients"] <= before + 1)


def test_refusing_spares_those_who_are_in(connect: Connect, proxy: Proxy) -> None:
    client = connect()
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        connect()
    assert client.ping()
    assert proxy.struck["refused"] >= 1
    proxy.heal()
    assert connect().ping()


def test_healing_disarms_what_has_not_struck(connect: Connect, proxy: Proxy) -> None:
    client = connect()
    proxy.lose_reply(5)
    proxy.cut_mid_reply(5)
    proxy.heal()
    assert client.ping()
    assert not proxy.struck


def test_a_dead_server_is_seen_through_the_proxy() -> None:
    with RedisServer() as server, Proxy(server.port) as proxy:
        client = socket.create_connection((HOST, proxy.port), timeout=5)
        with client:
            client.sendall(b"PING\r\n")
            assert _receive(client, 7) == b"+PONG\r\n"
            server.kill()
            assert _until_closed(client) == b""
        with pytest.raises(ConnectionResetError):
            _connect_and_receive(proxy.port)
        server.restart()
        with redis.Redis.from_url(proxy.url) as again:
            assert again.ping()


# -- the thread --


def test_closing_ends_the_thread_and_keeps_the_counts(server: RedisServer) -> None:
    threads, files = threading.active_count(), _open_files()
    for _ in range(5):
        proxy = Proxy(server.port)
        clients = [
            socket.create_connection((HOST, proxy.port), timeout=5) for _ in range(3)
        ]
        for client in clients:
            client.sendall(b"PING\r\n")
            assert _receive(client, 7) == b"+PONG\r\n"
        proxy.close()
        proxy.close()
        for client in clients:
            with client, pytest.raises(ConnectionResetError):
                client.recv(1)
        assert (proxy.requests, proxy.open_connections) == (3, 0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, proxy.port), timeout=5)
    assert threading.active_count() == threads
    assert _open_files() == files


def test_many_threads_may_use_and_command_it(proxy: Proxy, direct: Any) -> None:
    def count() -> None:
        with socket.create_connection((HOST, proxy.port), timeout=5) as client:
            for number in range(100):
                client.sendall(b"INCR n\r\n")
                client.recv(100)
                if number % 10 == 0:
                    proxy.delay(0.001)
                    proxy.heal()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert direct.get("n") == b"800"
    assert proxy.commands == {"INCR": 800}


# Since Python 3.12 forking beside threads warns; here that is the case to be tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_does_not_keep_connections_open(proxy: Proxy) -> None:
    with socket.create_connection((HOST, proxy.port), timeout=5) as client:
        client.sendall(b"PING\r\n")
        assert _receive(client, 7) == b"+PONG\r\n"
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # holds whatever it inherited until told to go
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        os.close(writer)
        os.waitpid(child, 0)


def _open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _quickest_of_five(call: Callable[[], object]) -> float:
    """Return its least duration: a busy machine makes calls longer, never shorter."""
    durations: list[float] = []
    for _ in range(5):
        before = time.monotonic()
        call()
        durations.append(time.monotonic() - before)
    return min(durations)


def _message(subscriber: Any) -> tuple[str, bytes, Any]:
    message = until(lambda: subscriber.get_message(timeout=1))
    return message["type"], message["channel"], message["data"]


def _receive(client: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = client.recv(size - len(received))
        assert chunk, f"closed after {len(received)} bytes: {received[:100]!r}"
        received += chunk
    return bytes(received)


def _connect_and_receive(port: int) -> bytes:
    with socket.create_connection((HOST, port), timeout=5) as client:
        return client.recv(1)


def _until_closed(client: socket.socket) -> bytes:
    """Return all that comes; a reset is an end like another."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received
