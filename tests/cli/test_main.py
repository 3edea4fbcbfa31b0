"""The root of the commands: help, settings and their precedence, exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import coordkit as library
from cli.program import Program
from coordkit import CoordError, Session, errors
from coordkit_cli._exit import CODES, failure, kind_of
from coordkit_cli.main import root
from support.servers import RedisServer, free_port

# -- help and version ----------------------------------------------------------------


def walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None, name
            yield from walk(inner, (*path, name))


COMMANDS = dict(walk(root))
LEADER_VERBS = "run status watch list resign transfer history pause resume"
LOCK_VERBS = "run acquire renew release check list show wait revoke break"
RING_VERBS = (
    "create add remove reweight delete list nodes owner stats plot plan apply diff "
    "watch verify export import simulate"
)
each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_there_are_the_commands_that_are_promised() -> None:
    assert set(COMMANDS) == {
        (),
        ("lock",),
        *(("lock", verb) for verb in LOCK_VERBS.split()),
        ("leader",),
        *(("leader", verb) for verb in LEADER_VERBS.split()),
        ("group",),
        *(("group", verb) for verb in ("join", "list", "watch")),
        ("counter",),
        *(("counter", verb) for verb in ("add", "get", "set", "list")),
        ("ids",),
        ("ids", "next"),
        ("fence",),
        *(("fence", verb) for verb in ("check", "set", "get")),
        ("ring",),
        *(("ring", verb) for verb in RING_VERBS.split()),
        ("balance",),
        ("balance", "pick"),
        ("cron",),
        *(("cron", verb) for verb in ("run", "status", "history", "check")),
        ("doctor",),
        ("acl",),
        ("demo",),
        ("version",),
    }


@each_command
def test_help_tells_what_a_command_does(
    program: Program, path: tuple[str, ...]
) -> None:
    ran = program.run(*path, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: {' '.join(('coordkit', *path))} ")
    assert program.run(*path, "-h") == ran


@each_command
def test_everything_that_can_be_typed_is_explained(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    assert not path or command.short_help
    unexplained = [
        parameter.name
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert unexplained == []


MODULES = """
import os, sys
leave = os._exit
def told(code):
    print(*sys.modules, flush=True)
    leave(code)
os._exit = told
from coordkit_cli.main import main
main()
"""


def imported(program: Program, *args: str) -> set[str]:
    """Return all modules that a run has imported."""
    program.argv = [sys.executable, "-c", MODULES]
    return set(program.run(*args).out.splitlines()[-1].split())


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["lock", "--help"],
        ["lock", "run", "--help"],
        ["leader", "run", "--help"],
        ["group", "join", "--help"],
        ["ring", "--help"],
        ["demo", "--help"],
    ],
)
def test_help_imports_nothing_heavy(program: Program, args: list[str]) -> None:
    heavy = {"redis", "coordkit", "hiredis", "tenacity", "asyncio", "email", "logging"}
    assert not imported(program, *args) & heavy


def test_a_command_imports_no_other_command(program: Program) -> None:
    modules = imported(program, "lock", "list", "--help")
    assert "coordkit_cli.lock" in modules
    assert "coordkit_cli.demo" not in modules


def test_version_is_that_of_the_library(program: Program) -> None:
    assert program.run("--version").out == f"coordkit {library.__version__}\n"
    (versions,) = program.run("version", "--json").objects
    assert versions["v"] == 1
    assert versions["coordkit"] == library.__version__
    assert {"python", "redis", "hiredis", "click", "platform"} < versions.keys()
    text = program.run("version").out.splitlines()
    assert [line.split()[0] for line in text] == [key for key in versions if key != "v"]


def test_the_version_of_the_server_is_told_when_asked_for(
    coordkit: Program, server: RedisServer
) -> None:
    (versions,) = coordkit.run("version", "--server", "--json").objects
    name, number = versions["server"].split()
    assert server.info()[f"{name.lower()}_version"] == number
    at = f"redis://127.0.0.1:{free_port()}/0"
    assert "is it running?" in coordkit.run("version", "--server", "--url", at).refused(
        69
    )
    assert coordkit.run("version", "--url", at).code == 0


def test_without_a_command_it_shows_its_help_as_an_error(program: Program) -> None:
    for path in ((), ("lock",)):
        ran = program.run(*path)
        assert (ran.code, ran.out) == (64, "")
        assert ran.err.startswith("Usage: coordkit")


# -- exit codes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nope"], "No such command 'nope'; see: coordkit --help"),
        (["lock", "sho"], "Did you mean 'show'?"),
        (["lock", "show"], "Missing argument 'NAME'; see: coordkit lock show --help"),
        (["lock", "show", "a", "b"], "unexpected extra argument"),
        (["lock", "list", "--nope"], "No such option"),
        (["--url"], "requires an argument"),
        (["lock", "show", "a\x1b[2Jb"], r"'a\x1b[2Jb' contains the control character"),
        (["lock", "show", ""], "0 bytes long"),
        (["lock", "show", "x" * 513], "513 bytes long; allowed are 1 to 512"),
        (["--url", "redis://h", "--url-file", "f", "lock", "list"], "both given"),
        (["demo", "--server", "best"], "'auto', 'redis', 'fake'"),
        (["demo", "--server", "fake", "--url", "redis://h"], "exclude each other"),
    ],
)
def test_wrong_usage_is_64(program: Program, args: list[str], says: str) -> None:
    assert says in program.run(*args).refused(64)


def test_a_server_that_is_not_there_is_69(program: Program) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    said = program.run("lock", "list", "--url", url).refused(69)
    assert url in said
    assert "is it running? The URL comes from --url" in said


def test_a_server_that_does_not_answer_is_69(
    coordkit: Program, server: RedisServer
) -> None:
    server.pause()
    try:
        assert "no answer from" in coordkit.run("lock", "list").refused(69)
    finally:
        server.resume()


def test_a_user_who_may_not_is_77(coordkit: Program, server: RedisServer) -> None:
    at = server.url.partition("//")[2]
    for user in ("shop:wrong-pw", "nobody:wrong-pw", "shop:pw", "reader:pw"):
        said = coordkit.run("lock", "list", "--url", f"redis://{user}@{at}").refused(77)
        assert "what the server's ACL allows" in said
        assert "wrong-pw" not in said


def test_a_key_of_another_kind_is_78(
    coordkit: Program, session: Session, server: RedisServer
) -> None:
    lease = session.lock("x").acquire()
    with server.client() as client:
        (key,) = client.keys("*:lock:x")
        lease.release()
        client.lpush(key, "foreign")
    said = coordkit.run("lock", "show", "x").refused(78)
    assert "choose another name, or another --namespace" in said


def test_every_error_of_the_library_has_a_code() -> None:
    leaves = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, CoordError)
        and kind is not CoordError
    ]
    codes = {kind.__name__: CODES[kind_of(kind.__new__(kind)) or ""] for kind in leaves}
    assert codes == {
        "Unreachable": 69,
        "LockTimeout": 75,
        "LeaseLost": 76,
        "LeadershipLost": 76,
        "NotHeld": 76,
        "StaleToken": 1,
        "Overtaken": 1,
        "OutOfBounds": 1,
        "NotAllAdded": 1,
        "FenceRegression": 69,
        "IdRegression": 69,
        "NoLeader": 1,
        "NoCandidate": 1,
        "NoMember": 1,
        "StaleGroup": 69,
        "EmptyRing": 1,
        "NoNode": 1,
        "RingChanged": 75,
        "StaleRing": 69,
        "DamagedRing": 78,
        "Overloaded": 75,
        "KeyConflict": 78,
        "Unsupported": 78,
        "Refused": 69,
        "NotPermitted": 77,
    }


def test_an_error_of_many_lines_is_told_in_one(program: Program) -> None:
    program.argv = [sys.executable, "-c", BROKEN.format("OSError('one\\ntwo')")]
    assert program.run("version").refused(70) == "coordkit: one two\n"


BROKEN = """
import coordkit_cli.version
from coordkit_cli.main import main
def broken(*args, **options):
    raise {}
