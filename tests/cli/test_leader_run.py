"""`coordkit leader run`: one leads and runs its command; the others wait for their turn."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cli.program import Program
from cli.test_guard import UNSHARE
from coordkit import Election, Session
from coordkit._core.keys import election_keys
from support.groups import PROC, children, groups, with_variable
from support.guards import Guarded, shell
from support.polling import until
from support.servers import RedisServer, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
    ),
]

RUN = ("leader", "run")
SLEEPS = shell("ready; exec sleep 600")
#: What a busy machine keeps up with.
TTL = ("--ttl", "2", "--kill-after", "0.3")


@pytest.fixture
def election(session: Session) -> Election:
    return session.election("x", ttl=2)


@pytest.fixture
def standing(coordkit: Program) -> Iterator[Standing]:
    with ExitStack() as stack:
        yield Standing(coordkit, stack)


class Standing:
    """Starts candidates; each is ended at the end."""

    def __init__(self, program: Program, stack: ExitStack) -> None:
        self._program = program
        self._stack = stack

    def __call__(
        self, *options: str, command: tuple[str, ...] = SLEEPS, ready: bool = False
    ) -> Guarded:
        """Start one; *ready*: wait until it leads and its command is there."""
        one = Guarded(self._program, "x", command, *TTL, *options, verb=RUN)
        self._stack.enter_context(one)
        return one.ready() if ready else one


def waiting(election: Election, number: int = 1) -> bool:
    return len(election.candidates()) == number


def identity(one: Guarded) -> str:
    return str(one.state["identity"])


def leads(election: Election, one: Guarded) -> bool:
    """Whether it is the leader, and the last thing that it told was the start."""
    leader = election.leader()
    return (
        leader is not None
        and one.state.get("event") == "started"
        and one.state.get("term") == leader.token
    )


def whys(election: Election) -> list[str]:
    """How terms have ended, the oldest first."""
    ended = [getattr(change, "why", None) for change in election.history()]
    return [why for why in ended if why is not None]


# -- what the command gets ------------------------------------------------------------


def test_it_is_told_its_term(coordkit: Program, election: Election) -> None:
    ran = coordkit.run(*RUN, "--identity", "web-1", "x", "/usr/bin/env")
    assert (ran.code, ran.err) == (0, "")
    told = dict(line.split("=", 1) for line in ran.out.splitlines())
    ours = {key: value for key, value in told.items() if key.startswith("COORDKIT")}
    assert ours.pop("COORDKIT_LEASE_FILE")
    term = int(ours.pop("COORDKIT_TERM"))
    assert term == int(ours.pop("COORDKIT_FENCING_TOKEN")) > 10**15
    assert ours == {
        "COORDKIT_ELECTION": "x",
        "COORDKIT_IDENTITY": "web-1",
        "COORDKIT_NAMESPACE": "default",
        "COORDKIT_URL_WITHHELD": "1",
    }
    elected, ended = election.history()
    assert getattr(elected, "leader", None)
    assert (getattr(ended, "how", ""), getattr(ended, "token", 0)) == ("resigned", term)


def test_others_see_how_it_stands(standing: Standing, election: Election) -> None:
    standing("--meta", "addr=h:80", "--priority", "7", ready=True)
    leader = election.leader()
    assert leader is not None
    assert (leader.priority, leader.meta) == (7, {"addr": "h:80"})
    standing("--priority", "-3", "--identity", "b")
    until(lambda: waiting(election))
    (candidate,) = election.candidates()
    assert (candidate.identity, candidate.priority) == ("b", -3)


@pytest.mark.parametrize(
    ("script", "code", "why"),
    [
        ("exit 0", 0, "its command has ended, exit 0"),
        ("exit 76", 76, "its command has ended, exit 76"),
        ("kill -9 $$", 137, "its command was ended by SIGKILL"),
    ],
)
def test_its_end_is_the_end_of_the_term(
    coordkit: Program, election: Election, script: str, code: int, why: str
) -> None:
    assert coordkit.run(*RUN, "-c", script, "x") == (code, "", "")
    assert whys(election) == [why]


# -- how the leadership passes on -----------------------------------------------------


def test_a_killed_leader_is_followed(standing: Standing, election: Election) -> None:
    first = standing(ready=True)
    second = standing()
    until(lambda: waiting(election))
    group, term = first.group, first.state["term"]
    first.guard.sigkill()
    second.ready()
    assert groups().get(group) is None
    assert second.state["term"] > term


def test_a_frozen_leader_is_followed_and_stands_again(
    standing: Standing, election: Election
) -> None:
    first = standing(ready=True)
    second = standing()
    until(lambda: waiting(election))
    os.kill(first.guard.pid, signal.SIGSTOP)
    assert first.gone_at() < first.last_deadline
    second.ready()
    os.kill(first.guard.pid, signal.SIGCONT)
    until(lambda: waiting(election))
    assert "the lease on 'x' is lost" in first.guard.output()
    election.revoke(reason="enough")
    until(lambda: leads(election, first))
    assert first.state["term"] > second.state["term"]
    until(lambda: waiting(election))  # the second stands again, too
    assert whys(election)[-1] == "enough"


def test_a_leader_that_loses_its_term_may_leave(
    standing: Standing, election: Election
) -> None:
    one = standing("--on-lost", "exit", ready=True)
    election.revoke()
    assert one.guard.wait() == 76
    assert election.leader() is None
    assert waiting(election, 0)


def test_the_successor_may_be_named(standing: Standing, election: Election) -> None:
    first = standing(ready=True)
    others = [standing("--identity", name) for name in ("b", "c")]
    until(lambda: waiting(election, 2))
    election.transfer("c")
    until(lambda: leads(election, others[1]))
    assert groups().get(first.group) is None
    until(lambda: [c.identity for c in election.candidates()] == ["b", identity(first)])


def test_nobody_leads_while_it_is_paused(
    coordkit: Program, standing: Standing, election: Election
) -> None:
    one = standing(ready=True)
    group = one.group
    assert coordkit.run("leader", "pause", "x", "--reason", "upgrade").code == 0
    until(lambda: groups().get(group) is None and election.leader() is None)
    until(lambda: waiting(election))
    assert coordkit.run("leader", "status", "x").code == 3
    assert coordkit.run("leader", "resume", "x") == (0, "", "")
    until(lambda: leads(election, one))


def test_one_that_is_preferred_may_ask_for_it(
    standing: Standing, election: Election
) -> None:
    standing(ready=True)
    better = standing("--priority", "1", "--preempt")
    until(lambda: leads(election, better))
    until(lambda: waiting(election))


# -- its end, and being run again -----------------------------------------------------


def test_it_is_run_again_in_the_same_term(
    coordkit: Program, standing: Standing, election: Election
) -> None:
    counts = shell("echo run >>runs; ready; exit 3")
    one = standing("--on-exit", "restart", command=counts)
    runs = coordkit.directory / "runs"
    until(lambda: runs.exists() and runs.read_text() == "run\nrun\n")
    leader = election.leader()
    assert leader is not None
    assert leader.token == one.state["term"]
    until(lambda: one.state["event"] == "restarting")
    one.guard.sigterm()  # while nothing runs
    assert one.guard.wait() == 143
    assert election.leader() is None


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("script", ["exec sleep 600", "trap 'exit 0' TERM INT; wait"])
def test_who_is_asked_to_end_does_not_begin_again(
    standing: Standing, election: Election, signum: signal.Signals, script: str
) -> None:
    command = shell(f"sleep 600 & ready; {script}")
    one = standing("--on-exit", "restart", command=command, ready=True)
    os.kill(one.guard.pid, signum)
    assert one.guard.wait() == (128 + signum if "exec" in script else 0)
    assert election.leader() is None


def test_a_hang_up_may_mean_something_else(
    standing: Standing, election: Election
) -> None:
    command = shell("trap 'echo reloaded' HUP; ready; while :; do sleep 0.05; done")
    one = standing("--on-exit", "restart", command=command, ready=True)
    os.kill(one.guard.pid, signal.SIGHUP)
    one.guard.wait_for_output("reloaded")
    os.killpg(one.group, signal.SIGKILL)
    until(lambda: one.state["event"] == "restarting")
    assert election.leader() is not None


def test_ctrl_c_is_the_end(coordkit: Program, election: Election) -> None:
    said = "echo ready-$((1)); exec sleep 600"
    run = (*RUN, "--on-exit", "restart", "-c", said, "x")
    with coordkit.terminal(*run) as terminal:
        terminal.see("ready-1")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert whys(election) == ["its command was ended by SIGINT"]


def test_each_command_has_the_terminal(coordkit: Program, election: Election) -> None:
    asks = "echo ready-$((1)); read word; echo got-$word; exec sleep 600"
    with coordkit.terminal(*RUN, *TTL, "-c", asks, "x") as terminal:
        for word in ("one", "two"):
            terminal.next("ready-1")
            terminal.type(f"{word}\n")
            terminal.next(f"got-{word}")
            election.revoke()
        terminal.next("ready-1")
        terminal.type("\x03")
        assert terminal.end() == 130


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_candidate_can_be_interrupted(
    standing: Standing, election: Election, signum: signal.Signals
) -> None:
    with election.campaign():
        one = standing()
        until(lambda: waiting(election))
        os.kill(one.guard.pid, signum)
        assert one.guard.wait() == 128 + signum
        assert one.guard.output() == ""
        assert waiting(election, 0)


def test_its_time_may_be_up(coordkit: Program, election: Election) -> None:
    words = ("--max-runtime", "0.2", "--on-exit", "restart", "x", "sleep", "600")
    assert "its time is up" in coordkit.run(*RUN, *words).refused(124)
    assert whys(election) == ["its time is up"]


def test_a_shim_that_is_killed_ends_it(standing: Standing, election: Election) -> None:
    one = standing(ready=True)
    os.kill(one.shim, signal.SIGKILL)
    assert one.guard.wait() == 125
    assert election.leader() is None


# -- the server away ------------------------------------------------------------------


def test_a_server_that_is_not_there_is_69_and_nothing_is_run(program: Program) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    said = program.run(*RUN, "--url", url, "x", "touch", "ran").refused(69)
    assert "is it running? The URL comes from --url" in said
    assert not (program.directory / "ran").exists()


def test_who_leads_when_the_server_goes_away_leads_again_when_it_is_back(
    standing: Standing, election: Election, server: RedisServer
) -> None:
    one = standing(ready=True)
    term = one.state["term"]
    server.pause()
    try:
        assert one.gone_at() < one.last_deadline
    finally:
        server.resume()
    until(lambda: leads(election, one))
    assert one.state["term"] > term
    assert one.guard.output().count("Traceback") == 0


def test_who_waits_rides_out_an_outage(
    standing: Standing, election: Election, server: RedisServer
) -> None:
    term = election.campaign()
    one = standing()
    until(lambda: waiting(election))
    server.pause()
    try:
        one.guard.wait_for_output("campaigning for 'x' goes on: ", timeout=20.0)
    finally:
        server.resume()
    assert term.lost.wait(10)
    one.ready()
    assert one.state["term"] > term.token


def test_a_key_of_another_kind_is_78(coordkit: Program, server: RedisServer) -> None:
    with server.client() as client:
        client.lpush(election_keys("default", "x").lock, "foreign")
    said = coordkit.run(*RUN, "x", "touch", "ran").refused(78)
    assert "choose another name, or another --namespace" in said
    assert not (coordkit.directory / "ran").exists()


# -- health and hooks -----------------------------------------------------------------


def health(*more: str) -> tuple[str, ...]:
    every = ("--health-every", "0.2", "--health-fails", "2")
    return ("--health-cmd", "test -e well", *every, *more)


def test_who_is_unwell_does_not_stand(
    coordkit: Program, standing: Standing, election: Election
) -> None:
    one = standing(*health("--identity", "frail"))
    well = coordkit.directory / "well"
    until(lambda: children(one.guard.pid))
    assert waiting(election, 0)
    well.touch()
    one.ready()
    other = standing("--identity", "other")
    until(lambda: waiting(election))
    well.unlink()
    until(lambda: leads(election, other))
    assert groups().get(one.group) is None
    assert waiting(election, 0)
    assert whys(election)[-1] == "unhealthy: the health command has failed, exit 1"
    well.touch()
    until(lambda: waiting(election))
    well.unlink()  # a candidate that becomes unwell withdraws
    until(lambda: waiting(election, 0))
    one.guard.wait_for_output("it does not stand for 'x' any more: unhealthy")


def test_a_health_command_that_hangs_is_a_failure_and_leaves_nothing(
    coordkit: Program, standing: Standing, election: Election
) -> None:
    mark = coordkit.env["TEST_OF_HEALTH"] = secrets.token_hex(8)
    well = coordkit.directory / "well"
    well.touch()
    hangs = "test -e well || { sleep 600 & wait; }"
    one = standing("--health-cmd", hangs, "--health-every", "0.3", ready=True)
    well.unlink()
    until(lambda: election.leader() is None)
    (why,) = whys(election)
    assert why == "unhealthy: the health command took longer than 0.3s"
    one.guard.sigterm()
    assert one.guard.wait() == 143
    assert with_variable("TEST_OF_HEALTH", mark) == set()


@pytest.mark.skipif(
    subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode
    != 0,
    reason="may not make namespaces",
)
def test_the_first_process_of_a_container_hears_of_its_health(
    coordkit: Program, election: Election
) -> None:
    """It buries all that has ended; not before it is told how."""
    ill = ("--health-cmd", "test ! -e ill", *health()[2:], "--on-lost", "exit")
    command = ("sh", "-c", "touch ill; exec sleep 600")
    words = (*RUN, *TTL, *ill, "x", "--", *command)
    with coordkit.start(*words, under=UNSHARE) as child:
        assert child.wait(30) == 76
    assert whys(election) == ["unhealthy: the health command has failed, exit 1"]


def test_hooks_are_told_in_order(coordkit: Program, election: Election) -> None:
    tells = "echo $COORDKIT_EVENT $COORDKIT_ELECTION $COORDKIT_TERM $COORDKIT_REASON"
    hooks = ("--hook", f"lost={tells}", "--hook", f"elected=sleep 0.3; {tells}")
    ran = coordkit.run(*RUN, *hooks, "x", "echo", "data")
    assert (ran.code, ran.out) == (0, "data\n")
    leader = getattr(election.history()[0], "leader", None)
    assert leader is not None
    term = leader.token
    assert ran.err == f"elected x {term}\nlost x {term} resigned\n"


def test_a_hook_that_fails_is_told_and_no_more(coordkit: Program) -> None:
    ran = coordkit.run(*RUN, "--hook", "elected=exit 4", "x", "true")
    assert ran == (0, "", "coordkit: the hook of 'elected' has failed, exit 4\n")


# -- how it is typed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x"], "Missing argument 'COMMAND'"),
        (["x", "--ttl", "5", "ls"], "coordkit leader run --ttl 5 x -- ls"),
        (["--priority", "101", "x", "true"], "101 is not in the range"),
        (["--meta", "a", "x", "true"], "'a': write KEY=VALUE"),
        (["--meta", f"a={'b' * 5000}", "x", "true"], "allowed are 4096"),
        (["--hook", "elected", "x", "true"], "write elected=COMMAND or lost=COMMAND"),
        (["--hook", "new=true", "x", "true"], "write elected=COMMAND or lost=COMMAND"),
        (["--http", "host", "x", "true"], "'host' is no address: write 8080"),
        (["--http", "1:99999", "x", "true"], "is no address"),
        (["--health-every", "0", "x", "true"], "leaves no time"),
        (["--identity", "", "x", "true"], "identity '' is 0 bytes long"),
        (["--on-lost", "stop", "x", "true"], "'requeue', 'exit'"),
        (["--ttl", "0.04", "x", "true"], "ttl=0.04 is not between"),
    ],
)
def test_wrong_usage_is_64_and_nobody_stands(
    coordkit: Program, session: Session, words: list[str], says: str
) -> None:
    assert says in coordkit.run(*RUN, *words).refused(64)
    assert session.elections() == []


def test_a_command_that_is_not_there_is_127_and_nobody_stands(
    coordkit: Program, session: Session
) -> None:
    assert "nosuch" in coordkit.run(*RUN, "x", "nosuch").refused(127)
    assert session.elections() == []


def test_a_namesake_is_told(standing: Standing, election: Election) -> None:
    standing("--identity", "twin", ready=True)
    twin = standing("--identity", "twin")
    twin.guard.wait_for_output("another process, too, is called 'twin'")
    until(lambda: waiting(election))


def test_explain_shows_the_time_line_and_the_keys(program: Program) -> None:
    (told,) = program.run(*RUN, "--explain", "--json", "x").objects
    assert (told["ttl"], told["at"]["free"]) == (15, 15)
    assert told["keys"]["lock"] == election_keys("default", "x").lock
    assert json.dumps(told).count("leader.history") == 1
