"""
A private PostgreSQL server for the blocks of the documentation that need one.

It listens on a socket in a directory of its own and nowhere else, keeps nothing, and is
gone with the test process.  Its program refuses to run as root: then it runs as another
user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.polling import until
from support.processes import Child, remove_directory, temporary_directory

#: Where Debian keeps it, newest version last.
_DEBIAN = "/usr/lib/postgresql"
_USERS = ("postgres", "nobody")


def programs() -> Path | None:
    """Return the directory of PostgreSQL's programs, if it is installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path(_DEBIAN).glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    return versions[-1].parent if versions else None


class PostgreSQL:
    """One server; use it as a context manager, and `env` to reach it."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._directory = temporary_directory()
        self._child: Child | None = None

    @property
    def env(self) -> dict[str, str]:
        """What `psql` finds it by."""
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        names = {"PGHOST": str(self._directory), "PGUSER": "owner", "PATH": path}
        return names | {"PGDATABASE": "postgres"}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        data = str(self._directory / "data")
        self._directory.chmod(0o755)
        if os.getuid() == 0:
            user = self._user()
            os.chown(self._directory, user.pw_uid, user.pw_gid)
        made = [self._program("initdb"), "-D", data, "-U", "owner", "-A", "trust"]
        subprocess.run(
            self._as_user([*made, "--no-sync", "-E", "UTF8", "--locale=C"]),
            check=True,
            capture_output=True,
            cwd=self._directory,
        )
        served = [self._program("postgres"), "-D", data, "-k", str(self._directory)]
        options = ["-c", "listen_addresses=", "-c", "fsync=off"]
        self._child = Child(self._as_user([*served, *options]), cwd=self._directory)
        until(self._answers, timeout=30.0)

    def _stop(self) -> None:
        child = self._child
        if child is not None:
            if child.alive:
                os.kill(child.pid, signal.SIGINT)  # at once, with its own children
                child.wait()
            child.end()
        remove_directory(self._directory)

    def _answers(self) -> bool:
        assert self._child is not None and self._child.alive, "it ended"
        argv = [self._program("pg_isready"), "-q"]
        done = subprocess.run(argv, env=os.environ | self.env, check=False)
        return done.returncode == 0

    def _program(self, name: str) -> str:
        return str(self._programs / name)

    def _as_user(self, argv: Sequence[str]) -> list[str]:
        if os.getuid() != 0:
            return list(argv)
        user = self._user()
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, "--", *argv]

    def _user(self) -> pwd.struct_passwd:
        for name in _USERS:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                pass
        raise AssertionError(f"there is neither of {_USERS}")
