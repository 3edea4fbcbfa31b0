"""`coordkit demo` interrupted, killed, or wrong: it notices, and leaves nothing."""

from __future__ import annotations

import os
import signal

import pytest

from cli.program import Program
from cli.traces import listens, marked, port_in
from support.polling import until
from support.processes import Child
from support.servers import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals"),
]


@pytest.mark.parametrize(
    ("scene", "number"),
    [
        ("Act 1", signal.SIGINT),
        ("Act 1", signal.SIGHUP),
        ("is frozen (SIGSTOP)", signal.SIGTERM),
    ],
)
def test_interrupted_it_leaves_nothing(
    program: Program,
    server: RedisServer,
    mark: str,
    scene: str,
    number: signal.Signals,
) -> None:
    url = server.url.replace("/0", "/8")
    with program.start("demo", "--url", url) as child:
        child.wait_for_output(scene, timeout=20.0)
        os.kill(child.pid, number)
        assert child.wait() == 128 + number
        assert "Traceback" not in child.output()
        assert "coordkit:" not in child.output()
    assert marked(mark) == []
    with server.client(db=8) as client:
        assert client.keys("*") == []


@pytest.mark.parametrize(
    ("server", "scene"), [("redis", "is frozen (SIGSTOP)"), ("fake", "Act 1")]
)
def test_killed_it_leaves_no_process(
    program: Program, mark: str, scene: str, server: str
) -> None:
    with program.start("demo", "--server", server) as child:
        child.wait_for_output(scene, timeout=30.0)
        port = port_in(child.output())
        assert listens(port)
        assert len(marked(mark)) >= 4
        child.sigkill()
        until(lambda: marked(mark) == [] and not listens(port))


def test_a_reader_that_has_left_ends_it(program: Program, mark: str) -> None:
    command = " ".join([*program.argv, "demo", "|", "head", "-1", ";", "echo"])
    script = f"set -o pipefail; {command} $?"
    with Child(["bash", "-c", script], env=program.env, cwd=program.directory) as child:
        child.wait(30.0)
        first, last = child.output().splitlines()
    assert first.startswith("Using a private")
    assert last == "141"
    assert marked(mark) == []
    assert not listens(port_in(first))


# -- that it notices --------------------------------------------------------------------------


def patched(program: Program, text: str) -> None:
    """Have every process of the demo run *text* when it starts."""
    directory = program.home / "patches"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(text)
    path = [str(directory), os.environ.get("PYTHONPATH", "")]
    program.env["PYTHONPATH"] = os.pathsep.join(filter(None, path))


LATE_WRITE_ADMITTED = """
import coordkit.fence
coordkit.fence.Fence.set = lambda *args, **options: None
"""
TOKEN_REPEATED = """
import coordkit._core.lease as lease
made = lease.Lease.__init__
def make(self, *args, **options):
    made(self, *args, **options)
    self.token = 7
lease.Lease.__init__ = make
"""
#: Each process lags behind those that started before it.
TAKEN_BEFORE_IT_WAS_GIVEN = """
import os
import coordkit._io.clock as clock
now = clock.now
clock.now = lambda: now() - os.getpid()
"""
WORKER_DIES = """
import os
import coordkit.lock
coordkit.lock.Lock.acquire = lambda *args, **options: os._exit(3)
"""
LEASE_BELIEVED = """
import coordkit._core.lease as lease
lease.Lease.held = property(lambda self: True)
lease.Lease.reason = property(lambda self: None)
"""


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (LATE_WRITE_ADMITTED, "Bob: 'written' instead of 'refused'"),
        (TOKEN_REPEATED, "Bob was given token 7 after 7"),
        (TAKEN_BEFORE_IT_WAS_GIVEN, "Bob had the lock before it was given back"),
        (WORKER_DIES, "Ann ended by itself: it said nothing"),
        (LEASE_BELIEVED, "Bob still believes that it has the lock"),
    ],
    ids=["admitted", "repeated", "overlapping", "dead", "believed"],
)
def test_what_does_not_happen_as_it_must_is_70(
    program: Program, mark: str, patch: str, says: str
) -> None:
    patched(program, patch)
    ran = program.run("demo", "--json")
    assert ran.code == 70
    assert ran.err.startswith("coordkit: the demo went wrong, please report it: ")
    assert says in ran.err
    end = ran.objects[-1]
    assert (end["event"], end["ok"]) == ("end", False)
    assert says in end["why"]
    assert marked(mark) == []


def test_a_system_that_cannot_freeze_a_process_says_so(program: Program) -> None:
    patched(program, "import signal; del signal.SIGSTOP")
    ran = program.run("demo")
    assert ran.code == 0
    lines = [line for line in ran.out.splitlines() if line.startswith("Act")]
    assert lines[2] == "Act 3: the holder is frozen: this system cannot freeze one"
    assert "REFUSED" not in ran.out
    assert lines[3].startswith("Act 4: one leads")
    assert ran.out.count(" leads, ") == 1
