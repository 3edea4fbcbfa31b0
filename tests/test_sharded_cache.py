"""The sharded cache of the examples, of which a node is killed, stopped and started anew."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from support.polling import until
from support.processes import Child
from support.servers import RedisServer

EXAMPLE = Path(__file__).parent.parent / "examples" / "sharded_cache.py"
PATIENCE = 40.0
KEYS = 300


class Round(NamedTuple):
    """What the client said after a round."""

    hits: int
    misses: int
    asked: dict[str, int]


class Scene:
    """A server, three nodes, and a client that asks them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._server = stack.enter_context(RedisServer())
        self.nodes = {name: self.node(name) for name in "abc"}
        self.client = self._start("client")

    def node(self, name: str) -> Child:
        child = self._start("node", name)
        child.wait_for_output(f"node {name} serves", timeout=PATIENCE)
        return child

    def _start(self, *args: str) -> Child:
        argv = [sys.executable, str(EXAMPLE), *args]
        env = {"COORDKIT_URL": self._server.url}
        return self._stack.enter_context(Child(argv, env=env))

    def rounds(self) -> list[Round]:
        assert self.client.alive, self.client.output()
        said = re.findall(
            r"^(\d+) hits, (\d+) misses: (.*)\n", self.client.output(), re.MULTILINE
        )
        return [
            Round(
                int(hits),
                int(misses),
                {name: int(n) for name, n in re.findall(r"(\w) (\d+)", by)},
            )
            for hits, misses, by in said
        ]

    def all_hit(self, names: str) -> Round:
        """Wait for a round in which all keys were there, on these nodes."""

        def last() -> Round | None:
            *_, one = self.rounds() or [Round(0, 0, {})]
            return one if one.hits == KEYS and set(one.asked) == set(names) else None

        one = until(last, timeout=PATIENCE)
        assert one is not None
        return one


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


@pytest.mark.slow
def test_a_node_that_is_killed_costs_its_keys_once(scene: Scene) -> None:
    before = scene.all_hit("abc")
    assert sum(before.asked.values()) == KEYS
    assert min(before.asked.values()) > KEYS / 3 / 2
    seen = len(scene.rounds())
    scene.nodes["b"].sigkill()
    after = scene.all_hit("ac")
    told = scene.rounds()[seen:]
    assert sum(each.misses for each in told) == before.asked["b"], "no key of others"
    assert all(each.hits + each.misses == KEYS for each in told), "none without answer"
    for name in "ac":
        assert after.asked[name] >= before.asked[name]
    scene.node("b")
    assert scene.all_hit("abc").asked == before.asked
    assert "Traceback" not in scene.client.output()


@pytest.mark.slow
def test_a_node_that_is_stopped_is_done_without(scene: Scene) -> None:
    before = scene.all_hit("abc")
    scene.nodes["a"].sigstop()
    scene.all_hit("bc")
    scene.nodes["a"].sigcont()
    assert scene.all_hit("abc").asked == before.asked


@pytest.mark.slow
def test_all_end_when_they_are_told_to(scene: Scene) -> None:
    scene.all_hit("abc")
    for child in (scene.client, *scene.nodes.values()):
        child.sigterm()
        assert child.wait(PATIENCE) == 0
        assert "Traceback" not in child.output()
