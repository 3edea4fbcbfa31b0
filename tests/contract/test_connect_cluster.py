"""In a cluster each node has a way of its own; MOVED and ASK are followed, nothing is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from coordkit import CoordError, NotPermitted, Unreachable, Unsupported
from coordkit._core.ops import Call
from coordkit._io import scripts
from coordkit._io.scripts import Script
from support.polling import until
from support.proxy import Proxy
from support.servers import HOST, RedisCluster, RedisServer, free_port
from support.ways import TIMEOUT, Asyncio, Blocking

# redis-py 7 warns of what its own cluster's client does
pytestmark = pytest.mark.filterwarnings(
    "ignore:Call to '__init__' function with deprecated usage.*lib_name"
)

#: how many slots each but the last of three nodes has
SHARE = 5462
INCR = "return redis.call('INCR', KEYS[1])"


@pytest.fixture(autouse=True)
def count_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that counts how often it was run; no server has seen it by its digest."""
    monkeypatch.setitem(
        scripts.SCRIPTS,
        "count",
        Script(INCR, sha1(INCR.encode(), usedforsecurity=False).hexdigest()),
    )


def count(key: str, timeout: float = TIMEOUT) -> Call:
    return Call("count", (key,), (), timeout)


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


def key_on(cluster: RedisCluster, node: RedisServer, prefix: str) -> str:
    """Return a key of that node."""
    names = (f"{prefix} {number}" for number in range(1000))
    return next(name for name in names if owner_of(cluster, name)[0] is node)


@pytest.fixture
def proxies(cluster: RedisCluster) -> Iterator[dict[int, Proxy]]:
    """A proxy before each node; which one, by the node's port."""
    made = {node.port: Proxy(node.port) for node in cluster.nodes}
    yield made
    for proxy in made.values():
        proxy.close()


@contextmanager
def through(proxies: dict[int, Proxy], way: Any, **options: Any) -> Iterator[Any]:
    """Give a user's client of the cluster behind the proxies."""

    def remap(address: tuple[str, Any]) -> tuple[str, int]:
        return HOST, proxies[int(address[1])].port

    nodes = [way.node(HOST, proxy.port) for proxy in proxies.values()]
    theirs = way.api.RedisCluster(startup_nodes=nodes, address_remap=remap, **options)
    try:
        yield theirs
    finally:
        if isinstance(theirs, redis.RedisCluster):
            theirs.close()
        else:
            asyncio.run(theirs.aclose())


def test_a_url_leads_to_a_cluster(way: Any, cluster: RedisCluster) -> None:
    origin = way.source(cluster_url(cluster))
    assert origin.clustered
    keys = [f"{way.name} key {number}" for number in range(20)]
    assert way.ask_cluster(origin, *map(count, keys)) == [1] * 20
    assert origin.address == cluster_url(cluster)


def test_one_node_is_enough_to_find_all(way: Any, cluster: RedisCluster) -> None:
    origin = way.source(
        f"redis+cluster://{HOST}:{free_port()},{HOST}:{cluster.nodes[1].port}"
    )
    keys = [f"{way.name} found {number}" for number in range(20)]
    assert way.ask_cluster(origin, *map(count, keys)) == [1] * 20
    assert set(origin.nodes) == {(HOST, node.port) for node in cluster.nodes}


def not_a_cluster(server: RedisServer) -> dict[type[Exception], str]:
    wrong = f"redis+cluster://shop:wrong@{HOST}:{server.port}"
    return {
        Unreachable: f"redis+cluster://{HOST}:{free_port()}",
        Unsupported: f"redis+cluster://{HOST}:{server.port}",
        NotPermitted: wrong,
    }


@pytest.mark.parametrize("kind", [Unreachable, Unsupported, NotPermitted])
def test_a_cluster_that_is_not_found_says_why(
    way: Any, server: RedisServer, kind: type[Exception]
) -> None:
    origin = way.source(not_a_cluster(server)[kind])
    for _ in range(2):  # it is looked for anew each time
        with pytest.raises(kind, match=f"{HOST}:") as caught:
            way.ask_cluster(origin, count("n"))
        assert getattr(caught.value, "sent", False) is False


def test_no_user_may_list_the_slots(way: Any, cluster: RedisCluster) -> None:
    node = cluster.nodes[0]
    with node.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+eval")
    origin = way.source(f"redis+cluster://poor:pw@{HOST}:{node.port}")
    with pytest.raises(NotPermitted):
        way.ask_cluster(origin, count("n"))


@pytest.mark.parametrize("retries", [0, 9])
def test_a_clusters_command_whose_answer_is_lost_is_run_once(
    way: Any, cluster: RedisCluster, proxies: dict[int, Proxy], retries: int
) -> None:
    """Proof of the one thing that a user's own client would get wrong."""
    key = f"once {way.name} {retries}"
    owner, _ = owner_of(cluster, key)
    with through(proxies, way, retry=Retry(NoBackoff(), retries)) as theirs:
        origin = way.source(theirs)
        with owner.client() as client:
            client.script_load(INCR)
        proxies[owner.port].lose_reply(3, match=key.encode())
        with pytest.raises(Unreachable) as caught:
            way.ask_cluster(origin, count(key))
        assert caught.value.sent
    with cluster.client() as observer:
        assert observer.get(key) == b"1"
    assert proxies[owner.port].struck["lost_reply"] == 1


