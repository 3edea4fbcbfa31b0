"""In a cluster the client of redis-py asks, once; what that costs is shown here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis
from redis import exceptions as rx
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordkit import NotPermitted, Refused, Unreachable, Unsupported
from coordkit._io.connect import CLUSTER_ERRORS, async_source, cluster_error, source
from support.polling import until
from support.proxy import Proxy
from support.servers import HOST, RedisCluster, RedisServer, free_port
from support.ways import COUNT, TIMEOUT, Asyncio, Blocking

# redis-py 7 warns of what its own cluster's client does
pytestmark = pytest.mark.filterwarnings(
    "ignore:Call to '__init__' function with deprecated usage.*lib_name"
)

#: how many slots each but the last of three nodes has
SHARE = 5462


@pytest.fixture(params=[Blocking, Asyncio])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    acl = ["user shop on >right ~* &* +@all"]
    with RedisServer(acl=acl) as started:
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as started:
        yield started


def cluster_url(cluster: RedisCluster) -> str:
    nodes = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)
    return f"redis+cluster://{nodes}"


def owner_of(cluster: RedisCluster, key: str) -> tuple[RedisServer, int]:
    """Return the node with *key*, and the slot."""
    with cluster.client() as client:
        slot: int = client.keyslot(key)
        port = client.nodes_manager.get_node_from_slot(slot).port
    return next(node for node in cluster.nodes if node.port == port), slot


@pytest.fixture
def proxies(cluster: RedisCluster) -> Iterator[dict[int, Proxy]]:
    """A proxy before each node; which one, by the node's port."""
    made = {node.port: Proxy(node.port) for node in cluster.nodes}
    yield made
    for proxy in made.values():
        proxy.close()


def through(proxies: dict[int, Proxy], way: Any, **options: Any) -> Any:
    """Return a user's client of the cluster behind the proxies."""

    def remap(address: tuple[str, Any]) -> tuple[str, int]:
        return HOST, proxies[int(address[1])].port

    nodes = [way.node(HOST, proxy.port) for proxy in proxies.values()]
    return way.api.RedisCluster(startup_nodes=nodes, address_remap=remap, **options)


def test_a_url_leads_to_a_cluster(way: Any, cluster: RedisCluster) -> None:
    origin = way.source(cluster_url(cluster))
    assert origin.clustered
    for number in range(20):
        assert way.ask_cluster(origin, *COUNT, f"{way.name} key {number}") == 1
    assert origin.address == cluster_url(cluster)


def test_a_cluster_is_looked_for_when_first_asked_for(cluster: RedisCluster) -> None:
    origin = source(cluster_url(cluster), timeout=TIMEOUT)
    assert origin.cluster is origin.cluster
    origin.close()
    assert origin.cluster is not None
    origin.close()
    plain = source("redis://h", timeout=TIMEOUT)
    assert plain.cluster is None
    plain.close()


def not_a_cluster(way: Any, server: RedisServer) -> dict[type[Exception], str]:
    wrong = f"redis+cluster://shop:wrong@{HOST}:{server.port}"
    return {
        Unreachable: f"redis+cluster://{HOST}:{free_port()}",
        Unsupported: f"redis+cluster://{HOST}:{server.port}",
        NotPermitted: wrong,
    }


@pytest.mark.parametrize("kind", [Unreachable, Unsupported, NotPermitted])
def test_a_cluster_that_is_not_found_says_why(
    server: RedisServer, kind: type[Exception]
) -> None:
    origin = source(not_a_cluster(Blocking(), server)[kind], timeout=TIMEOUT)
    for _ in range(2):  # it is looked for anew each time
        with pytest.raises(kind, match=f"{HOST}:") as caught:
            _ = origin.cluster
        assert getattr(caught.value, "sent", False) is False


@pytest.mark.parametrize("kind", [Unreachable, Unsupported, NotPermitted])
def test_so_it_does_in_asyncio_code(server: RedisServer, kind: type[Exception]) -> None:
    async def looking() -> Exception:
        url = not_a_cluster(Asyncio(), server)[kind]
        origin = async_source(url, timeout=TIMEOUT)
        assert origin.cluster is not None
        try:
            _ = await origin.cluster.initialize()
        except CLUSTER_ERRORS as error:
            return cluster_error(error, origin.address, sent=False)
        finally:
            await origin.close()
        raise AssertionError("it was found")

    error = asyncio.run(looking())
    assert type(error) is kind
    assert getattr(error, "sent", False) is False


def test_no_user_may_list_the_slots(way: Any, cluster: RedisCluster) -> None:
    node = cluster.nodes[0]
    with node.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+eval")
    origin = way.source(f"redis+cluster://poor:pw@{HOST}:{node.port}")
    with pytest.raises((NotPermitted, *CLUSTER_ERRORS)) as caught:
        way.ask_cluster(origin, *COUNT, "n")
    error = caught.value
    if not isinstance(error, NotPermitted):
        error = cluster_error(error, origin.address, sent=False)
    assert isinstance(error, NotPermitted)


