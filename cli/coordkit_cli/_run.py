"""What all commands that run another have in common: ``… run [OPTIONS] NAME [--] COMMAND…``."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ._duration import DURATION
from ._exit import Exit, Failure, Interrupted, failure
from ._output import printable
from ._settings import Settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from coordkit import Session

    from ._guard import Guard, Held
    from ._timeline import TimeLine

DEFAULT_TTL = 30.0


class Runner(click.Command):
    """
    A command whose options end at NAME: what follows is the command to run.

    One ``--`` in front of that is ours.  An option there could be meant for us or for
    the command: it is refused, and nothing is guessed.
    """

    allow_interspersed_args = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse *args*; take the leading ``--`` from the words of the command."""
        given = list(args)
        rest = super().parse_args(ctx, args)
        words: tuple[str, ...] = ctx.params.get("words") or ()
        if words[:1] == ("--",):
            ctx.params["words"] = words[1:]
        elif words and words[0][:1] == "-" and words[0] != "-":
            self._refuse(ctx, given, words)
        return rest

    def _refuse(
        self, ctx: click.Context, given: list[str], words: Sequence[str]
    ) -> None:
        """Say what to type instead."""
        *before, name = given[: len(given) - len(words)]
        try:
            found, _, _ = self.make_parser(ctx).parse_args(list(words))
        except click.UsageError:
            meant = f"[OPTIONS] {shlex.quote(name)} -- COMMAND"
        else:
            # An argument that is not there is neither a str nor a tuple.
            command = [found["name"]] if isinstance(found["name"], str) else []
            command += found["words"] if isinstance(found["words"], tuple) else []
            options = [w for w in words[: len(words) - len(command)] if w != "--"]
            options = _without_url([*before, *options])
            meant = shlex.join([*options, name, "--", *(command or ["COMMAND"])])
        raise click.UsageError(
            f"{words[0]!r} stands between the name {name!r} and its command; options "
            f"go before the name: {ctx.command_path} {printable(meant)}",
            ctx,
        )


def _without_url(words: Sequence[str]) -> list[str]:
    """Return *words* without a URL, which may hold a password."""
    follows = [False, *(word == "--url" for word in words)]
    return [
        "…" if url else "--url=…" if word.startswith("--url=") else word
        for word, url in zip(words, follows, strict=False)
    ]


# -- the types of its options ------------------------------------------------------------


class SignalName(click.ParamType[int]):
    """A signal, by name or number."""

    name = "signal"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return its number."""
        text = str(value).upper()
        known = {known.name: known.value for known in signal.Signals}
        number = known.get(text, known.get(f"SIG{text}", 0))
        if text.isdecimal() and int(text) in signal.valid_signals():
            number = int(text)
        if not number:
            self.fail(
                f"{value!r} is no signal: write TERM, INT, HUP, QUIT, USR1, USR2, KILL "
                "or another name of `kill -l`",
                param,
                ctx,
            )
        return number


#: What is done when the lease is lost: the stop signal, then SIGKILL.
STOP = (-1, True)


class OnLost(click.ParamType[tuple[int, bool]]):
    """What is done when the lease is lost: a signal (0: none), and whether SIGKILL follows."""

    name = "stop|signal:SIG|ignore"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, bool]:
        """Return the signal and whether SIGKILL follows; -1 is the stop signal."""
        word, _, name = str(value).partition(":")
        if value == "stop":
            return STOP
        if value == "ignore":
            return 0, False
        if word != "signal":
            self.fail(f"{value!r} is neither stop, signal:SIG nor ignore", param, ctx)
        return SIGNAL.convert(name, param, ctx), False


class WritableFd(click.ParamType[int]):
    """A file descriptor that we were started with and may write to."""

    name = "fd"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return it; the command does not inherit it, unless it is stdout or stderr."""
        if not str(value).isdecimal():
            self.fail(f"{value!r} is no number of a file descriptor", param, ctx)
        fd = int(str(value))
        if ctx is not None and ctx.resilient_parsing:
            return fd
        posix(ctx)
        import fcntl

        try:
            mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        except (OSError, OverflowError):
            self.fail(f"{fd} is not open: add {fd}>FILE, for instance", param, ctx)
        if mode == os.O_RDONLY:
            self.fail(f"{fd} is open for reading only", param, ctx)
        if fd > 2:  # noqa: PLR2004 - what is no standard stream
            os.set_inheritable(fd, False)  # noqa: FBT003 - its only parameter
        return fd


SIGNAL = SignalName()


def posix(ctx: click.Context | None) -> None:
    """Refuse to go on where there are no process groups and signals."""
    if not hasattr(os, "fork"):
        what = "it" if ctx is None else ctx.command_path
        raise Failure(
            f"{what} needs POSIX, for process groups and signals; the library works "
            "here as well",
            Exit.CONFIG,
        )


# -- its options -------------------------------------------------------------------------


class How(NamedTuple):
    """How the command is run, as the options say it.  Times in seconds."""

    words: tuple[str, ...]
    script: str | None
    ttl: float
    kill_after: float | None
    stop_signal: int
    max_runtime: float | None
    on_lost: tuple[int, bool]
    leave_group: bool
    pass_url: bool
    status_file: str | None
    event_fd: int | None
    explain: bool

    def time_line(self) -> TimeLine:
        """Return when what happens to the lease; 78 if the command's end does not fit in."""
        from ._timeline import time_line

        return time_line(self.ttl, self.kill_after)

    def guard(self, settings: Settings) -> Guard:
        """Return the guard of the command; to be called before redis is imported."""
        posix(click.get_current_context())
        line = self.time_line()
        from ._command import command_of
        from ._events import Events
        from ._guard import Guard
        from ._shim import Rules

        url_file = settings.options.get("url_file", "")
        command = command_of(
            self.words,
            self.script,
            url_from=settings.url.source,
            url_file=url_file,
            pass_url=self.pass_url,
        )
        lost_signal, lost_kills = self.on_lost
        rules = Rules(
            lost_signal=self.stop_signal if lost_signal < 0 else lost_signal,
            lost_kills=lost_kills,
            stop_signal=self.stop_signal,
            grace=line.grace,
            margin=line.margin,
            leave_group=self.leave_group,
        )
        events = Events(self.event_fd, self.status_file, settings.loudness)
        return Guard(command, rules, events, max_runtime=self.max_runtime)


