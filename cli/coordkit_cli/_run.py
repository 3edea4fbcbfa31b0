"""What all commands that run another have in common: ``… run [OPTIONS] NAME [--] COMMAND…``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ._exit import Exit, Failure, Interrupted, failure
from ._output import printable
from ._run_options import ON_LOST, OPTIONS, STOP, WORDS, posix, ttl_option
from ._settings import Settings

if TYPE_CHECKING:
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
    options = [ttl_option(ttl, crash), *OPTIONS]
    given: dict[str, Any] = {}
    if not on_lost:
        options.remove(ON_LOST)
        given["on_lost"] = STOP

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def gathered(*args: Any, **typed: Any) -> Any:
            named = [name for name in How._fields if name not in given]
            how = How(**given, **{name: typed.pop(name) for name in named})
            _check(how)
            return function(*args, how=how, **typed)

        command: Callable[..., Any] = WORDS(gathered)
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