coordkit_cli.version.aligned = broken
main()
"""


def test_a_bug_is_70_and_says_where(program: Program) -> None:
    program.argv = [
        sys.executable,
        "-c",
        BROKEN.format("ZeroDivisionError('oh\\x1b[2J')"),
    ]
    said = program.run("version").refused(70)
    assert r"this is a bug, please report it: ZeroDivisionError: oh\x1b[2J" in said
    assert "(in broken, <string>:5)" in said


def test_an_error_that_is_none_of_coordkits_is_a_bug() -> None:
    class Unreachable(Exception):
        """Only called the same."""

    assert kind_of(Unreachable()) is None
    assert failure(Unreachable("x"), "").code == 70


def test_ctrl_c_is_130_and_silent(coordkit: Program, server: RedisServer) -> None:
    server.pause()
    try:
        with coordkit.start("lock", "list", "-v") as child:
            told = child.wait_for_output("\n")  # it has told whom it is about to ask
            child.sigint()
            assert child.wait() == 130
            assert child.output() == told
    finally:
        server.resume()


def test_a_reader_that_has_left_is_silent(coordkit: Program, session: Session) -> None:
    with session.lock("x").acquire():
        for args in (["lock", "list"], ["lock", "list", "--json"], ["--help"]):
            child = subprocess.Popen(
                [*coordkit.argv, *args],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=coordkit.directory,
                env=coordkit.env,
            )
            assert child.stdout is not None
            child.stdout.close()
            assert child.communicate()[1] == b""
            assert child.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(program: Program) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*program.argv, "version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=program.env,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        70,
        "coordkit: [Errno 28] No space left on device\n",
    )


def test_output_that_the_encoding_cannot_show_is_escaped(
    coordkit: Program, session: Session
) -> None:
    with session.lock("日本").acquire():
        ran = coordkit.run("lock", "list", env={"PYTHONIOENCODING": "latin-1"})
    assert ran.code == 0
    assert ran.out.startswith(r"\u65e5\u672c ")


def test_a_hang_up_does_not_leave_a_traceback(
    coordkit: Program, server: RedisServer
) -> None:
    server.pause()
    try:
        with coordkit.start("lock", "list", "-v") as child:
            child.wait_for_output("\n")
            child.sigterm()
            assert child.wait() == -signal.SIGTERM
            assert "Traceback" not in child.output()
    finally:
        server.resume()
