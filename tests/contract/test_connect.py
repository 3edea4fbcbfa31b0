"""One connection: to every kind of server, from every kind of client, asked once."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
import redis
from redis import exceptions as rx
from redis.backoff import NoBackoff

from coordkit import Unsupported
from coordkit._io.connect import async_source, source
from support.proxy import Proxy
from support.servers import HOST, RedisServer, free_port
from support.ways import COUNT, TIMEOUT, Asyncio, Blocking

PASSWORD = "p/a#s?s@w%20ord"


@pytest.fixture(params=[Blocking, Asyncio])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    acl = [f"user shop on >{PASSWORD} ~* &* +@all"]
    with RedisServer(unixsocket=True, acl=acl) as started:
        yield started


@pytest.fixture(scope="module")
def tls_server() -> Iterator[RedisServer]:
    with RedisServer(tls=True) as started:
        yield started


def place(server: RedisServer) -> dict[str, Any]:
    return {"host": HOST, "port": server.port}


# -- by URL ------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["url", "unix_url"])
@pytest.mark.parametrize("db", [0, 3])
def test_a_url_leads_to_its_server_and_database(
    way: Any, server: RedisServer, url: str, db: int
) -> None:
    where = getattr(server, url).replace("/0", f"/{db}").replace("=0", f"={db}")
    origin = way.source(where)
    assert f"db={db} " in way.ask(origin, "CLIENT", "INFO").decode()
    assert not origin.clustered
    assert origin.route.limit == 100


@pytest.mark.parametrize("password", [PASSWORD.replace("@", "%40"), "wrong"])
def test_a_url_logs_in(way: Any, server: RedisServer, password: str) -> None:
    password = password.replace("%20", "%2520")
    origin = way.source(f"valkey://shop:{password}@{HOST}:{server.port}/1")
    assert repr(origin).endswith(f"('redis://shop:***@{HOST}:{server.port}/1')")
    if password == "wrong":
        with pytest.raises(rx.AuthenticationError):
            way.ask(origin, "ACL", "WHOAMI")
    else:
        assert way.ask(origin, "ACL", "WHOAMI") == b"shop"


def test_a_url_with_options(way: Any, server: RedisServer) -> None:
    origin = way.source(f"{server.url}?max_connections=7&client_name=me&protocol=3")
    assert origin.route.limit == 7
    told = way.ask(origin, "CLIENT", "INFO").decode()
    assert " name=me " in told
    assert " resp=2" in told


def test_a_peer_that_vanishes_is_noticed_in_the_end(
    way: Any, server: RedisServer
) -> None:
    for url in (server.url, f"redis+cluster://{HOST}:{server.port}"):
        assert way.source(url).route.connect(1).socket_keepalive


def test_tls_is_verified(way: Any, tls_server: RedisServer) -> None:
    assert way.ask(way.source(tls_server.url), "PING") == b"PONG"
    url = f"rediss://{HOST}:{tls_server.port}/0"
    with pytest.raises(rx.ConnectionError, match="verify failed"):
        way.ask(way.source(url), "PING")
    assert way.ask(way.source(f"{url}?ssl_cert_reqs=none"), "PING") == b"PONG"


def test_a_source_connects_to_nothing(way: Any) -> None:
    port = free_port()
    for url in (
        f"redis://{HOST}:{port}",
        "unix:///nowhere/redis.sock",
        f"redis+sentinel://{HOST}:{port}/main",
        f"redis+cluster://{HOST}:{port}",
    ):
        assert url.partition("://")[2] in repr(way.source(url))


def test_who_is_connected_can_be_seen(server: RedisServer) -> None:
    connection: Any = source(server.url, timeout=TIMEOUT).route.connect(TIMEOUT)
    said = getattr(connection, "driver_info", None)
    assert (
        said.formatted_name if said else connection.lib_name
    ) == "redis-py(coordkit)"


# -- settings ----------------------------------------------------------------------


NAMES = ["plain", "bad", "resp3", "from_url", "blocking pool", "unix", "single"]


def made(way: Any, server: RedisServer, name: str) -> Any:
    """Return a client with something that must not reach our connections."""
    bad = {
        **place(server),
        "decode_responses": True,
        "socket_timeout": 77,
        "socket_connect_timeout": 77,
        "health_check_interval": 1,
        "encoding": "latin-1",
        "max_connections": 3,
        "retry": type(way.source(server.url).route.connect(1).retry)(NoBackoff(), 9),
        "retry_on_error": [ValueError],
    }
    match name:
        case "plain":
            return way.api.Redis(**place(server))
        case "bad":
            return way.api.Redis(**bad)
        case "resp3":
            return way.api.Redis(**bad, protocol=3)
        case "from_url":
            url = f"{server.url}?socket_timeout=77&retry_on_timeout=true"
            return way.api.Redis.from_url(url)
        case "blocking pool":
            pool = way.api.BlockingConnectionPool(**bad, timeout=77)
            return way.api.Redis(connection_pool=pool)
        case "unix":
            return way.api.Redis(unix_socket_path=str(server.unix_path))
        case _:
            return way.api.Redis(**bad, single_connection_client=True)


@pytest.mark.parametrize("name", ["url", *NAMES])
def test_connections_are_safe_for_coordination(
    way: Any, server: RedisServer, name: str
) -> None:
    where = server.url if name == "url" else made(way, server, name)
    origin = way.source(where)
    ours = origin.route.connect(0.75)
    assert ours.retry.get_retries() == 0
    assert ours.health_check_interval == 0
    assert not ours.retry_on_error
    assert ours.encoder.encoding == "utf-8"
    assert int(ours.protocol) == 2
    assert ours.socket_connect_timeout == 0.75
    assert ours.socket_timeout == (0.75 if way.api is redis else None)
    assert origin.route.connect(1) is not ours
    assert way.ask(origin, "ECHO", "Ź") == "Ź".encode()


@pytest.mark.parametrize("name", NAMES)
def test_a_client_is_neither_used_nor_changed(
    way: Any, server: RedisServer, name: str
) -> None:
    client = made(way, server, name)
    pool = client.connection_pool
    before = dict(pool.connection_kwargs), list(vars(pool))
    with server.client() as observer:
        known = observer.info("stats")["total_connections_received"]
        origin = way.source(client)
        assert way.ask(origin, "PING") == b"PONG"
        now = observer.info("stats")["total_connections_received"]
    assert now - known == 1, "the client itself has connected, too"
    assert (dict(pool.connection_kwargs), list(vars(pool))) == before
    limited = name in ("bad", "resp3", "single", "blocking pool")
    assert origin.route.limit == (3 if limited else 100)


def test_an_answer_in_time_is_bytes_and_a_late_one_none(server: RedisServer) -> None:
    with Proxy(server.port) as proxy:
        connection = source(proxy.url, timeout=TIMEOUT).route.connect(0.2)
        connection.connect()
        proxy.black_hole()
        began = time.monotonic()
        connection.send_command("PING")
        with pytest.raises(rx.TimeoutError):
            connection.read_response()
        assert 0.1 < time.monotonic() - began < 1.0
        proxy.heal()
        connection.connect()  # a new one: the late answer is nobody's
        connection.send_command("ECHO", "new")
        assert connection.read_response() == b"new"
        connection.disconnect()


@pytest.mark.parametrize("name", ["url", "plain", "bad"])
def test_a_command_whose_answer_is_lost_is_run_once(
    way: Any, server: RedisServer, name: str
) -> None:
    key = f"once {way.name} {name}"
    with Proxy(server.port) as proxy, server.client() as observer:
        where: Any = proxy.url
        if name != "url":
            where = made(way, server, name)
            where.connection_pool.connection_kwargs["port"] = proxy.port
        proxy.lose_reply(2, match=b"INCR")
        with pytest.raises(rx.ConnectionError):
            way.ask(way.source(where), *COUNT, key)
        assert observer.get(key) == b"1"
        assert proxy.struck["lost_reply"] == 1


# -- by client ---------------------------------------------------------------------


class Provider(redis.CredentialProvider):
    """Gives another password each time, and remembers that it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return "shop", PASSWORD

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


