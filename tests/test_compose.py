"""
compose.yaml says what it should, and its Sentinels fail over.

There need be no Docker here: the rules of the format that we rely on are written
down below, and the `sentinel` profile runs with the commands of the file, on ports
and in directories of our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from support.polling import until
from support.processes import Child
from support.servers import free_port, server_program

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

# The part of the Compose specification that the file uses; a slip is none of these.
SERVICE_KEYS = {
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "init",
    "network_mode",
    "ports",
    "profiles",
    "user",
    "volumes",
}
HEALTH_KEYS = {"test", "interval", "timeout", "retries"}
each_service = pytest.mark.parametrize("service", SERVICES)


def of_profile(profile: str) -> list[str]:
    return [name for name, spec in SERVICES.items() if spec["profiles"] == [profile]]


def words(value: object) -> Iterator[str]:
    """Every text in *value*, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from words(part)
    elif isinstance(value, list):
        for part in value:
            yield from words(part)


def options(command: list[str]) -> dict[str, str]:
    """Read ``--name value`` pairs behind the program's name."""
    assert command[0] == "redis-server"
    return dict(zip(command[1::2], command[2::2], strict=True))


def test_top_level_has_no_version_and_no_stray_key() -> None:
    known = {"name", "services", "volumes"}
    assert {key for key in COMPOSE if not key.startswith("x-")} == known


@each_service
def test_service_uses_only_keys_of_the_format(service: str) -> None:
    spec = SERVICES[service]
    assert spec.keys() <= SERVICE_KEYS
    assert spec.get("healthcheck", {}).keys() <= HEALTH_KEYS


@each_service
def test_image_is_pinned_to_a_major_version(service: str) -> None:
    assert re.fullmatch(r"redis:\d+-alpine", SERVICES[service]["image"])


def test_one_image_for_all() -> None:
    assert len({spec["image"] for spec in SERVICES.values()}) == 1


def test_profiles_have_the_servers_they_promise() -> None:
    assert of_profile("single") == ["single"]
    assert len(of_profile("quorum")) == 5
    sentinels = [n for n in of_profile("sentinel") if re.fullmatch(r"sentinel-\d", n)]
    replicas = [n for n in of_profile("sentinel") if "replica" in n]
    assert (len(sentinels), len(replicas)) == (3, 2)
    assert sum(len(of_profile(p)) for p in ("single", "sentinel", "quorum")) == len(
        SERVICES
    )


@each_service
def test_ports_are_bound_to_this_machine(service: str) -> None:
    for port in SERVICES[service].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+(-\d+)?:\d+(-\d+)?", port)


def test_no_port_is_published_twice() -> None:
    published: list[int] = []
    for spec in SERVICES.values():
        for port in spec.get("ports", ()):
            first, _, last = port.split(":")[1].partition("-")
            published += range(int(first), int(last or first) + 1)
    assert len(published) == len(set(published))


def test_every_server_has_a_volume_of_its_own() -> None:
    used = [volume for spec in SERVICES.values() for volume in spec.get("volumes", ())]
    servers = [name for name in SERVICES if name != "sentinel-network"]
    assert used == [f"{name}:/data" for name in servers]
    assert list(COMPOSE["volumes"]) == servers


