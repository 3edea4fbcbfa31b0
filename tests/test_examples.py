"""
Every example does what its first lines say, when what they say is killed is killed.

Each runs in processes of its own, as it is typed, on a server of its own.
"""

from __future__ import annotations

import ast
import http.client
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coordkit import Elected, Session, Vacant
from support.polling import until
from support.processes import Child, script
from support.servers import RedisServer, free_port

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
#: What takes longer than a term of five seconds takes longer by the machine's mood only.
PATIENCE = 40.0

each_scheduler = pytest.mark.parametrize(
    "name", ["scheduler.py", "scheduler_asyncio.py"]
)


class Scene:
    """A server, and examples that run on it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.server = stack.enter_context(RedisServer())

    def start(self, name: str, *args: str) -> Child:
        env = {"COORDKIT_URL": self.server.url}
        return self._stack.enter_context(script(EXAMPLES / name, *args, env=env))

    def session(self) -> Session:
        session = Session(self.server.url, namespace="example")
        return self._stack.enter_context(session)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def said(child: Child, pattern: str) -> list[str]:
    """Return what it has said so far that matches, without its process id."""
    assert child.alive, child.output()
    return re.findall(pattern, child.output(), re.MULTILINE)


def heard(child: Child, pattern: str) -> str:
    """Wait until it has said something that matches; return the last that did."""
    return until(lambda: said(child, pattern), timeout=PATIENCE)[-1]


def which_has(children: list[Child], pattern: str) -> Child:
    """Wait until one of them has said something that matches."""

    def found() -> Child | None:
        return next((child for child in children if said(child, pattern)), None)

    one = until(found, timeout=PATIENCE)
    assert one is not None
    return one


# -- what newcomers read -----------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_an_example_says_at_once_how_to_run_it_and_what_to_kill(path: Path) -> None:
    told = ast.get_docstring(ast.parse(path.read_text()))
    assert told is not None
    assert f"python examples/{path.name}" in told
    assert "``kill -9``" in told
    assert f"(examples/{path.name})" in (ROOT / "README.md").read_text()


# -- elections ---------------------------------------------------------------------------

LEADS = r"^\d+ leads, term (\d+)$"
RUN = r"^\d+ clean up, run (\d+)$"
NO_MORE = r"^\d+ leads no more: (\w+)$"


@pytest.mark.slow
@each_scheduler
def test_a_scheduler_that_is_killed_is_followed(scene: Scene, name: str) -> None:
    pair = [scene.start(name), scene.start(name)]
    first = which_has(pair, LEADS)
    (second,) = [child for child in pair if child is not first]
    until(lambda: len(said(first, RUN)) >= 3, timeout=PATIENCE)
    first.sigkill()
    term, count = (
        re.findall(of, first.output(), re.MULTILINE)[-1] for of in (LEADS, RUN)
    )
    assert int(heard(second, LEADS)) > int(term)
    heard(second, RUN)
    counted = [int(run) for run in said(second, RUN)]
    # The last run may have been counted, but not told.
    assert int(count) < counted[0] <= int(count) + 2


@pytest.mark.slow
@each_scheduler
def test_a_scheduler_that_is_ended_resigns(scene: Scene, name: str) -> None:
    first = scene.start(name)
    heard(first, RUN)
    second = scene.start(name)
    election = scene.session().election(name.removesuffix(".py").replace("_", "-"))
    until(election.candidates, timeout=PATIENCE)
    first.sigterm()
    assert first.wait(PATIENCE) == 0
    assert "Traceback" not in first.output()
    heard(second, LEADS)
    _, ended, followed = election.history()
    assert isinstance(ended, Vacant)
    assert ended.how == "resigned"
    assert isinstance(followed, Elected)


@pytest.mark.slow
@each_scheduler
def test_a_scheduler_that_was_stopped_learns_that_it_leads_no_more(
    scene: Scene, name: str
) -> None:
    pair = [scene.start(name), scene.start(name)]
    first = which_has(pair, LEADS)
    (second,) = [child for child in pair if child is not first]
    heard(first, RUN)
    first.sigstop()
    heard(second, RUN)
    before = said(first, RUN)
    first.sigcont()
    assert heard(first, NO_MORE) == "expired"
    assert said(first, RUN) == before  # nothing more was written, or it was refused


@pytest.mark.slow
def test_web_processes_answer_and_one_of_them_refreshes(scene: Scene) -> None:
    ports = [free_port(), free_port()]
    children = {port: scene.start("web_leader.py", str(port)) for port in ports}
    by_pid = {child.pid: port for port, child in children.items()}
    for port, child in children.items():
        until(partial(listens, port, child), timeout=PATIENCE)
        assert asked(port)[1]["pid"] == child.pid
    until(lambda: asked(ports[0])[1]["refreshed"] > 1, timeout=PATIENCE)
    leading = by_pid[asked(ports[0])[1]["leader"]]
    (other,) = set(ports) - {leading}
    children[leading].sigkill()
    last = asked(other)[1]  # it answers meanwhile

    def follows() -> bool:
        told = asked(other)[1]
        count: int = told["refreshed"] - last["refreshed"]
        return bool(told["leader"] == children[other].pid) and count > 1

    until(follows, timeout=PATIENCE)
    children[other].sigterm()
    children[other].wait(PATIENCE)
    assert "Traceback" not in children[other].output()
    last_change = scene.session().election("web").history()[-1]
    assert isinstance(last_change, Vacant)
    assert last_change.how == "resigned"


def asked(
    port: int, method: str = "GET", body: str = "", token: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the status and what was told; `ConnectionError` if nobody listens yet."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with closing(client):
        client.request(
            method, "/", body, {} if token is None else {"Fencing-Token": token}
        )
        answer = client.getresponse()
        return answer.status, json.load(answer)


def listens(port: int, child: Child) -> bool:
    assert child.alive, child.output()
    try:
        return asked(port)[0] == 200
    except ConnectionError:
        return False


# -- groups ------------------------------------------------------------------------------


def shares(child: Child) -> tuple[int, set[int]]:
    """Return how many it said last are there, and which jobs are its own."""
    lines = said(child, r"^worker \d+: (\d+ are there, mine are \[.*\])$")
    if not lines:
        return 0, set()
    count, _, jobs = lines[-1].partition(" are there, mine are ")
    return int(count), set(json.loads(jobs))


def shared_among(children: list[Child]) -> bool:
    """Whether those alone share all jobs, and none is of two."""
    seen = [shares(child) for child in children]
    jobs = [job for _, mine in seen for job in mine]
    return [count for count, _ in seen] == [len(children)] * len(children) and sorted(
        jobs
    ) == list(range(12))


@pytest.mark.slow
def test_a_pool_shares_the_jobs_of_a_worker_that_is_killed(scene: Scene) -> None:
    workers = [scene.start("worker_pool.py") for _ in range(3)]
    until(lambda: shared_among(workers), timeout=PATIENCE)
    workers[0].sigkill()
    until(lambda: shared_among(workers[1:]), timeout=PATIENCE)
    workers[1].sigterm()
    assert workers[1].wait(PATIENCE) == 0
    until(lambda: shared_among(workers[2:]), timeout=PATIENCE)


@pytest.mark.slow
def test_a_worker_that_was_stopped_gets_a_share_again(scene: Scene) -> None:
    workers = [scene.start("worker_pool.py") for _ in range(2)]
    until(lambda: shared_among(workers), timeout=PATIENCE)
    workers[0].sigstop()
    until(lambda: shared_among(workers[1:]), timeout=PATIENCE)
    workers[0].sigcont()
    until(lambda: shared_among(workers), timeout=PATIENCE)


# -- rings -------------------------------------------------------------------------------


def accounts(child: Child) -> set[int]:
    """Return which accounts it said last are its own."""
    lines = said(child, r"^\S+ (?:assigned|revoked), mine are (.*)$")
    return {int(number) for number in lines[-1].split()} if lines else set()


def parted_among(children: list[Child]) -> bool:
    """Whether each account is of one of them."""
    seen = [accounts(child) for child in children]
    return all(seen) and sum(map(len, seen)) == len(set().union(*seen)) == 24


def moving(scene: Scene) -> dict[str, int]:
    """Return how far it was counted in each account."""
    with Session(scene.server.url, namespace="example") as session:
        names = [f"account-{number}" for number in range(24)]
        return {name: int(session.fence(name).get("count") or 0) for name in names}


@pytest.mark.slow
def test_a_worker_that_is_killed_gets_its_accounts_back(scene: Scene) -> None:
    workers = [scene.start("partitioned_pool.py", f"w{n}") for n in range(3)]
    until(lambda: parted_among(workers), timeout=PATIENCE)
    had = accounts(workers[0])
    workers[0].sigkill()
    until(lambda: parted_among(workers[1:]), timeout=PATIENCE)
    before = moving(scene)
    until(lambda: all(n > before[a] for a, n in moving(scene).items()))
    again = scene.start("partitioned_pool.py", "w0")
    workers[0] = again
    until(lambda: parted_among(workers), timeout=PATIENCE)
    assert accounts(again) == had
    workers[1].sigterm()
    assert workers[1].wait(PATIENCE) == 0
    assert "Traceback" not in workers[1].output()
    until(lambda: parted_among([again, workers[2]]), timeout=PATIENCE)


@pytest.mark.slow
def test_a_worker_that_was_stopped_is_too_late_for_what_it_was_at(scene: Scene) -> None:
    workers = [scene.start("partitioned_pool.py", f"w{n}") for n in range(2)]
    until(lambda: parted_among(workers), timeout=PATIENCE)
    had = accounts(workers[0])
    workers[0].sigstop()
    until(lambda: parted_among(workers[1:]), timeout=PATIENCE)
    workers[0].sigcont()
    until(lambda: parted_among(workers), timeout=PATIENCE)
    assert accounts(workers[0]) == had


# -- balancers ---------------------------------------------------------------------------

KEYS = 300


class Round(NamedTuple):
    """What the client of the cache said after a round."""

    hits: int
    misses: int
    asked: dict[str, int]


class Caches:
    """Three nodes of the cache, and a client."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.nodes = {name: self.node(name) for name in "abc"}
        self.client = scene.start("sharded_cache.py", "client")

    def node(self, name: str) -> Child:
        child = self._scene.start("sharded_cache.py", "node", name)
        heard(child, f"^node {name} serves")
        return child

    def rounds(self) -> list[Round]:
        lines = said(self.client, r"^\d+ hits, \d+ misses: .*\n")
        found: list[Round] = []
        for line in lines:
            hits, misses, *counts = map(int, re.findall(r"\d+", line))
            names = re.findall(r"\b([abc]) ", line)
            found.append(Round(hits, misses, dict(zip(names, counts, strict=True))))
        return found

    def all_hit(self, names: str) -> Round:
        """Wait for a round in which all keys were there, on these nodes."""

        def last() -> Round | None:
            *_, one = self.rounds() or [Round(0, 0, {})]
            return one if one.hits == KEYS and set(one.asked) == set(names) else None

        one = until(last, timeout=PATIENCE)
        assert one is not None
        return one


