"""`coordkit doctor`: what it sees of real servers, and what it makes of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.program import Program, Ran
from coordkit_cli._doctor import findings, verdict
from coordkit_cli._doctor.facts import Clock, Facts, Replica, Way
from coordkit_cli._doctor.flaws import FLAWS, Flaw, standing
from support.polling import until
from support.servers import HOST, RedisCluster, RedisServer, Sentinels

ROOT = Path(__file__).parent.parent.parent


def seen(ran: Ran) -> dict[str, dict[str, Any]]:
    """Return the findings of a run by what was checked; the last of each."""
    return {found["check"]: found for found in ran.objects}


def gives(ran: Ran) -> list[str]:
    return [each["column"] for each in ran.objects[-1]["guarantees"]]


# -- on real servers ---------------------------------------------------------------------


def test_a_server_that_keeps_its_data_is_fine(program: Program) -> None:
    with RedisServer(persistence="everysec") as server:
        ran = program.run("doctor", "--json", "--url", server.url)
    assert ran.code == 0
    found = seen(ran)
    assert found["settings"]["url_from"] == "--url"
    assert found["settings"]["namespace_from"] == "the default"
    assert found["server"]["mode"] == "standalone"
    assert found["eviction"]["state"] == "ok"
    assert found["persistence"]["state"] == "ok"
    assert found["persistence"]["appendfsync"] == "everysec"
    assert found["replicas"]["replicas"] == 0
    assert 0 < found["latency"]["median"] <= found["latency"]["worst"]
    assert abs(found["clock"]["ahead"]) < 1
    assert found["rights"]["works"] is True
    assert found["wire"] == found["wire"] | {"state": "ok", "tls": False}
    assert gives(ran) == [verdict.KEPT, verdict.LOST]
    assert "after a power cut" in ran.objects[-1]["guarantees"][1]["text"]


def test_it_says_so_in_words(program: Program) -> None:
    with RedisServer(persistence="always") as server:
        program.env |= {"COORDKIT_URL": server.url, "COORDKIT_NAMESPACE": "shop"}
        ran = program.run("doctor")
    assert (ran.code, ran.err) == (0, "")
    assert all(len(line) < 80 for line in ran.out.splitlines())
    text = " ".join(ran.out.split())
    for words in (
        f"server {server.url} (from COORDKIT_URL)",
        "namespace shop (from COORDKIT_NAMESPACE)",
        "ok persistence: append-only file, appendfsync always",
        "“one Redis, AOF”: as long as the server keeps its data",
        "“one Redis, data lost”: after a lost disk, a FLUSHALL",
    ):
        assert words in text


def test_a_server_that_evicts_is_unsafe(program: Program) -> None:
    with RedisServer(maxmemory="50mb", policy="volatile-lru") as server:
        ran = program.run("doctor", "--json", "--url", server.url)
        told = program.run("doctor", "--url", server.url)
    assert (ran.code, told.code) == (78, 78)
    assert seen(ran)["eviction"]["state"] == "unsafe"
    assert gives(ran) == []
    assert "locks are not safe here" in told.out


def test_a_policy_without_a_limit_is_a_warning(program: Program) -> None:
    with RedisServer(config=["maxmemory-policy allkeys-lru"]) as server:
        ran = program.run("doctor", "--json", "--url", server.url)
    assert ran.code == 0
    assert seen(ran)["eviction"]["state"] == "warning"
    assert seen(ran)["persistence"]["state"] == "warning"
    assert "whenever memory is full" in ran.objects[-1]["guarantees"][1]["text"]


@pytest.mark.slow
def test_replicas_are_seen_from_their_master_and_refused_themselves(
    program: Program,
) -> None:
    with RedisServer() as master:
        config = [f"replicaof {HOST} {master.port}"]
        with RedisServer(config=config) as replica:
            until(lambda: master.info()["connected_slaves"] == 1, timeout=30)
            ran = program.run("doctor", "--json", "--url", master.url)
            refused = program.run("doctor", "--json", "--url", replica.url)
    assert ran.code == 0
    found = seen(ran)
    assert found["replicas"]["state"] == "warning"
    assert found["replicas"]["replicas"] == 1
    assert found["replica clock"]["state"] == "ok"
    assert abs(found["replica clock"]["ahead"]) < 1
    assert gives(ran) == [verdict.KEPT, verdict.LOST, verdict.PROMOTED]
    # A replica refuses scripts that write: no answer to a lock's question.
    assert refused.code == 69
    assert "READONLY" in refused.err or "read only" in refused.err


def test_a_user_that_may_not_ask_leaves_it_unknown(program: Program) -> None:
    acl = ["user app on >pw ~ck:1:default:* &ck:1:default:* -@all +@read +@write "]
    acl[0] += "+eval +evalsha +time +ping +subscribe -@dangerous"
    with RedisServer(acl=acl) as server:
        url = f"redis://app:pw@{HOST}:{server.port}/0"
        ran = program.run("doctor", "--json", "--url", url)
    assert ran.code == 0
    found = seen(ran)
    for check in ("server", "eviction", "persistence", "replicas"):
        assert found[check]["state"] == "unknown", check
        assert "no permissions" in found[check]["text"]
    assert "flaws" not in found
    assert found["rights"]["state"] == "ok"
    assert found["clock"]["state"] == "ok"
    assert "does not tell" in ran.objects[-1]["guarantees"][0]["text"]


def test_a_user_without_rights_is_77(program: Program, server: RedisServer) -> None:
    url = f"redis://reader:pw@{HOST}:{server.port}/0"
    ran = program.run("doctor", "--json", "--url", url)
    assert ran.code == 77
    assert seen(ran)["rights"]["state"] == "unsafe"
    assert "coordkit acl" in seen(ran)["rights"]["text"]
    assert "pw" not in ran.out.replace("shop", "")


def test_a_server_that_is_not_there_is_69(program: Program) -> None:
    said = program.run("doctor", "--url", f"redis://{HOST}:1/0").refused(69)
    assert "is it running?" in said


@pytest.mark.slow
def test_a_cluster_is_asked_master_by_master(program: Program) -> None:
    with RedisCluster() as cluster:
        nodes = ",".join(f"{HOST}:{node.port}" for node in cluster.nodes)
        ran = program.run("doctor", "--json", "--url", f"redis+cluster://{nodes}")
        told = program.run("doctor", "--url", f"redis+cluster://{nodes}")
    assert ran.code == 0
    servers = [each for each in ran.objects if each["check"] == "server"]
    assert len({each["address"] for each in servers}) == 3
    assert {each["mode"] for each in servers} == {"cluster"}
    assert told.out.count("\nat ") == 3


@pytest.mark.slow
def test_a_master_under_sentinel_may_be_replaced(program: Program) -> None:
    with Sentinels(down_after=10.0) as sentinels:
        ran = program.run("doctor", "--json", "--url", sentinels.url)
    assert ran.code == 0
    assert seen(ran)["wire"]["kind"] == "sentinel"
    assert gives(ran)[-1] == verdict.PROMOTED
    assert "when Sentinel promotes" in ran.objects[-1]["guarantees"][-1]["text"]


# -- what it makes of facts ----------------------------------------------------------------

FINE = Facts(
    "here",
    info={
        "redis_version": "8.6.3",
        "redis_mode": "standalone",
        "role": "master",
        "aof_enabled": "1",
        "connected_slaves": "0",
    },
    config={
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "appendfsync": "always",
        "min-replicas-to-write": "0",
        "min-replicas-max-lag": "10",
    },
    user="app",
    trips=[0.001, 0.002, 0.003],
    clock=Clock(0.0, 0.001),
)
ALONE = Way("tcp", [HOST], tls=False, trial=None)


def states(facts: Facts) -> dict[str, str]:
    return {each.check: each.state for each in findings.judge(facts)}


def test_of_a_good_server_all_is_ok() -> None:
    assert set(states(FINE).values()) == {"ok"}


def told(**info: str) -> Facts:
    return replace(FINE, info=FINE.info | info)


def configured(**config: str) -> Facts:
    named = {name.replace("_", "-"): value for name, value in config.items()}
    return replace(FINE, config=FINE.config | named)


REPLICA = Replica(f"{HOST}:2", "online", "0", Clock(0.0, 0.001))


@pytest.mark.parametrize(
    ("facts", "check", "state", "says"),
    [
        (told(redis_version="6.0.20"), "server", "unsafe", "older than 6.2"),
        (told(valkey_version="8.1.9"), "server", "ok", "Valkey 8.1.9"),
        (told(role="slave"), "role", "unsafe", "a replica"),
        (told(loading="1"), "role", "warning", "loading"),
        (told(aof_last_write_status="err"), "persistence", "warning", "cannot be"),
        (told(aof_enabled="0"), "persistence", "warning", "set appendonly yes"),
        (configured(appendfsync="everysec"), "persistence", "ok", "a power cut"),
        (
            configured(maxmemory_policy="allkeys-lru", maxmemory="1000"),
            "eviction",
            "unsafe",
            "throws held locks away",
        ),
        (told(redis_version="7.4.2"), "flaws", "warning", "CVE-2025-49844"),
        (replace(FINE, trips=[0.2, 0.3, 0.4]), "latency", "warning", "30 s are lost"),
        (replace(FINE, trips=[]), "latency", "unknown", "does not tell"),
        (replace(FINE, clock=None), "clock", "unknown", "does not tell the time"),
        (replace(FINE, clock=Clock(-40.0, 0.1)), "clock", "warning", "40 s (±"),
        (replace(FINE, clock=Clock(40.0, 50.0)), "clock", "ok", "the same as"),
    ],
)
def test_a_fact_is_judged(facts: Facts, check: str, state: str, says: str) -> None:
    (finding,) = [each for each in findings.judge(facts) if each.check == check]
    assert finding.state == state
    assert says in finding.text


def test_a_master_that_is_cut_off_and_its_replicas() -> None:
    two = told(connected_slaves="2")
    assert states(two)["replicas"] == "warning"
    bound = replace(two, config=two.config | {"min-replicas-to-write": "1"})
    assert states(bound)["replicas"] == "ok"
    config = {k: v for k, v in two.config.items() if not k.startswith("min-")}
    refused = {"CONFIG GET min-replicas-to-write": "not here."}
    managed = replace(two, config=config, refused=refused)
    (finding,) = [f for f in findings.judge(managed) if f.check == "replicas"]
    assert (finding.state, finding.text) == (
        "unknown",
        "2 replicas; min-replicas-to-write is unknown: not here",
    )


@pytest.mark.parametrize(
    ("clock", "state"),
    [
        (Clock(0.0, 0.1), "ok"),
        (Clock(30.0, 0.1), "ok"),  # tokens only rise faster
        (Clock(-30.0, 0.1), "warning"),
        (Clock(-30.0, 60.0), "ok"),  # nobody knows
        (None, "unknown"),
    ],
)
def test_a_replica_whose_clock_is_behind_would_lower_tokens(
    clock: Clock | None, state: str
) -> None:
    replicas = [replace(REPLICA, clock=clock)]
    facts = replace(told(connected_slaves="1"), replicas=replicas)
    assert states(facts)["replica clock"] == state


def test_who_reaches_it_over_a_network_should_encrypt() -> None:
    far = replace(ALONE, hosts=["redis.example"])
    assert [f.state for f in findings.reached(far, FINE)] == ["ok", "warning"]
    assert findings.reached(replace(far, tls=True), FINE)[-1].state == "ok"
    assert findings.reached(replace(far, kind="unix"), FINE)[-1].state == "ok"


def test_the_columns_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    heading = re.search(r"## Guarantees\n\n\|(.+)\|\n", readme)
    assert heading is not None
    columns = [cell.strip() for cell in heading[1].split("|")]
    assert columns == ["", verdict.KEPT, verdict.LOST, verdict.PROMOTED]


# -- flaws -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "has"),
    [
        ("Redis", (6, 2, 19), {"CVE-2025-49844", "CVE-2025-46817"}),
        ("Redis", (6, 2, 20), set[str]()),
        ("Redis", (7, 0, 15), {"CVE-2024-31449", "CVE-2024-46981", "CVE-2026-23631"}),
        ("Redis", (7, 2, 6), {"CVE-2024-46981", "CVE-2025-49844"}),
        ("Redis", (7, 4, 9), set[str]()),
        ("Redis", (8, 2, 1), {"CVE-2025-49844"}),
        ("Redis", (8, 10, 1), set[str]()),
        ("Redis", (9, 0, 0), set[str]()),
        ("Valkey", (8, 0, 0), {"CVE-2024-31449", "CVE-2025-49844"}),
        ("Valkey", (8, 1, 4), {"CVE-2025-67733", "CVE-2026-23631"}),
        ("Valkey", (9, 0, 3), {"CVE-2026-23631"}),
        ("Valkey", (9, 1, 0), set[str]()),
    ],
)
def test_flaws_go_by_the_branch(
    name: str, version: tuple[int, int, int], has: set[str]
) -> None:
    found = {flaw.name for flaw in standing(name, version)}
    assert has <= found
    assert has or not found


def test_every_flaw_names_a_mended_release() -> None:
    assert len({flaw.name for flaw in FLAWS}) == len(FLAWS)
    for flaw in FLAWS:
        assert flaw.redis or flaw.valkey
        assert re.fullmatch(r"CVE-20\d\d-\d{4,6}", flaw.name)


def test_a_branch_that_is_not_listed_is_older_or_newer() -> None:
    flaw = Flaw("x", "y", {(7, 2): 5, (8, 0): 1}, {}, since=(7, 0))
    for version in ((7, 2, 4), (7, 4, 99), (8, 0, 0)):
        assert flaw.in_redis(version)
    for version in ((6, 2, 0), (7, 2, 5), (8, 0, 1), (8, 2, 0)):
        assert not flaw.in_redis(version)
    assert not flaw.in_valkey((7, 2, 0))