@each_service
def test_every_server_has_a_health_check_at_its_port(service: str) -> None:
    spec = SERVICES[service]
    if service == "sentinel-network":
        assert "healthcheck" not in spec
        return
    kind, line = spec["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert line == "redis-cli -e -p $$PORT ping"
    assert spec["environment"]["PORT"].isdigit()


@each_service
def test_what_a_service_leans_on_is_in_its_profile(service: str) -> None:
    spec = SERVICES[service]
    for other, how in spec.get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "healthcheck" in SERVICES[other]
        assert SERVICES[other]["profiles"] == spec["profiles"]
    if "network_mode" in spec:
        owner = spec["network_mode"].removeprefix("service:")
        assert SERVICES[owner]["profiles"] == spec["profiles"]
        assert "ports" not in spec, "a borrowed network has no ports of its own"


@each_service
def test_compose_itself_replaces_no_variable(service: str) -> None:
    for text in words(SERVICES[service]):
        assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", text), text


@pytest.mark.parametrize(
    ("profile", "fsync"), [("single", "everysec"), ("quorum", "always")]
)
def test_servers_keep_what_they_were_told(profile: str, fsync: str) -> None:
    for name in of_profile(profile):
        assert options(SERVICES[name]["command"]) == {
            "--appendonly": "yes",
            "--appendfsync": fsync,
            "--maxmemory-policy": "noeviction",
        }


@pytest.mark.parametrize("profile", ["single", "quorum"])
def test_published_port_leads_to_the_one_that_is_checked(profile: str) -> None:
    for name in of_profile(profile):
        (port,) = SERVICES[name]["ports"]
        assert port.split(":")[2] == SERVICES[name]["environment"]["PORT"]


def test_the_shared_network_publishes_exactly_the_ports_of_its_servers() -> None:
    published: set[int] = set()
    for port in SERVICES["sentinel-network"]["ports"]:
        _, outside, inside = port.split(":")
        assert outside == inside, "Sentinel announces the inner port"
        first, last = inside.split("-")
        published |= set(range(int(first), int(last) + 1))
    servers = [n for n in of_profile("sentinel") if n != "sentinel-network"]
    assert published == {int(SERVICES[n]["environment"]["PORT"]) for n in servers}


class Profile:
    """The servers of the `sentinel` profile, run here on ports of our own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._program = server_program()
        names = [n for n in of_profile("sentinel") if n != "sentinel-network"]
        self._ports = {SERVICES[n]["environment"]["PORT"]: free_port() for n in names}

    def local(self, text: str) -> str:
        """Replace the ports of the file by ours, and the escapes of Compose."""
        for port, ours in self._ports.items():
            text = re.sub(rf"\b{port}\b", str(ours), text)
        return text.replace("$$", "$").replace("redis-server", self._program)

    def run(self, name: str) -> Child:
        """Run the command of a service in its directory."""
        spec = SERVICES[name]
        home = self._directory / name
        home.mkdir(exist_ok=True)
        env = {key: self.local(value) for key, value in spec["environment"].items()}
        return Child([self.local(word) for word in spec["command"]], env=env, cwd=home)

    def info(self, name: str) -> dict[str, Any]:
        """Return INFO of a server, empty while it does not answer."""
        port = self._ports[SERVICES[name]["environment"]["PORT"]]
        with redis.Redis(port=port, socket_timeout=2) as client:
            try:
                return dict(client.info())
            except redis.ConnectionError:
                return {}

    def is_ours(self, name: str, child: Child) -> bool:
        """Whether *child*, and no other process, answers as *name*."""
        assert child.alive, child.output()
        return bool(self.info(name).get("process_id") == child.pid)

    def watches(self, name: str) -> bool:
        """Whether the Sentinel *name* has found all it should."""
        seen = self.info(name)["master0"]
        whole = {"name": "main", "status": "ok", "slaves": 2, "sentinels": 3}
        return bool(whole.items() <= seen.items())

    def masters(self, names: list[str]) -> list[str]:
        return [n for n in names if self.info(n).get("role") == "master"]


@pytest.mark.slow
def test_sentinels_of_the_file_replace_a_master_that_is_killed(tmp_path: Path) -> None:
    profile = Profile(tmp_path)
    replicas = ["sentinel-replica-1", "sentinel-replica-2"]
    sentinels = ["sentinel-1", "sentinel-2", "sentinel-3"]
    with ExitStack() as stack:
        children: dict[str, Child] = {}
        for name in ["sentinel-master", *replicas, *sentinels]:
            children[name] = stack.enter_context(profile.run(name))
            until(partial(profile.is_ours, name, children[name]))
        for name in sentinels:
            until(partial(profile.watches, name), timeout=30)
        assert profile.masters(replicas) == []

        children["sentinel-master"].sigkill()

        (successor,) = until(partial(profile.masters, replicas), timeout=40)
        kept = tmp_path / successor / "redis.conf"
        until(lambda: "replicaof" not in kept.read_text())