@pytest.mark.parametrize("retries", [0, 9])
def test_a_clusters_command_whose_answer_is_lost_is_run_once(
    way: Any, cluster: RedisCluster, proxies: dict[int, Proxy], retries: int
) -> None:
    """Proof of the one thing that a user's own client would get wrong."""
    key = f"once {way.name} {retries}"
    owner, _ = owner_of(cluster, key)
    theirs = through(proxies, way, retry=Retry(NoBackoff(), retries))
    origin = way.source(theirs)
    proxies[owner.port].lose_reply(3, match=b"INCR")
    with pytest.raises(rx.ConnectionError) as caught:
        way.ask_cluster(origin, *COUNT, key)
    error = cluster_error(caught.value, origin.address, sent=True)
    assert isinstance(error, Unreachable)
    assert error.sent
    with cluster.client() as observer:
        assert observer.get(key) == b"1"
    assert proxies[owner.port].struck["lost_reply"] == 1
    close(theirs)


def close(theirs: Any) -> None:
    if isinstance(theirs, redis.RedisCluster):
        theirs.close()
    else:
        asyncio.run(theirs.aclose())


def _unfindable(client: Any, proxies: dict[int, Proxy]) -> None:
    """Let all nodes be gone when *client* looks for them again."""
    manager = client.nodes_manager
    looking = manager.initialize

    def in_vain(*args: Any, **options: Any) -> None:
        for proxy in proxies.values():
            proxy.refuse()
            proxy.cut()
        looking(*args, **options)

    manager.initialize = in_vain


def test_a_lost_answer_is_lost_even_if_the_nodes_are_not_found_again(
    way: Any, cluster: RedisCluster, proxies: dict[int, Proxy]
) -> None:
    """What redis-py then raises is no error of its own tree; it is `Unreachable`."""
    key = f"gone {way.name}"
    owner, _ = owner_of(cluster, key)
    theirs = through(proxies, way)
    origin = way.source(theirs)
    proxies[owner.port].lose_reply(match=b"INCR")

    if way.api is redis:
        _unfindable(origin.cluster, proxies)
    with pytest.raises(CLUSTER_ERRORS) as caught:
        way.ask_cluster(origin, *COUNT, key)
    error = cluster_error(caught.value, origin.address, sent=True)
    assert isinstance(error, Unreachable)
    assert error.sent
    close(theirs)


def test_what_was_followed_in_vain_has_not_happened() -> None:
    for error in (
        rx.ClusterError("TTL exhausted."),
        rx.SlotNotCoveredError("no node has slot 7"),
        rx.MaxConnectionsError("too many"),
    ):
        told = cluster_error(error, "there", sent=True)
        assert isinstance(told, Unreachable)
        assert not told.sent
    assert isinstance(cluster_error(KeyError(7), "there", sent=True), Unreachable)


def test_what_went_wrong_after_a_lost_answer_is_no_refusal() -> None:
    """The command may have been run, whatever hindered finding the nodes again."""
    error = rx.RedisClusterException("cannot be connected")
    error.__cause__ = rx.AuthenticationError("WRONGPASS")
    told = cluster_error(error, "there", sent=True)
    assert isinstance(told, Unreachable)
    assert told.sent
    assert isinstance(cluster_error(error, "there", sent=False), NotPermitted)
    refused = cluster_error(rx.ResponseError("ERR no"), "there", sent=True)
    assert isinstance(refused, Refused)


def test_without_retries_a_moved_slot_is_followed(
    way: Any, cluster: RedisCluster
) -> None:
    key = f"moved {way.name}"
    owner, slot = owner_of(cluster, key)
    other = next(node for node in cluster.nodes if node is not owner)
    origin = way.source(cluster_url(cluster))
    with owner.client() as one, other.client() as two:
        ids = {
            node: client.execute_command("CLUSTER", "MYID")
            for node, client in ((owner, one), (other, two))
        }

        def give(node: RedisServer) -> None:
            one.delete(key) if node is other else two.delete(key)
            for client in (two, one) if node is other else (one, two):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[node])

        def counted() -> list[Any]:
            if way.api is redis:
                with closing(origin):
                    run = origin.cluster.execute_command
                    first = run(*COUNT, key)
                    give(other)
                    return [first, run(*COUNT, key), run(*COUNT, key)]

            async def counting() -> list[Any]:
                client = await origin.cluster.initialize()
                try:
                    counts = [await client.execute_command(*COUNT, key)]
                    give(other)
                    # redis-py would now close all connections, also those in use
                    client.reinitialize_counter = 4
                    busy = asyncio.create_task(
                        client.execute_command("BLPOP", "nothing", 0.2)
                    )
                    await asyncio.sleep(0.05)
                    counts += [
                        await client.execute_command(*COUNT, key) for _ in range(2)
                    ]
                    assert await busy is None
                    return counts
                finally:
                    await origin.close()

            return asyncio.run(counting())

        # only an empty slot may be given away: the count starts again
        assert counted() == [1, 1, 2]
        give(owner)
    until(lambda: owner_of(cluster, key)[0] is owner)


