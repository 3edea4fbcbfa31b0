"""`coordkit lock run` on a terminal: its command is a job like any other."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator

import pytest

from cli.program import Program, Terminal
from support.groups import PROC, children, groups
from support.polling import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
    ),
    pytest.mark.skipif(not shutil.which("bash"), reason="needs a shell with jobs"),
]

CTRL_C, CTRL_D, CTRL_Z, CTRL_BACKSLASH = "\x03", "\x04", "\x1a", "\x1c"
#: Commands that say so when they are there.  A terminal shows what is typed, too: so
#: what they say is not what was typed.
READS = "sh -c 'echo ready-$((1)); read a; echo got-$a'"
SLEEPS = "sh -c 'echo ready-$((1)) >&2; exec sleep 600'"


@pytest.fixture
def shell(coordkit: Program) -> Iterator[Terminal]:
    """An interactive shell."""
    with coordkit.shell() as shell:
        yield shell


def start(shell: Terminal, command: str, *, options: str = "", after: str = "") -> None:
    """Type it, and wait until the command is there."""
    shell.type(f"coordkit lock run {options} x -- {command} {after}\n")
    shell.next("ready-1")


def group_of(program: Program) -> int:
    """Return the group of the command whose status is kept."""
    path = program.directory / "status"
    # The guard hears of the command's start when the command may be speaking already.
    until(lambda: "pid" in json.loads(path.read_text()))
    return int(json.loads(path.read_text())["pid"])


def _jobs(shell: Terminal) -> str:
    """Return what the shell tells of its jobs."""
    shell.type("jobs; echo end-$((1))\n")
    return shell.next("end-1")


def code(shell: Terminal, variable: str = "?") -> int:
    """Return the exit code of what the shell ran last; and see that the shell reads again."""
    shell.type(f"echo code-${{{variable}}}-\n")
    shell.next("\ncode-")
    return int(shell.next("-"))


# -- keys -----------------------------------------------------------------------------


def test_the_command_reads_the_terminal(shell: Terminal) -> None:
    start(shell, READS)
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_the_command_is_in_the_foreground(shell: Terminal) -> None:
    """Programs look at it before they show their progress, or colours."""
    shell.type(
        "coordkit lock run x -- ps -o pgid=,tpgid=,comm= | cat; echo end-$((1))\n"
    )
    behind = shell.next("end-1").splitlines()[-1].split()
    shell.type("coordkit lock run x -- ps -o pgid=,tpgid=,comm=; echo end-$((1))\n")
    alone = shell.next("end-1").splitlines()[-1].split()
    assert (alone[2], behind[2]) == ("ps", "ps")
    assert alone[0] == alone[1]
    assert behind[0] != behind[1]


@pytest.mark.parametrize(("key", "ends"), [(CTRL_C, 130), (CTRL_BACKSLASH, 131)])
def test_a_key_ends_the_command(shell: Terminal, key: str, ends: int) -> None:
    start(shell, SLEEPS)
    shell.type(key)
    assert code(shell) == ends


def test_the_end_of_input_is_the_commands(shell: Terminal) -> None:
    start(shell, "sh -c 'echo ready-$((1)); exec cat'")
    shell.type(CTRL_D)
    assert code(shell) == 0


# -- jobs -----------------------------------------------------------------------------


def test_a_stopped_job_goes_on(shell: Terminal) -> None:
    start(shell, READS)
    shell.type(CTRL_Z)
    shell.next("Stopped")
    assert code(shell) == 148
    shell.type("fg\n")
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_a_stopped_job_goes_on_in_the_background(
    coordkit: Program, shell: Terminal
) -> None:
    os.mkfifo(coordkit.directory / "go")
    start(shell, "sh -c 'echo ready-$((1)); exec cat go'")
    shell.type(CTRL_Z)
    shell.next("Stopped")
    shell.type("bg\n")
    until(lambda: "Running" in _jobs(shell))
    shell.type("echo went-$((1)) >go; wait %1; echo end-$?-\n")
    assert "went-1" in shell.next("end-0-")


def test_a_background_job_that_wants_to_read_is_stopped(shell: Terminal) -> None:
    start(shell, READS, after="&")
    assert code(shell) == 0
    until(lambda: "Stopped" in _jobs(shell))
    shell.type("fg\n")
    shell.next("coordkit")
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_a_job_that_is_stopped_for_too_long_loses_its_lease(
    coordkit: Program, shell: Terminal
) -> None:
    start(shell, READS, options="--ttl 1 --status-file status")
    shell.type(CTRL_Z)
    told = shell.next("Stopped")
    assert "stopped, and its lease is not renewed: it is ended in " in told
    group = group_of(coordkit)
    until(lambda: not groups().get(group))
    shell.type("fg\n")
    shell.next("the lease on 'x' is lost")
    assert code(shell) == 76


def test_where_nobody_could_go_on_it_does_not_stop(coordkit: Program) -> None:
    """As under `ssh -t host coordkit …`: there is no shell that has it as a job."""
    words = shlex.split(f"lock run x -- {READS}")
    with coordkit.terminal(*words) as terminal:
        terminal.next("ready-1")
        terminal.type(CTRL_Z)
        terminal.next("stopped, and its lease is not renewed")
        terminal.type("word\n")
        terminal.next("got-word")
        assert terminal.end() == 0


# -- pipelines ------------------------------------------------------------------------


def test_a_pager_behind_the_command_reads_the_terminal(shell: Terminal) -> None:
    pager = "(cat; read a </dev/tty; echo got-$a)"
    shell.type(f"coordkit lock run x -- echo ready-$((1)) | {pager}\n")
    shell.next("ready-1")
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_a_command_in_a_pipeline_may_ask_for_the_terminal(shell: Terminal) -> None:
    reads = "sh -c 'echo ready-$((1)) >&2; read a </dev/tty; echo got-$a'"
    start(shell, reads, after="| cat")
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_a_key_ends_a_command_in_a_pipeline(shell: Terminal) -> None:
    start(shell, SLEEPS, after="| cat")
    shell.type(CTRL_C)
    assert code(shell, "PIPESTATUS[0]") == 130


def test_a_pipeline_is_stopped_as_a_whole(shell: Terminal) -> None:
    start(shell, SLEEPS, after="| cat")
    shell.type(CTRL_Z)
    shell.next("Stopped")
    assert code(shell) == 148
    shell.type("fg\n")
    shell.next("| cat")
    shell.type(CTRL_C)
    assert code(shell, "PIPESTATUS[0]") == 130


def test_a_command_that_reads_something_else_leaves_the_terminal_alone(
    coordkit: Program, shell: Terminal
) -> None:
    """As what a script runs in the background: the others are to hear of Ctrl-C, too."""
    start(shell, SLEEPS, options="--status-file status", after="</dev/null")
    group = group_of(coordkit)
    assert shell.foreground != group
    shell.type(CTRL_C)
    assert code(shell) == 130


def test_it_may_ask_for_the_terminal_all_the_same(shell: Terminal) -> None:
    reads = "sh -c 'echo ready-$((1)); read a </dev/tty; echo got-$a'"
    start(shell, reads, after="</dev/null")
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


# -- scripts --------------------------------------------------------------------------


@pytest.fixture
def script(coordkit: Program) -> str:
    """A script that runs a command under a lock, and reads the terminal when it may go on."""
    run = shlex.join([*coordkit.argv, "lock", "run", "x", "--"])
    text = f"{run} {SLEEPS}\necho after-$?-; cat go; read b\necho got-$b\n"
    os.mkfifo(coordkit.directory / "go")
    (coordkit.directory / "script").write_text(text)
    return "sh script\n"


def go(program: Program) -> None:
    (program.directory / "go").write_text("")


def test_a_script_has_the_terminal_back(
    coordkit: Program, shell: Terminal, script: str
) -> None:
    shell.type(script)
    shell.next("ready-1")
    shell.type(CTRL_C)
    shell.next("after-130-")
    go(coordkit)
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_a_script_has_the_terminal_back_when_the_guard_is_killed(
    coordkit: Program, shell: Terminal, script: str
) -> None:
    shell.type(script)
    shell.next("ready-1")
    (interpreter,) = children(shell.pid)
    (guard,) = children(interpreter)
    os.kill(guard, signal.SIGKILL)
    shell.next("after-137-")
    # The shim gives it back when it sees that the guard is gone, as the script does.
    until(lambda: shell.foreground == interpreter)
    go(coordkit)
    shell.type("word\n")
    shell.next("got-word")
    assert code(shell) == 0


def test_a_terminal_that_hangs_up_ends_the_command(
    coordkit: Program,
) -> None:
    with coordkit.shell() as shell:
        start(shell, SLEEPS, options="--status-file status")
        group = group_of(coordkit)
        assert groups()[group]
    until(lambda: not groups().get(group))
