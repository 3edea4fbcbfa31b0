"""Runs the installed program in real processes, away from the tree and its settings."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from support.guards import ON_TERMINAL
from support.polling import until
from support.processes import Child

ARGV = [sys.executable, "-m", "coordkit_cli"]
#: What of the caller's environment would be taken for a setting.
SETTINGS = ("COORDKIT_", "REDIS_URL", "NO_COLOR", "TERM", "XDG_", "HOME", "PYTHONSTART")


class Ran(NamedTuple):
    """What a run of the program left: exit code, standard output and error."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> list[list[str]]:
        """The lines of its output, word by word."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of its output, each an object of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    def refused(self, code: int) -> str:
        """Return the one line of an error, which must be all there is, with *code*."""
        assert self.code == code, self
        assert self.out == "", self
        assert self.err.startswith("coordkit: "), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.err
        return self.err


def told(child: Child) -> list[dict[str, Any]]:
    """Return the objects of JSON that a program has written so far, a line each."""
    lines = child.output().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Program:
    """`coordkit`, run in an empty directory of its own, with an empty home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.directory = home / "directory"
        self.directory.mkdir()
        self.argv = ARGV
        kept = {k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)}
        self.env = kept | {"HOME": str(home), "TERM": "xterm"}

    def run(
        self, *args: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> Ran:
        """Run it to its end, without a terminal."""
        done = subprocess.run(
            [*self.argv, *args],
            input=stdin,
            capture_output=True,
            timeout=60,
            cwd=self.directory,
            env=self.env | (env or {}),
            encoding="utf-8",
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(
        self,
        *args: str,
        env: dict[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> Child:
        """Start it, its output in one file; *under*: by that program, which becomes it."""
        gone = dict.fromkeys(os.environ.keys() - self.env.keys(), "")
        return Child(
            [*under, *self.argv, *args],
            cwd=self.directory,
            env=gone | self.env | (env or {}),
        )

    def terminal(self, *args: str, env: dict[str, str] | None = None) -> Terminal:
        """Start it in a terminal of its own."""
        return Terminal([*self.argv, *args], self.directory, self.env | (env or {}))

    def shell(self) -> Terminal:
        """Start an interactive shell in a terminal of its own; it finds `coordkit`."""
        installed = shlex.quote(str(Path(sys.executable).parent))
        (self.home / "rc").write_text(f"PATH={installed}:$PATH; PS1='> '; PS2=''")
        argv = ["bash", "--noprofile", "--rcfile", str(self.home / "rc"), "-i"]
        return Terminal(argv, self.directory, self.env | {"TERM": "dumb"})


class Terminal:
    """A program whose input and output are a terminal; use it as a context manager."""

    def __init__(self, argv: list[str], cwd: Path, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._popen = subprocess.Popen(
            [*ON_TERMINAL, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = b""
        self._waited = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.kill()
        self._popen.wait()
        os.close(self._master)

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._popen.pid

    @property
    def foreground(self) -> int:
        """The group that reads what is typed."""
        return os.tcgetpgrp(self._master)

    @property
    def seen(self) -> str:
        """What it has shown so far."""
        return self._seen.decode()

    def see(self, text: str) -> str:
        """Wait until it shows *text*; return all it has shown."""
        until(lambda: self._read() and text in self.seen, timeout=20.0)
        return self.seen

    def next(self, text: str) -> str:
        """Wait until it shows *text* after what was waited for so; return what came before."""
        until(lambda: self._read() and text in self.seen[self._waited :], timeout=20.0)
        before, _, after = self.seen[self._waited :].partition(text)
        self._waited = len(self.seen) - len(after)
        return before

    def type(self, text: str) -> None:
        """Type *text*."""
        os.write(self._master, text.encode())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def end(self) -> int:
        """Wait for its end; return its status."""
        end = time.monotonic() + 20.0
        while self._popen.poll() is None and time.monotonic() < end:
            self._read()
        self._read()
        return self._popen.wait(1)

    def _read(self) -> bool:
        if select.select([self._master], [], [], 0.05)[0]:
            with suppress(OSError):  # EIO: it has ended
                self._seen += os.read(self._master, 65536)
        return True