def test_a_clients_login_is_copied(way: Any, server: RedisServer) -> None:
    client = way.api.Redis(
        **place(server), username="shop", password=PASSWORD, db=2, client_name="me"
    )
    origin = way.source(client)
    assert way.ask(origin, "ACL", "WHOAMI") == b"shop"
    assert " name=me " in way.ask(origin, "CLIENT", "INFO").decode()
    assert origin.address == f"redis://shop:***@{HOST}:{server.port}/2"


def test_a_clients_credential_provider_is_asked_at_each_connection(
    way: Any, server: RedisServer
) -> None:
    provider = Provider()
    client = way.api.Redis(**place(server), credential_provider=provider)
    origin = way.source(client)
    for count in (1, 2):
        assert way.ask(origin, "ACL", "WHOAMI") == b"shop"
        assert provider.asked == count


def test_a_clients_tls_is_copied(way: Any, tls_server: RedisServer) -> None:
    options = {**place(tls_server), "ssl": True}
    trusting = way.api.Redis(**options, ssl_ca_certs=str(tls_server.ca_file))
    assert way.ask(way.source(trusting), "PING") == b"PONG"
    assert way.source(trusting).address.startswith("rediss://")
    with pytest.raises(rx.ConnectionError, match="verify failed"):
        way.ask(way.source(way.api.Redis(**options)), "PING")


def test_a_clients_cache_is_left_out(server: RedisServer) -> None:
    from redis.cache import CacheConfig

    client = redis.Redis(**place(server), protocol=3, cache_config=CacheConfig())
    made = source(client, timeout=TIMEOUT).route.connect(TIMEOUT)
    assert type(made) is redis.Connection
    assert Blocking().ask(source(client, timeout=TIMEOUT), "PING") == b"PONG"


