"""What every exit code means, and which error has which."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum


class Exit(IntEnum):
    """The exit codes that are our own: those of sysexits.h, flock(1) and the shells."""

    OK = 0
    #: a question was answered *no*
    NO = 1
    #: nobody leads
    VACANT = 3
    USAGE = 64
    #: Redis gave no answer, or refused
    UNREACHABLE = 69
    #: something that must not happen
    BUG = 70
    #: others kept the lock
    NOT_ACQUIRED = 75
    LEASE_LOST = 76
    NOT_PERMITTED = 77
    #: bad or unsafe configuration
    CONFIG = 78
    #: the command ran for as long as it may
    MAX_RUNTIME = 124
    #: the guard could not do its part
    UNGUARDED = 125
    #: the command cannot be executed
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    #: 128 + SIGINT
    INTERRUPTED = 130
    #: 128 + SIGPIPE: whoever read our output has closed it
    HUNG_UP = 141


#: What `coordkit --help` says of them.
MEANINGS = {
    Exit.OK: "yes",
    Exit.NO: "no",
    Exit.VACANT: "nobody leads",
    Exit.USAGE: "usage",
    Exit.UNREACHABLE: "Redis unreachable",
    Exit.BUG: "bug",
    Exit.NOT_ACQUIRED: "not acquired",
    Exit.LEASE_LOST: "lease lost",
    Exit.NOT_PERMITTED: "not permitted",
    Exit.CONFIG: "bad or unsafe configuration",
    Exit.MAX_RUNTIME: "--max-runtime is over",
    Exit.UNGUARDED: "the guard could not do its part",
    Exit.NOT_EXECUTABLE: "command not executable",
    Exit.NOT_FOUND: "command not found",
    Exit.INTERRUPTED: "interrupted",
    Exit.HUNG_UP: "output closed",
}


def told() -> str:
    """Return the exit codes in a sentence."""
    codes = ", ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items())
    return (
        f"Exit codes: {codes}. Those of a command that is run are its own, and 128 + N "
        "when signal N ended it."
    )


#: By the name of the error: naming the class would import the library, and so redis.
#: The most special class that is listed counts.
CODES = {
    "Unreachable": Exit.UNREACHABLE,
    "LockTimeout": Exit.NOT_ACQUIRED,
    "LeaseLost": Exit.LEASE_LOST,
    "NotHeld": Exit.LEASE_LOST,
    "StaleToken": Exit.NO,
    "Overtaken": Exit.NO,
    "OutOfBounds": Exit.NO,
    "NotAllAdded": Exit.NO,
    "FenceRegression": Exit.UNREACHABLE,
    "IdRegression": Exit.UNREACHABLE,
    "NoLeader": Exit.NO,
    "NoCandidate": Exit.NO,
    "NoMember": Exit.NO,
    "StaleGroup": Exit.UNREACHABLE,
    "EmptyRing": Exit.NO,
    "NoNode": Exit.NO,
    "RingChanged": Exit.NOT_ACQUIRED,
    "StaleRing": Exit.UNREACHABLE,
    "DamagedRing": Exit.CONFIG,
    "Overloaded": Exit.NOT_ACQUIRED,
    "KeyConflict": Exit.CONFIG,
    "Unsupported": Exit.CONFIG,
    "Refused": Exit.UNREACHABLE,
    "NotPermitted": Exit.NOT_PERMITTED,
}

#: What to do next, where the error does not say it.
_ADVICE = {
    "Unreachable": "is it running? The URL comes from {source}; --url or COORDKIT_URL "
    "names another",
    "NotPermitted": "check the user and the password (the URL comes from {source}) and "
    "what the server's ACL allows",
    "Refused": "nothing was done; the server's log may say more",
    "KeyConflict": "choose another name, or another --namespace",
    "DamagedRing": "`coordkit ring verify` says more; an export can be imported --over it",
}


class Interrupted(BaseException):
    """A signal came while nothing but waiting was done: the program ends with 128 + it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.code = 128 + signum


class Failure(Exception):
    """Ends the program with *code* and one line on stderr."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def sensible() -> Generator[None]:
    """Report what the library refuses as wrong usage, in its own words."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise Failure(str(error), Exit.USAGE) from None


def kind_of(error: BaseException) -> str | None:
    """Return the name under which *error* is listed; None if it is none of coordkit's."""
    names = [cls.__name__ for cls in type(error).__mro__]
    if "CoordError" not in names:
        return None
    return next((name for name in names if name in CODES), None)


def failure(error: BaseException, source: str) -> Failure:
    """Return what *error* means to the user; *source*: what had named the server."""
    kind = kind_of(error)
    if kind is None and isinstance(error, OSError):
        return Failure(str(error), Exit.BUG)  # ours to foresee; yet it says it all
    if kind is None:
        return Failure(f"this is a bug, please report it: {_pinned(error)}", Exit.BUG)
    said = str(error).rstrip(".")
    advice = _ADVICE.get(kind, "").format(source=source)
    return Failure(f"{said}; {advice}" if advice else said, CODES[kind])


def _pinned(error: BaseException) -> str:
    """Return what was raised and where, in one line: all that a report needs at first."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename.replace("\\", "/").rpartition("/")[2]
        where = f" (in {code.co_name}, {name}:{trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{where}"