@pytest.mark.slow
def test_a_node_of_the_cache_that_is_killed_costs_its_keys_once(scene: Scene) -> None:
    caches = Caches(scene)
    before = caches.all_hit("abc")
    assert sum(before.asked.values()) == KEYS
    assert min(before.asked.values()) > KEYS / 3 / 2
    seen = len(caches.rounds())
    caches.nodes["b"].sigkill()
    after = caches.all_hit("ac")
    told = caches.rounds()[seen:]
    assert sum(each.misses for each in told) == before.asked["b"], "no key of others"
    assert all(each.hits + each.misses == KEYS for each in told), "none without answer"
    assert all(after.asked[name] >= before.asked[name] for name in "ac")
    caches.node("b")
    until(lambda: caches.rounds()[-1].asked == before.asked, timeout=PATIENCE)


@pytest.mark.slow
def test_a_node_of_the_cache_that_is_stopped_is_done_without(scene: Scene) -> None:
    caches = Caches(scene)
    before = caches.all_hit("abc")
    caches.nodes["a"].sigstop()
    caches.all_hit("bc")
    caches.nodes["a"].sigcont()
    until(lambda: caches.rounds()[-1].asked == before.asked, timeout=PATIENCE)
    for child in (caches.client, *caches.nodes.values()):
        child.sigterm()
        assert child.wait(PATIENCE) == 0
        assert "Traceback" not in child.output()