def test_without_retries_a_slot_under_way_is_followed(
    way: Any, cluster: RedisCluster
) -> None:
    key = f"asked {way.name}"
    owner, slot = owner_of(cluster, key)
    other = next(node for node in cluster.nodes if node is not owner)
    with owner.client() as one, other.client() as two:
        ids = [client.execute_command("CLUSTER", "MYID") for client in (one, two)]
        two.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        one.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        try:
            origin = way.source(cluster_url(cluster))
            assert way.ask_cluster(origin, *COUNT, key) == 1
            two.execute_command("ASKING")
            assert two.get(key) == b"1"
        finally:
            two.execute_command("ASKING")
            two.delete(key)
            for client in (one, two):
                client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")


def test_a_clusters_messages_reach_a_connection_to_any_node(
    cluster: RedisCluster,
) -> None:
    for number in range(6):
        origin = source(cluster_url(cluster), timeout=TIMEOUT)
        connection = origin.connection(timeout=TIMEOUT)
        connection.connect()
        connection.send_command("SUBSCRIBE", f"news {number}")
        connection.read_response()
        with cluster.nodes[number % 3].client() as sender:
            sender.publish(f"news {number}", "it")
        assert connection.can_read(TIMEOUT)
        assert connection.read_response()[2] == b"it"
        connection.disconnect()


def test_messages_come_from_a_node_that_is_known_by_now(
    way: Any, cluster: RedisCluster
) -> None:
    origin = way.source(f"redis+cluster://{HOST}:{cluster.nodes[0].port}")

    def ports() -> set[int]:
        return {origin.connection(timeout=1).port for _ in range(60)}

    assert ports() == {cluster.nodes[0].port}
    if way.api is redis:
        assert origin.cluster is not None
        assert ports() == {node.port for node in cluster.nodes}
        origin.close()
    else:

        async def known() -> set[int]:
            await origin.cluster.initialize()
            try:
                return ports()
            finally:
                await origin.close()

        assert asyncio.run(known()) == {node.port for node in cluster.nodes}


def test_a_clusters_client_is_copied(way: Any, cluster: RedisCluster) -> None:
    node = cluster.nodes[0]
    for each in cluster.nodes:
        with each.client() as client:
            client.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "~*", "+@all")
    theirs = way.api.RedisCluster(
        host=HOST,
        port=node.port,
        username="shop",
        password="pw",
        decode_responses=True,
        max_connections=4,
        protocol=3,
    )
    origin = way.source(theirs)
    assert origin.max_connections == 4
    assert "shop:***@" in origin.address
    assert "pw" not in repr(origin)
    assert way.ask_cluster(origin, "EVAL", "return 'x'", "1", "k") == b"x"
    assert way.ask(origin, "ACL", "WHOAMI") == b"shop"
    close(theirs)


def test_a_clusters_client_made_from_a_url_is_copied(
    way: Any, cluster: RedisCluster
) -> None:
    url = f"{cluster.url}?socket_timeout=77"
    theirs = way.api.RedisCluster.from_url(url)
    assert way.ask_cluster(way.source(theirs), *COUNT, f"from url {way.name}") == 1
    close(theirs)


def test_what_a_clusters_client_does_when_it_connects_is_copied(
    cluster: RedisCluster,
) -> None:
    ports: list[int] = []

    def note(connection: redis.Connection) -> None:
        ports.append(connection.port)
        connection.on_connect()

    theirs = redis.RedisCluster(
        host=HOST, port=cluster.nodes[0].port, redis_connect_func=note
    )
    theirs.close()
    ports.clear()
    origin = source(theirs, timeout=TIMEOUT)
    assert origin.cluster is not None
    assert origin.cluster.user_on_connect_func is note
    assert ports
    ports.clear()
    assert Blocking().ask(origin, "PING") == b"PONG"
    assert len(ports) == 1
    origin.close()


def test_leases_outlive_slots_that_nobody_serves(
    way: Any, cluster: RedisCluster
) -> None:
    key = f"served {way.name}"
    owner, slot = owner_of(cluster, key)
    others = [node for node in cluster.nodes if node is not owner]
    lost = slot - 1 if slot % SHARE else slot + 1
    for node in (owner, *others):
        with node.client() as client:
            client.config_set("cluster-require-full-coverage", "no")
            client.execute_command("CLUSTER", "DELSLOTS", lost)
    try:
        origin = way.source(cluster_url(cluster))
        assert way.ask_cluster(origin, *COUNT, key) == 1
    finally:
        with owner.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", lost)
    until(lambda: all(sees_every_slot(node) for node in cluster.nodes))


def sees_every_slot(node: RedisServer) -> bool:
    with node.client(decode_responses=True) as client:
        told: Any = client.execute_command("CLUSTER", "INFO")
    return "cluster_slots_ok:16384" in told


def test_a_child_leaves_the_parents_connections_alone(cluster: RedisCluster) -> None:
    origin = source(cluster_url(cluster), timeout=TIMEOUT)
    assert origin.cluster is not None
    assert origin.cluster.execute_command(*COUNT, "forked") == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            parents = origin._cluster
            origin.forked()
            assert origin.cluster is not parents
            status = origin.cluster.execute_command(*COUNT, "forked") - 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert origin.cluster.execute_command(*COUNT, "forked") == 3
    origin.close()