@pytest.mark.parametrize(
    "key",
    [
        "cache",
        "command_packer",
        "event_dispatcher",
        "himport_registry",
        "legacy_responses",
        "lib_name",
        "maint_notifications_pool_handler",
        "maintenance_state",
        "orig_socket_timeout",
        "oss_cluster_maint_notifications_handler",
        "parser_class",
        "retry_on_timeout",
    ],
)
def test_what_ties_a_connection_to_its_pool_is_left_out(
    way: Any, server: RedisServer, key: str
) -> None:
    class Noting(way.api.Connection):  # type: ignore[misc]  # of either kind
        def __init__(self, **settings: Any) -> None:
            self.given = settings
            super().__init__(**settings)

    theirs = object()
    pool = way.api.ConnectionPool(Noting, **place(server))
    pool.connection_kwargs[key] = theirs
    origin = way.source(way.api.Redis(connection_pool=pool))
    ours = origin.route.connect(TIMEOUT)
    assert type(ours) is Noting
    assert theirs not in ours.given.values()
    assert way.ask(origin, "PING") == b"PONG"


def test_a_pool_under_maintenance_leads_to_its_own_host(server: RedisServer) -> None:
    client = redis.Redis(**place(server))
    client.connection_pool.connection_kwargs |= {
        "host": "elsewhere.invalid",
        "orig_host_address": HOST,
        "orig_socket_timeout": 5,
        "maintenance_state": None,
    }
    origin = source(client, timeout=TIMEOUT)
    assert Blocking().ask(origin, "PING") == b"PONG"
    assert f"{HOST}:{server.port}" in origin.address


def test_a_pool_without_limit_gets_the_usual_one(way: Any, server: RedisServer) -> None:
    pool = way.api.ConnectionPool(**place(server), max_connections=2**31)
    assert way.source(way.api.Redis(connection_pool=pool)).route.limit == 100


def test_other_things_are_refused_by_name(way: Any, server: RedisServer) -> None:
    other = way.other.Redis(**place(server))
    family = f"{way.api.__name__}.Redis"
    for where, told in (
        (None, f"pass a URL, a {family} or a {family}Cluster, not a NoneType"),
        (b"redis://h", "not a bytes"),
        (way.api.ConnectionPool(), "not a ConnectionPool"),
        (
            way.sentinel.Sentinel([("h", 1)]),
            r"such as sentinel.master_for\('SERVICE'\)",
        ),
        (
            other,
            rf"this is a client for (blocking|asyncio) code \(Redis\): pass .*{family}",
        ),
    ):
        with pytest.raises(TypeError, match=told):
            way.source(where)


def test_a_client_whose_pool_cannot_be_read_is_refused(way: Any) -> None:
    class Strange:
        def get_encoder(self) -> None:
            """Redis-py asks for it as soon as it is given a pool."""

    client = way.api.Redis()
    client.connection_pool = Strange()
    with pytest.raises(TypeError, match="cannot read the settings of a Strange"):
        way.source(client)


def test_two_writable_databases_are_refused(way: Any) -> None:
    try:
        module = importlib.import_module(f"{way.api.__name__}.multidb.client")
        kind = module.MultiDBClient
    except ImportError:  # it needs a library of its own, and redis-py 7
        kind = type("Client", (), {"__module__": f"{way.api.__name__}.multidb.client"})
    with pytest.raises(Unsupported, match="cannot exclude each other"):
        way.source(object.__new__(kind))


# -- fakeredis ---------------------------------------------------------------------


def test_fakeredis_is_reached_by_its_client(way: Any) -> None:
    fake = fakeredis.FakeServer()
    origin = way.source(way.fake(server=fake))
    elsewhere = way.source(way.fake(server=fakeredis.FakeServer()))
    assert way.ask(origin, *COUNT, "n") == 1
    assert way.ask(origin, "INCR", "n") == 2
    assert fakeredis.FakeRedis(server=fake).get("n") == b"2"
    assert way.ask(elsewhere, "EXISTS", "n") == 0


def test_fakeredis_without_a_named_server(way: Any) -> None:
    client = way.fake(decode_responses=True, protocol=3)
    assert way.ask(way.source(client), "INCR", "n") == 1
    assert way.ask(way.source(client), "GET", "n") == b"1"


def test_fakeredis_wakes_who_listens() -> None:
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    connection = source(client, timeout=TIMEOUT).route.connect(TIMEOUT)
    connection.connect()
    connection.send_command("SUBSCRIBE", "news")
    assert connection.read_response() == [b"subscribe", b"news", 1]
    assert not connection.can_read(0.01)
    client.publish("news", "it")
    assert connection.can_read(1.0)
    assert connection.read_response() == [b"message", b"news", b"it"]
    connection.disconnect()


def test_fakeredis_wakes_who_listens_on_a_loop() -> None:
    async def listening() -> None:
        client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        connection = async_source(client, timeout=TIMEOUT).route.connect(TIMEOUT)
        await connection.connect()
        await connection.send_command("SUBSCRIBE", "news")
        assert await connection.read_response() == [b"subscribe", b"news", 1]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await connection.read_response(disconnect_on_error=False)
        await client.publish("news", "it")
        assert await connection.read_response() == [b"message", b"news", b"it"]
        await connection.disconnect()
        await client.aclose()

    asyncio.run(listening())
