"""Under Sentinel a connection leads to the master of the moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import exceptions as rx

from coordkit import Unsupported
from coordkit._io.connect import async_source, source
from support.proxy import Proxy
from support.servers import HOST, Sentinels, free_port
from support.ways import COUNT, TIMEOUT, Asyncio, Blocking


@pytest.fixture(params=[Blocking, Asyncio])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with Sentinels() as started:
        yield started


def hosts(sentinels: Sentinels) -> list[tuple[str, int]]:
    return [(HOST, sentinel.port) for sentinel in sentinels.sentinels]


def test_a_url_leads_to_the_master(way: Any, sentinels: Sentinels) -> None:
    origin = way.source(sentinels.url.replace("/0", "/5"))
    assert way.ask(origin, "ROLE")[0] == b"master"
    assert "db=5 " in way.ask(origin, "CLIENT", "INFO").decode()
    assert origin.address == sentinels.url.replace("/0", "/5")


@pytest.mark.parametrize("word", ["right", "wrong"])
def test_sentinels_and_servers_have_logins_of_their_own(
    way: Any, sentinels: Sentinels, word: str
) -> None:
    everything = ("on", "~*", "&*", "+@all")
    with sentinels.master.client() as client:
        client.execute_command("ACL", "SETUSER", "shop", ">s3", *everything)
    for sentinel in sentinels.sentinels:
        with sentinel.client() as client:
            client.execute_command("ACL", "SETUSER", "watch", ">right", *everything)
    url = sentinels.url.replace("://", "://shop:s3@")
    origin = way.source(f"{url}?sentinel_username=watch&sentinel_password={word}")
    if word == "right":
        assert way.ask(origin, "ACL", "WHOAMI") == b"shop"
    else:
        with pytest.raises(rx.ConnectionError, match="AuthenticationError"):
            way.ask(origin, "ACL", "WHOAMI")


@pytest.mark.parametrize("manager", ["plain", "own"])
def test_a_client_of_sentinel_is_copied(
    way: Any, sentinels: Sentinels, manager: str
) -> None:
    class Own(way.sentinel.Sentinel):  # type: ignore[misc]  # of either kind
        def discover_master(self, service_name: str) -> Any:
            return super().discover_master(service_name.removeprefix("our "))

    kind = way.sentinel.Sentinel if manager == "plain" else Own
    service = sentinels.service if manager == "plain" else f"our {sentinels.service}"
    theirs = kind(hosts(sentinels), sentinel_kwargs={"socket_timeout": 77})
    client = theirs.master_for(service, db=4, max_connections=6)
    before = list(theirs.sentinels)
    origin = way.source(client)
    assert way.ask(origin, "ROLE")[0] == b"master"
    assert "db=4 " in way.ask(origin, "CLIENT", "INFO").decode()
    assert origin.route.limit == 6
    assert theirs.sentinels == before
    assert (
        f":{hosts(sentinels)[2][1]}/{service.replace(' ', '%20')}/4" in origin.address
    )


def test_a_client_of_the_replicas_is_refused(way: Any, sentinels: Sentinels) -> None:
    client = way.sentinel.Sentinel(hosts(sentinels)).slave_for(sentinels.service)
    with pytest.raises(Unsupported, match=r"the one that master_for\(\) returns"):
        way.source(client)


def test_a_dead_sentinel_is_asked_once_then_last(
    way: Any, sentinels: Sentinels
) -> None:
    """A silent first Sentinel costs its share of the timeout, and that only once."""
    with Proxy(sentinels.sentinels[0].port) as silent:
        silent.black_hole()
        known = f"{HOST}:{silent.port},{HOST}:{sentinels.sentinels[1].port}"
        origin = way.source(f"redis+sentinel://{known}/{sentinels.service}", 1.0)
        took = []
        for _ in range(2):
            began = time.monotonic()
            assert way.ask(origin, "ROLE")[0] == b"master"
            took.append(time.monotonic() - began)
    assert 0.4 < took[0] < 1.0
    assert took[1] < 0.2


def test_no_sentinel_and_no_secret(way: Any) -> None:
    secret = "s3cr3t"
    url = f"redis+sentinel://:{secret}@{HOST}:{free_port()}/main"
    origin = way.source(f"{url}?sentinel_password={secret}")
    with pytest.raises(
        rx.ConnectionError, match="No master found for 'main'"
    ) as caught:
        way.ask(origin, "PING")
    assert secret not in f"{caught.value}{origin!r}{caught.value!r}"


def test_an_unknown_service(way: Any, sentinels: Sentinels) -> None:
    origin = way.source(sentinels.url.replace(sentinels.service, "other"))
    with pytest.raises(rx.ConnectionError, match="No master found for 'other'"):
        way.ask(origin, "PING")


def test_an_answer_that_fails_to_come_drops_the_connection_under_sentinel(
    sentinels: Sentinels,
) -> None:
    """Redis-py would keep it, and the late answer would be taken for the next one."""
    connection: Any = source(sentinels.url, timeout=TIMEOUT).route.connect(0.2)
    connection.connect()
    connection.send_command("BLPOP", "nothing", "1")
    with pytest.raises(rx.TimeoutError):
        connection.read_response()
    connection.connect()
    connection.send_command("ECHO", "new")
    assert connection.read_response() == b"new"
    connection.disconnect()


def test_a_demoted_master_is_left(sentinels: Sentinels) -> None:
    """READONLY tells that there is another: the next connection asks for it."""
    connection: Any = source(sentinels.url, timeout=TIMEOUT).route.connect(TIMEOUT)
    connection.connect_to((HOST, sentinels.replica.port))
    connection.send_command(*COUNT, "n")
    with pytest.raises(rx.ConnectionError, match="is now a slave"):
        connection.read_response()
    connection.connect()
    connection.send_command("ROLE")
    assert connection.read_response()[0] == b"master"
    connection.disconnect()


@pytest.mark.slow
def test_after_a_failover_the_same_connection_finds_the_new_master() -> None:
    with Sentinels() as sentinels:
        origin = source(sentinels.url, timeout=TIMEOUT)
        connection: Any = origin.route.connect(TIMEOUT)
        connection.connect()
        sentinels.kill_master()
        connection.send_command("PING")
        with pytest.raises(rx.ConnectionError):
            connection.read_response()
        new = sentinels.wait_for_failover()
        connection.connect()
        assert connection.port == new.port
        connection.send_command("ROLE")
        assert connection.read_response()[0] == b"master"
        connection.disconnect()
        assert Asyncio().ask(async_source(sentinels.url, timeout=TIMEOUT), "ROLE")[
            0
        ] == (b"master")
