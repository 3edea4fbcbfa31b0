"""
Child processes that can be killed, frozen and thawed, and never outlive the tests.

A child is in the care of a *reaper*: a tiny process that holds the other end of a
pipe of ours and kills what is left when we are gone, even by SIGKILL.  (Linux's
PR_SET_PDEATHSIG would fire when the *thread* that started the child ends, and needs
a `preexec_fn`, which may deadlock among threads; a pipe does neither, on any Unix.)

Not covered: a test process that is killed within the microseconds between the start
of a child and its registration, and what a child itself starts in another session.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.polling import until

_HERE = Path(__file__).parent


class _Reaper:
    """Our end of the pipe to the process that cleans up after us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipe: int | None = None

    def tell(self, line: str) -> None:
        """Send *line* to the reaper, which is started at the first one."""
        with self._lock:
            if self._pipe is None:
                self._pipe = self._start()
            os.write(self._pipe, f"{line}\n".encode("utf-8", "surrogateescape"))

    def forget(self) -> None:
        """In a forked child: nothing of this is ours, and the pipe must not stay open."""
        self._lock = threading.Lock()
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    @staticmethod
    def _start() -> int:
        ours, theirs = os.pipe()[::-1]
        # -I -S: starts at once, and nothing of the tests is imported.
        argv = [sys.executable, "-I", "-S", str(_HERE / "_reaper.py")]
        reaper = subprocess.Popen(argv, stdin=theirs, start_new_session=True)
        os.close(theirs)
        reaper.returncode = 0  # nobody waits for it: it ends after us
        return ours


_reaper = _Reaper()
os.register_at_fork(after_in_child=_reaper.forget)


def temporary_directory() -> Path:
    """Make a directory that is removed when this process ends, however it ends."""
    path = Path(tempfile.mkdtemp(prefix="coordkit-test-"))
    _reaper.tell(f"dir {path}")
    return path


def remove_directory(path: Path) -> None:
    """Remove a temporary directory before our end."""
    shutil.rmtree(path, ignore_errors=True)
    _reaper.tell(f"-dir {path}")


def runs(pid: int) -> bool:
    """Whether that process is there; a zombie that nobody has reaped yet is not."""
    if Path("/proc/self/stat").exists():
        try:
            return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Child:
    """
    A running child process in a session of its own, with its output in a file.

    As a context manager it is ended, with its whole process group, at the exit.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start *argv*; *env* is added to our environment."""
        # It lives as long as the child, and `end` closes it: hence SIM115.
        self._file = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115
        self._popen = subprocess.Popen(
            [str(arg) for arg in argv],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=self._file,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,  # Ctrl-C is for the tests: they end the child
        )
        self._last_words: str | None = None
        self._owner = os.getpid()
        self._in_care = True
        _reaper.tell(f"pid {self.pid}")

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ours(self) -> bool:
        """Whether we started it, and not the process that we were forked from."""
        return self._owner == os.getpid()

    @property
    def alive(self) -> bool:
        """Whether it has not ended; a frozen process is alive."""
        return self._poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status, or minus the signal that ended it, or None while it runs."""
        return self._poll()

    def output(self) -> str:
        """Return what it wrote so far to its standard output and error."""
        if self._last_words is not None:
            return self._last_words
        # pread: a seek would move the offset that the child shares.
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode(errors="replace")

    def wait_for_output(self, text: str, *, timeout: float = 10.0) -> str:
        """Wait until it wrote *text*; return all it wrote."""

        def written() -> bool:
            if text in self.output():
                return True
            assert self.alive, f"ended without writing {text!r}:\n{self.output()}"
            return False

        until(written, timeout=timeout)
        return self.output()

    def sigkill(self) -> None:
        """Kill it alone, at once, and reap it."""
        self._signal(signal.SIGKILL)
        self.wait()

    def sigterm(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def sigint(self) -> None:
        """Send what Ctrl-C would send."""
        self._signal(signal.SIGINT)

    def sigstop(self) -> None:
        """Freeze it, and return when it is frozen."""
        self._signal(signal.SIGSTOP)
        pid, status = os.waitpid(self.pid, os.WUNTRACED)
        if pid and not os.WIFSTOPPED(status):  # it ended before the signal came
            self._popen.returncode = os.waitstatus_to_exitcode(status)
            self._leave_care()
            raise ProcessLookupError(f"process {self.pid} has ended")

    def sigcont(self) -> None:
        """Let it run on."""
        self._signal(signal.SIGCONT)

    def wait(self, timeout: float = 10.0) -> int:
        """Wait until it ends; return its status, negative for a signal."""
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"process {self.pid} did not end within {timeout} s:\n{self.output()}"
            ) from None
        self._leave_care()
        return status

    def end(self) -> None:
        """
        Kill it with its process group, unless it has ended; its output stays.

        In a forked child this does nothing: it is not the child's to end.
        """
        if self._last_words is not None or not self.ours:
            return
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
        self._last_words = self.output()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and (said := self.output()):
            error.add_note(f"process {self.pid} wrote:\n{said[-4000:]}")
        self.end()

    def _poll(self) -> int | None:
        status = self._popen.poll()
        if status is not None:
            self._leave_care()
        return status

    def _leave_care(self) -> None:
        if self._in_care:
            self._in_care = False
            _reaper.tell(f"-pid {self.pid}")

    def _signal(self, number: signal.Signals) -> None:
        if not self.alive:
            raise ProcessLookupError(f"process {self.pid} has ended")
        self._popen.send_signal(number)


def worker(function: Callable[..., object], *args: Any, **kwargs: Any) -> Child:
    """
    Call a function of some module's top level in a fresh interpreter (never a fork).

    The arguments travel as JSON.  A coroutine function is run by `asyncio.run`.  The
    exit status is 1 when it raises; the traceback is in the output.
    """
    if "<" in function.__qualname__ or "." in function.__qualname__:
        raise ValueError(f"not at the top of a module: {function.__qualname__}")
    order = {
        "path": sys.path,
        "module": function.__module__,
        "file": inspect.getsourcefile(function),
        "function": function.__qualname__,
        "args": args,
        "kwargs": kwargs,
    }
    # -P: this directory must not become sys.path[0] and shadow other modules.
    program = str(_HERE / "_worker.py")
    return Child([sys.executable, "-u", "-P", program, json.dumps(order)])


def script(path: Path, *args: str, env: Mapping[str, str] | None = None) -> Child:
    """Run a Python file in a fresh interpreter, its output unbuffered."""
    return Child([sys.executable, "-u", str(path), *args], env=env)