def test_a_silent_node_takes_no_longer_than_the_question_may(
    way: Any, cluster: RedisCluster
) -> None:
    frozen = cluster.nodes[2]
    key, other = (key_on(cluster, node, "mute") for node in (frozen, cluster.nodes[0]))
    origin = way.source(cluster_url(cluster))
    told: list[CoordError] = []

    def ask() -> None:
        with pytest.raises(Unreachable) as caught:
            way.ask_cluster(origin, count(key, 0.4))
        told.append(caught.value)

    frozen.pause()
    try:
        ask()
        assert way.ask_cluster(origin, count(other)) == [1]
    finally:
        frozen.resume()
    assert "node" in str(told[0])
    with cluster.client() as observer:
        observer.delete(key, other)


def test_in_one_trip_a_silent_node_hides_nothing(
    way: Any, cluster: RedisCluster
) -> None:
    frozen = cluster.nodes[1]
    keys = [key_on(cluster, node, f"trip {way.name}") for node in cluster.nodes]
    answers = trip(way, cluster, [count(key, 0.4) for key in keys], frozen)
    assert isinstance(answers[1], Unreachable)
    assert answers[1].sent
    assert [answers[0], answers[2]] == [1, 1]


def trip(
    way: Any, cluster: RedisCluster, calls: list[Call], frozen: RedisServer
) -> list[Any]:
    """Ask all at once, while one node is frozen that is known already."""
    from coordkit._io.cluster import AsyncClusterWires, ClusterWires

    origin = way.source(cluster_url(cluster))
    warm = [count(f"warm {n}") for n in range(9)]
    if way.api is redis:
        wires = ClusterWires(origin, TIMEOUT)
        wires.pipeline(warm, TIMEOUT)
        frozen.pause()
        try:
            return wires.pipeline(calls, 0.4)
        finally:
            frozen.resume()
            wires.close()

    async def asking() -> list[Any]:
        wires = AsyncClusterWires(origin, TIMEOUT)
        await wires.pipeline(warm, TIMEOUT)
        frozen.pause()
        try:
            return await wires.pipeline(calls, 0.4)
        finally:
            frozen.resume()
            await wires.close()

    return asyncio.run(asking())


def test_a_moved_slot_is_followed(way: Any, cluster: RedisCluster) -> None:
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

        # only an empty slot may be given away: the count starts again
        asked = [count(key), lambda: give(other), count(key), count(key)]
        assert way.ask_cluster(origin, *asked) == [1, None, 1, 2]
        give(owner)
    until(lambda: owner_of(cluster, key)[0] is owner)


def test_a_slot_under_way_is_followed(way: Any, cluster: RedisCluster) -> None:
    key = f"asked {way.name}"
    owner, slot = owner_of(cluster, key)
    other = next(node for node in cluster.nodes if node is not owner)
    with owner.client() as one, other.client() as two:
        ids = [client.execute_command("CLUSTER", "MYID") for client in (one, two)]
        two.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        one.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        try:
            origin = way.source(cluster_url(cluster))
            assert way.ask_cluster(origin, count(key), count(key)) == [1, 2]
            two.execute_command("ASKING")
            assert two.get(key) == b"2"
        finally:
            two.execute_command("ASKING")
            two.delete(key)
            for client in (one, two):
                client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")


def test_a_clusters_messages_reach_a_connection_to_any_node(
    cluster: RedisCluster,
) -> None:
    for number in range(6):
        origin = Blocking().source(cluster_url(cluster))
        connection = origin.route.connect(TIMEOUT)
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
        return {origin.route.connect(1).port for _ in range(60)}

    seen = way.ask_cluster(origin, ports, count(f"known {way.name}"), ports)
    assert seen[0] == {cluster.nodes[0].port}
    assert seen[2] == {node.port for node in cluster.nodes}


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
    assert origin.route.limit == 4
    assert "shop:***@" in origin.address
    assert "pw" not in repr(origin)
    assert way.ask_cluster(origin, count(f"copied {way.name}")) == [1]
    assert way.ask(origin, "ACL", "WHOAMI") == b"shop"
    close(theirs)


def close(theirs: Any) -> None:
    if isinstance(theirs, redis.RedisCluster):
        theirs.close()
    else:
        asyncio.run(theirs.aclose())


def test_a_clusters_client_made_from_a_url_is_copied(
    way: Any, cluster: RedisCluster
) -> None:
    url = f"{cluster.url}?socket_timeout=77"
    theirs = way.api.RedisCluster.from_url(url)
    assert way.ask_cluster(way.source(theirs), count(f"from url {way.name}")) == [1]
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
    origin = Blocking().source(theirs)
    assert Blocking().ask(origin, "PING") == b"PONG"
    assert len(ports) == 1
    assert Blocking().ask_cluster(origin, count("noted")) == [1]
    assert len(ports) > 1


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
        assert way.ask_cluster(origin, count(key)) == [1]
        with pytest.raises(Unreachable, match=r"not served|served by nobody") as told:
            way.ask_cluster(origin, count(in_slot(lost)))
        assert not told.value.sent
    finally:
        with owner.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", lost)
    until(lambda: all(sees_every_slot(node) for node in cluster.nodes))


def in_slot(slot: int) -> str:
    """Return a key of that slot."""
    from redis.crc import key_slot

    return next(k for k in map(str, range(10**6)) if key_slot(k.encode()) == slot)


def sees_every_slot(node: RedisServer) -> bool:
    with node.client(decode_responses=True) as client:
        told: Any = client.execute_command("CLUSTER", "INFO")
    return "cluster_slots_ok:16384" in told
