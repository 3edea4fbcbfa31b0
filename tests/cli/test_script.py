"""Scripts beside a command, and the dead that the first process of a container buries."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from subprocess import DEVNULL

import pytest

from coordkit_cli._script import Script, bury_orphans
from support.groups import PROC, with_variable
from support.polling import until

pytestmark = pytest.mark.skipif(
    not PROC.joinpath("self/stat").exists(), reason="looks at /proc"
)
MARK = "COORDKIT_TESTS_SCRIPT"


@pytest.fixture
def mark() -> Iterator[str]:
    """A value that whatever a script starts has in its environment; nothing is left."""
    mark = secrets.token_hex(8)
    yield mark
    assert with_variable(MARK, mark) == set()


def dead(pid: int) -> bool:
    return ") Z" in (PROC / f"{pid}/stat").read_text()


def test_a_script_tells_how_it_ended(mark: str) -> None:
    environ = {MARK: mark}
    assert Script("exit 3", environ, DEVNULL).wait() == 3
    assert Script("kill -9 $$", environ, DEVNULL).wait() == -9
    assert Script(f"test ${MARK} = {mark}", environ, DEVNULL).wait() == 0


def test_a_script_that_takes_too_long_is_ended_with_all_that_it_started(
    mark: str,
) -> None:
    script = Script("sleep 600 & sleep 600", {MARK: mark}, DEVNULL)
    assert script.wait(0.2) is None
    script.kill()
    until(lambda: with_variable(MARK, mark) == set())


def test_who_buries_orphans_leaves_scripts_to_those_who_wait(mark: str) -> None:
    script = Script("exit 3", {MARK: mark}, DEVNULL)
    orphan = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {MARK: mark})
    until(lambda: dead(script._popen.pid) and dead(orphan))
    bury_orphans()
    assert not PROC.joinpath(str(orphan)).exists()
    assert script.wait() == 3
    bury_orphans()  # nobody is left
