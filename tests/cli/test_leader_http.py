"""`coordkit leader run --http`: what load balancers, probes and Prometheus are told."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from cli.program import Program
from coordkit import Election, Session
from support.groups import PROC
from support.guards import Guarded, shell
from support.polling import until
from support.servers import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
    ),
]

TTL = ("--ttl", "2", "--kill-after", "0.3", "--http", "0")
#: More than are answered at a time.
SLOW = 150
_SAMPLE = re.compile(
    r'coordkit_([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\} ([0-9.]+)'
)


class Told(NamedTuple):
    code: int
    body: str

    @property
    def object(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told


def port(one: Guarded) -> int:
    return int(until(lambda: one.state.get("http", "")).rpartition(":")[2])


def get(one: Guarded, path: str, method: str = "GET") -> Told:
    connection = http.client.HTTPConnection("127.0.0.1", port(one), timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return Told(answer.status, answer.read().decode())
    finally:
        connection.close()


def sent(one: Guarded, request: bytes) -> bytes:
    """Send *request* as it is; return all that is answered."""
    with socket.create_connection(("127.0.0.1", port(one)), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return answer


@pytest.fixture
def election(session: Session) -> Election:
    return session.election("x", ttl=2)


@pytest.fixture
def one(coordkit: Program, session: Session) -> Iterator[Guarded]:
    """One that leads, and a command that does not end."""
    command = shell("ready; exec sleep 600")
    run = ("leader", "run")
    with Guarded(coordkit, "x", command, *TTL, verb=run) as one:
        yield one.ready()


def test_who_leads_is_told(one: Guarded, election: Election) -> None:
    leader = election.leader()
    assert leader is not None
    told = get(one, "/leader?now")
    assert told.code == 200
    assert 0 < told.object.pop("remaining") < 2
    assert told.object | {"remaining": 0} == {
        "v": 1,
        "name": "x",
        "namespace": "default",
        "identity": leader.identity,
        "leads": True,
        "term": leader.token,
        "remaining": 0,
    }
    assert get(one, "/healthz") == (200, '{"v":1,"healthy":true,"why":""}\n')
    assert get(one, "/leader", "HEAD") == (200, "")


def test_who_waits_is_told(coordkit: Program, election: Election) -> None:
    with election.campaign(), ExitStack() as stack:
        waits = Guarded(coordkit, "x", ("true",), *TTL, verb=("leader", "run"))
        stack.enter_context(waits)
        told = get(waits, "/leader")
        assert (told.code, told.object["leads"], told.object["term"]) == (
            503,
            False,
            None,
        )
        assert get(waits, "/healthz").code == 200


def test_it_is_told_in_time_that_it_leads_no_more(
    one: Guarded, server: RedisServer
) -> None:
    """By its own clock, while nobody can be asked."""
    server.pause()
    try:
        until(lambda: get(one, "/leader").code == 503)
        assert get(one, "/healthz").code == 200
    finally:
        server.resume()
    until(lambda: get(one, "/leader").code == 200)


def test_of_two_one_leads_at_every_instant(
    coordkit: Program, one: Guarded, election: Election
) -> None:
    """Asked one after the other: a leader that was seen first must be gone, or the other not."""
    run = ("leader", "run")
    with Guarded(coordkit, "x", ("sleep", "600"), *TTL, verb=run) as other:
        until(lambda: len(election.candidates()) == 1)
        os.kill(one.guard.pid, signal.SIGSTOP)
        until(lambda: get(other, "/leader").code == 200)
        os.kill(one.guard.pid, signal.SIGCONT)
        terms = [
            get(each, "/leader").object["leads"] for each in (one, other, one, other)
        ]
        assert terms == [False, True, False, True]


def test_an_unwell_one_is_told(coordkit: Program, session: Session) -> None:
    unwell = ("--health-cmd", "while [ ! -e go ]; do sleep 0.05; done; exit 3")
    with Guarded(
        coordkit, "x", ("true",), *TTL, *unwell, verb=("leader", "run")
    ) as one:
        assert get(one, "/healthz").code == 200  # nothing is known yet
        (coordkit.directory / "go").touch()
        why = "unhealthy: the health command has failed, exit 3"
        until(lambda: get(one, "/healthz").object["why"] == why)
        assert get(one, "/healthz").code == 503
        assert "coordkit_leader_healthy" in get(one, "/metrics").body


def samples(text: str) -> dict[str, tuple[str, float]]:
    """Return labels and value of each sample; all lines must be of the format."""
    found: dict[str, tuple[str, float]] = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            found[sample[1]] = (sample[2], float(sample[3]))
        else:
            assert re.match(r"# (HELP|TYPE) coordkit_[a-z_]+ \S", line), line
    return found


def test_numbers_are_told(coordkit: Program, session: Session) -> None:
    name = 'a "b" \\c'
    command = shell("ready; exec sleep 600")
    with Guarded(coordkit, name, command, *TTL, verb=("leader", "run")) as one:
        term = one.ready().state["term"]
        labels = r'name="a \"b\" \\c",namespace="default"'
        told = samples(get(one, "/metrics").body)
        assert {said for said, _ in told.values()} == {labels}
        values = {name: value for name, (_, value) in told.items()}
        assert 0 < values.pop("leader_remaining_seconds") < 2
        assert values == {
            "leader": 1,
            "leader_term": term,
            "leader_healthy": 1,
            "leader_terms_total": 1,
            "leader_runs_total": 0,
        }
        session.election(name).revoke()
        until(lambda: "leader_ended_total" in samples(get(one, "/metrics").body))
        said, value = samples(get(one, "/metrics").body)["leader_ended_total"]
        assert said.endswith('reason="revoked"')
        assert value == 1


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n"),
        (b"POST /leader HTTP/1.1\r\n\r\nx", b"HTTP/1.1 405 Method Not Allowed\r\n"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET /leader SPDY/3\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET /%s HTTP/1.1\r\n\r\n" % (b"x" * 9000), b"HTTP/1.1 400 Bad Request\r\n"),
    ],
)
def test_what_is_not_asked_well_is_refused(
    one: Guarded, request_: bytes, line: bytes
) -> None:
    assert sent(one, request_).startswith(line)


def test_slow_clients_hold_up_nobody(one: Guarded) -> None:
    at = ("127.0.0.1", port(one))
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(at, timeout=10))
            for _ in range(SLOW)
        ]
        for connection in slow:
            connection.sendall(b"GET /leader")
        assert get(one, "/leader").code == 200
        assert slow[0].recv(1) == b""  # the oldest had to go
        files = PROC / str(one.guard.pid) / "fd"
        until(lambda: len(list(files.iterdir())) < SLOW)
    assert one.members != set()


def test_it_listens_on_this_machine_alone_unless_told(
    coordkit: Program, session: Session, one: Guarded
) -> None:
    assert one.state["http"] == f"http://127.0.0.1:{port(one)}"
    taken = str(port(one))
    said = coordkit.run("leader", "run", "--http", taken, "x", "touch", "ran")
    assert f"cannot listen at 127.0.0.1:{taken}: " in said.refused(78)
    everywhere = ("--http", "0.0.0.0:0", "--event-fd", "1")
    ran = coordkit.run("leader", "run", *everywhere, "y", "true")
    listening = next(e for e in ran.objects if e["event"] == "listening")
    assert listening["http"].startswith("http://0.0.0.0:")
