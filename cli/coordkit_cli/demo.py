"""`coordkit demo`: three processes, a lock, a leader, and the worst that can happen."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from ._exit import Exit, Failure
from ._options import common
from ._settings import Settings

if TYPE_CHECKING:
    from coordkit import Session

    from ._demo.crew import Child, Crew
    from ._demo.record import Recording
    from ._demo.server import Choice, Server
    from ._demo.tell import Teller

NAMES = ("Ann", "Bob", "Cleo")
MORAL = (
    "So: one holder at a time, in turn; a dead one replaced without anybody's help; a "
    "late write refused. Two things take more than a lock. The refusal takes a store "
    "that checks the token, as coordkit's fences do: any other would have lost the 250. "
    "And a Redis that loses its data, or whose lagging replica is promoted, may let two "
    "hold the lock for a while: then only the tokens tell them apart."
)


@click.command()
@common()
@click.option(
    "--server",
    type=click.Choice(["auto", "redis", "fake"]),
    default="auto",
    help="auto: the Redis that --url or the environment names, else as redis, else as "
    "fake. redis: a private redis-server or valkey-server of this machine. fake: "
    "fakeredis (pip install 'coordkit[demo]').",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw what happened, as a page with one picture that needs nothing else.",
)
@click.pass_obj
def demo(settings: Settings, server: Choice, html: Path | None) -> None:
    """
    Watch three processes share a lock and a leader, in some ten seconds.

    They queue for it; the one that has it is killed; another is frozen and comes back
    too late; and a leader is killed and replaced. It runs on a private server that is
    gone at the end; or, if --url or the environment names a Redis, there, in a namespace
    of its own that it cleans up.
    """
    if server != "auto" and {"url", "url_file"} & settings.options.keys():
        raise Failure(f"--server {server} and --url exclude each other", Exit.USAGE)
    from ._demo.crew import Crew, Wrong
    from ._demo.tell import Teller

    if html is not None:
        _touch(html)  # before ten seconds are spent in vain
    _end_as_asked()
    teller = Teller(as_json=settings.as_json)
    try:
        with Crew() as crew:
            _perform(settings, server, crew, teller)
    except Wrong as wrong:
        teller.end(str(wrong), ok=False)
        raise Failure(
            f"the demo went wrong, please report it: {wrong}", Exit.BUG
        ) from None
    finally:
        if html is not None and teller.recording.ending:
            _draw(teller.recording, html)


def _touch(html: Path) -> None:
    """Make sure that the page can be written; what is there stays until it is."""
    try:
        with html.open("ab"):
            pass
    except OSError as error:
        raise Failure(f"cannot write {html}: {error.strerror}", Exit.USAGE) from None


def _draw(recording: Recording, html: Path) -> None:
    from ._demo.picture import page

    try:
        html.write_text(page(recording), "utf-8")
    except OSError as error:
        raise Failure(f"cannot write {html}: {error.strerror}", Exit.BUG) from None


def _end_as_asked() -> None:
    """Have the signals that end a program end this one with a clean-up."""

    def end(number: int, _frame: object) -> NoReturn:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


def _perform(settings: Settings, choice: Choice, crew: Crew, teller: Teller) -> None:
    """Find a server, play, and leave nothing there."""
    import secrets

    from coordkit import Unreachable

    from ._demo import server
    from ._demo.crew import Wrong

    if choice == "auto" and settings.url.explicit:
        chosen = server.Server("given", settings.url.value)
    else:
        chosen = server.start(crew, choice)
    given = chosen.kind == "given"
    url, namespace = "" if given else chosen.url, f"demo-{secrets.token_hex(6)}"
    try:
        with settings.session(url=url, namespace=namespace) as session:
            session.ping()
            _say_where(settings, chosen, session, teller)
            _play(_workers(chosen, session, crew, teller), session, crew, teller, given)
    except Unreachable as silent:
        if not given:
            raise Wrong(str(silent)) from None
        raise Failure(
            f"{silent}; the URL comes from {settings.source}; coordkit demo --server "
            "redis shows the same on a private server",
            Exit.UNREACHABLE,
        ) from None


def _say_where(
    settings: Settings, chosen: Server, session: Session, teller: Teller
) -> None:
    where = chosen.told
    if chosen.kind == "given":
        where = session.address
        text = (
            f"Using {where} (from {settings.url.source}), in the namespace "
            f"{session.namespace} and nowhere else."
        )
    elif chosen.kind == "redis":
        text = f"Using a private {where}; it is gone when the demo ends."
    else:
        text = f"Using {where}; it is gone when the demo ends."
    teller.server(chosen.kind, where, session.namespace, text)


def _workers(
    chosen: Server, session: Session, crew: Crew, teller: Teller
) -> list[Child]:
    """Start the workers; return when they are connected."""
    from ._demo.acts import LOCK, TTL

    workers = [crew.start_python(name, "worker") for name in NAMES]
    for worker in workers:
        worker.order(
            "start",
            url=chosen.url,
            namespace=session.namespace,
            lock=LOCK,
            ttl=TTL,
        )
    for worker in workers:
        worker.expect("ready", within=20.0)
    teller.cast(workers, TTL)
    return workers


def _play(
    workers: list[Child], session: Session, crew: Crew, teller: Teller, given: bool
) -> None:
    from ._demo import server
    from ._demo.acts import FIELD, LOCK, Acts

    acts = Acts(teller, workers, session)
    try:
        acts.play()
    finally:
        if given:
            crew.end_all()
            server.forget(session, LOCK, FIELD, acts.holders)
    teller.end(MORAL, ok=True)