# -- fencing -----------------------------------------------------------------------------


class Service:
    """The fenced service in a directory of its own, and what it answers."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._port = free_port()
        program = str(EXAMPLES / "fenced_service.py")
        argv = [sys.executable, program, str(self._port)]
        self.child = stack.enter_context(Child(argv, cwd=directory))
        until(lambda: listens(self._port, self.child), timeout=PATIENCE)

    def get(self) -> tuple[int, dict[str, Any]]:
        return asked(self._port)

    def put(self, value: str, token: str | None) -> tuple[int, dict[str, Any]]:
        return asked(self._port, "PUT", value, token)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[[], Service]]:
    with ExitStack() as stack:
        yield lambda: Service(stack, tmp_path)


@pytest.mark.slow
def test_a_stale_token_is_refused_after_a_crash_too(
    service: Callable[[], Service],
) -> None:
    first = service()
    assert first.put("100", "33") == (200, {"token": 33, "value": "100"})
    assert first.put("110", "34")[0] == first.put("120", "34")[0] == 200
    stale = 409, {"error": "…", "token": 33, "seen": 34}
    status, told = first.put("90", "33")
    assert "33" in told["error"]
    assert (status, told | {"error": "…"}) == stale
    first.child.sigkill()
    second = service()
    status, told = second.put("90", "33")
    assert (status, told | {"error": "…"}) == stale
    assert second.get() == (200, {"token": 34, "value": "120"})
    assert "Traceback" not in first.child.output() + second.child.output()


@pytest.mark.slow
def test_a_write_without_a_token_or_with_garbage_is_told_so(
    service: Callable[[], Service],
) -> None:
    one = service()
    assert one.put("1", None) == (
        428,
        {"error": "a write needs a Fencing-Token header"},
    )
    for garbage in ("x", "-1", "+1", "1_0", "1.0", "0", "1, 2", "9" * 16, "9" * 5000):
        status, told = one.put("1", garbage)
        assert status == 400, garbage
        assert garbage[:10] in told["error"]
        assert len(told["error"]) < 200
    assert one.get() == (200, {"token": 0, "value": ""})
    assert "Traceback" not in one.child.output()


# -- the lock ----------------------------------------------------------------------------


@pytest.mark.slow
def test_one_at_a_time_and_the_next_when_it_is_killed(scene: Scene) -> None:
    working = r"^\d+ working, token (\d+)$"
    pair = [scene.start("one_at_a_time.py", "20") for _ in range(2)]
    first = which_has(pair, working)
    (second,) = [child for child in pair if child is not first]
    lock = scene.session().lock("job")

    def works() -> bool:
        info = lock.info()
        return info is not None and str(info.token) == said(first, working)[-1]

    until(works, timeout=PATIENCE)
    first.sigkill()
    token = int(re.findall(working, first.output(), re.MULTILINE)[-1])
    until(lambda: int((said(second, working) or "0")[-1]) > token, timeout=PATIENCE)