@contextmanager
def guarded(
    settings: Settings, how: How, *, identity: str | None = None, **facts: Any
) -> Generator[tuple[Guard, Session]]:
    """
    Make a guard and open a session; tell how it ends, whatever ends it.

    *facts* go into the first event.  The guard comes first: it forks the shim, which is
    small as long as redis is not imported.
    """
    with how.guard(settings) as guard:
        guard.events.begin(**facts)
        try:
            with settings.session(identity=identity) as session:
                yield guard, session
        except click.exceptions.Exit as end:
            guard.events.tell("ended", exit=end.exit_code)
            raise
        except (Failure, Interrupted) as known:
            guard.events.tell("ended", exit=known.code, why=str(known))
            raise
        except click.UsageError as wrong:
            guard.events.tell("ended", exit=Exit.USAGE, why=wrong.format_message())
            raise
        except Exception as error:
            problem = failure(error, settings.source)
            guard.events.tell("ended", exit=problem.code, why=str(problem))
            raise


def give_back(guard: Guard, lease: Held, give: Callable[[], None]) -> None:
    """*Give* back a lease whose command is over; what hinders it is told, and raised no more."""
    from coordkit import CoordError, LeaseLost

    if lease.reason is not None and lease.reason != "revoked":
        return  # it is lost, and that was told
    try:
        give()
    except LeaseLost as lost:
        if lost.reason != "revoked":
            guard.events.say(f"{lost}; nobody knew before it was to be released")
    except CoordError as problem:
        guard.events.say(
            f"{lease.name!r} was not released, it ends by its ttl: {problem}"
        )
    else:
        guard.events.tell("released")


def _files(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Have the shell complete the words of the command as it does file names."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


_WORDS = click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--] COMMAND...",
    shell_complete=_files,
    help="What to run, with its own options.",
)


def _ttl_option(ttl: float, crash: str) -> Callable[[Any], Any]:
    return click.option(
        "--ttl",
        type=DURATION,
        default=ttl,
        metavar="DUR",
        help=f"How long the lease lasts without renewal: {crash}.  [default: {ttl:g}s]",
    )


_ON_LOST = click.option(
    "--on-lost",
    type=OnLost(),
    default="stop",
    help="When the lease is lost: stop the command (exit code 76), send it a signal, or "
    "let it run beside the next holder.  [default: stop]",
)
_OPTIONS = (
    click.option(
        "-k",
        "--kill-after",
        type=DURATION,
        metavar="DUR",
        help="How long the command has between the stop signal and SIGKILL.  "
        "[default: 10s, or what fits into the lease]",
    ),
    click.option(
        "--stop-signal",
        type=SIGNAL,
        default="TERM",
        metavar="SIG",
        help="What the command is asked to end with.  [default: TERM]",
    ),
    click.option(
        "--max-runtime",
        type=DURATION,
        metavar="DUR",
        help="End the command after so long; exit code 124.",
    ),
    _ON_LOST,
    click.option(
        "--leave-group",
        is_flag=True,
        help="Leave what the command has started in the background alone when it ends.",
    ),
    click.option(
        "-c",
        "script",
        metavar="STRING",
        help="Run STRING by /bin/sh, in place of COMMAND.",
    ),
    click.option(
        "--pass-url",
        is_flag=True,
        help="Leave COORDKIT_URL and REDIS_URL, which may hold a password, in the "
        "environment of the command.",
    ),
    click.option(
        "--status-file",
        metavar="FILE",
        help="Keep what has become of it in FILE, as an object of JSON.",
    ),
    click.option(
        "--event-fd",
        type=WritableFd(),
        metavar="N",
        help="Write what happens to this file descriptor, an object of JSON a line.",
    ),
    click.option(
        "--explain",
        is_flag=True,
        help="Show when what would happen, and the keys in Redis; run nothing.",
    ),
)


def run_options(
    *,
    ttl: float = DEFAULT_TTL,
    crash: str = "after a crash of this machine the lock is free so much later",
    on_lost: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Add the options of all that runs a command; the function gets them as ``how``.

    *crash*: what the ttl means.  Without *on_lost* a loss always stops the command.
    """
    options = [_ttl_option(ttl, crash), *_OPTIONS]
    given: dict[str, Any] = {}
    if not on_lost:
        options.remove(_ON_LOST)
        given["on_lost"] = STOP

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def gathered(*args: Any, **typed: Any) -> Any:
            named = [name for name in How._fields if name not in given]
            how = How(**given, **{name: typed.pop(name) for name in named})
            _check(how)
            return function(*args, how=how, **typed)

        command: Callable[..., Any] = _WORDS(gathered)
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _check(how: How) -> None:
    if how.words and how.script is not None:
        raise click.UsageError("-c and COMMAND exclude each other")
    if not how.words and how.script is None and not how.explain:
        raise click.UsageError("Missing argument 'COMMAND': what to run")
    if how.max_runtime == 0:
        raise click.UsageError("--max-runtime 0s leaves no time to run at all")
