"""Child processes run, freeze, thaw and end as told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from support import processes
from support.polling import until
from support.processes import Child, runs, script, worker


def greet(name: str, *, times: int) -> None:
    for _ in range(times):
        sys.stdout.write(f"hello {name} from {os.getpid()}\n")


async def greet_later(name: str) -> None:
    await asyncio.sleep(0)
    sys.stdout.write(f"hello {name}\n")


def fail() -> None:
    raise RuntimeError("the body failed")


def count(path: str) -> None:
    for number in range(10**9):
        Path(path).write_text(str(number))
        time.sleep(0.001)


def keep_a_child() -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    sys.stdout.write(f"child {child}\n")
    signal.pause()


def test_a_worker_calls_a_function_in_a_process_of_its_own() -> None:
    with worker(greet, "ü", times=2) as child:
        assert child.wait() == 0
        assert child.output() == f"hello ü from {child.pid}\n" * 2
        assert child.pid != os.getpid()


def test_a_worker_runs_a_coroutine_function() -> None:
    with worker(greet_later, "world") as child:
        assert child.wait() == 0
    assert child.output() == "hello world\n"


def test_a_worker_that_raises_says_so() -> None:
    with worker(fail) as child:
        assert child.wait() == 1
        assert "RuntimeError: the body failed" in child.output()


def test_only_a_function_that_can_be_found_can_be_called() -> None:
    with pytest.raises(ValueError, match="not at the top of a module"):
        worker(lambda: None)
    with pytest.raises(ValueError, match="not at the top of a module"):
        worker(Child.end)


def test_a_script_has_its_arguments_and_environment(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import os, sys; print(sys.argv[1:], os.environ['WORD'])")
    with script(program, "a b", "c", env={"WORD": "w"}) as child:
        assert child.wait_for_output("w") == "['a b', 'c'] w\n"


def test_a_frozen_process_stands_still_until_it_thaws(tmp_path: Path) -> None:
    file = tmp_path / "number"
    with worker(count, str(file)) as child:
        until(lambda: file.exists() and file.read_text())
        child.sigstop()
        before = file.stat().st_mtime_ns
        time.sleep(0.05)  # what does not happen cannot be polled for
        assert file.stat().st_mtime_ns == before
        assert child.alive
        child.sigcont()
        until(lambda: file.stat().st_mtime_ns > before)


def test_a_killed_process_is_gone_at_once(tmp_path: Path) -> None:
    with worker(count, str(tmp_path / "number")) as child:
        child.sigstop()
        child.sigkill()
        assert child.returncode == -signal.SIGKILL
        assert not child.alive
        for send in (child.sigkill, child.sigstop, child.sigcont, child.sigterm):
            with pytest.raises(ProcessLookupError):
                send()


def test_a_process_ends_with_its_group() -> None:
    with worker(keep_a_child) as child:
        said = child.wait_for_output("child")
        grandchild = int(said.split()[1])
        os.kill(grandchild, 0)
    until(lambda: not runs(grandchild))


# Since Python 3.12 forking beside threads warns; here that is the case to be tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_does_not_end_what_its_parent_started() -> None:
    with worker(keep_a_child) as child:
        child.wait_for_output("child")
        forked = os.fork()
        if forked == 0:
            child.end()  # as the end of the `with` would
            os._exit(processes._reaper._pipe is not None)
        _, status = os.waitpid(forked, 0)
        assert child.alive
        assert status == 0, "it meddled with the reaper"


def test_waiting_has_a_limit_and_tells_what_was_written(tmp_path: Path) -> None:
    with worker(keep_a_child) as child:
        child.wait_for_output("child")
        with pytest.raises(AssertionError, match=r"did not end within 0.01 s:\nchild"):
            child.wait(0.01)


def test_an_output_that_never_comes_is_not_awaited() -> None:
    with (
        worker(fail) as child,
        pytest.raises(AssertionError, match="ended without writing"),
    ):
        child.wait_for_output("hello")


def test_a_failing_test_shows_what_its_processes_wrote() -> None:
    def run() -> None:
        with worker(fail) as child:
            child.wait()
            raise KeyError("the test")

    with pytest.raises(KeyError) as caught:
        run()
    assert "the body failed" in caught.value.__notes__[0]


def test_a_condition_that_does_not_come_true_is_told() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.02 s: .*: 0"):
        until(lambda: 0, timeout=0.02)


def test_a_temporary_directory_is_removed() -> None:
    path = processes.temporary_directory()
    (path / "file").write_text("x")
    processes.remove_directory(path)
    assert not path.exists()
