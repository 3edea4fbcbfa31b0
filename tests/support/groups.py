"""Process groups, seen from outside: who is in them and still runs.  Needs /proc."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """One process that runs; the dead whom nobody has reaped do not."""

    pid: int
    parent: int
    group: int
    session: int


def processes() -> list[Process]:
    """Return every process that runs."""
    found: list[Process] = []
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        state, parent, group, session, *_ = text.rpartition(")")[2].split()
        if state not in "ZX":
            found.append(
                Process(int(stat.parent.name), int(parent), int(group), int(session))
            )
    return found


def groups() -> dict[int, set[int]]:
    """Return the members of every group."""
    found: dict[int, set[int]] = defaultdict(set)
    for process in processes():
        found[process.group].add(process.pid)
    return found


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [process.pid for process in processes() if process.parent == pid]


def variable(pid: int, name: str) -> str | None:
    """Return what a process was started with as that variable."""
    try:
        environ = (PROC / str(pid) / "environ").read_bytes().decode()
    except OSError:  # another user's, or it has ended
        return None
    prefix = f"{name}="
    return next(
        (
            pair.removeprefix(prefix)
            for pair in environ.split("\0")
            if pair.startswith(prefix)
        ),
        None,
    )


def with_variable(name: str, value: str, *, outside_of: int | None = None) -> set[int]:
    """Return the processes that were started with that variable, but for those of a group."""
    return {
        p.pid
        for p in processes()
        if p.group != outside_of and variable(p.pid, name) == value
    }
