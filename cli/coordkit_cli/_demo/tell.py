"""Tells what happens on the stage: in lines for people, or in JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import click

from coordkit._io.clock import now

from .._output import data, json_line, printable
from .crew import Child
from .record import Act, Happened, Recording

#: Fits a terminal of 80 columns, tokens included.
_WIDTH = 79
_LINE = 34
_STYLES: dict[str, dict[str, object]] = {
    "taken": {"fg": "green"},
    "elected": {"fg": "green"},
    "killed": {"fg": "red", "bold": True},
    "frozen": {"fg": "cyan", "bold": True},
    "lost": {"fg": "yellow"},
    "refused": {"fg": "red", "bold": True},
}


class Teller:
    """
    One event, one line; prose around it for people only.

    Instants are told in seconds from the beginning of the first act.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.recording = Recording()
        self._as_json = as_json
        self._began = now()
        self._act = 0

    def server(self, kind: str, where: str, namespace: str, text: str) -> None:
        """Say what it all runs on."""
        self.recording.where = where
        if self._as_json:
            self._object("server", kind=kind, where=where, namespace=namespace)
        else:
            self._prose(text)

    def cast(self, workers: Sequence[Child], ttl: float) -> None:
        """Say who plays."""
        self.recording.cast = [worker.name for worker in workers]
        self.recording.ttl = ttl
        if self._as_json:
            for worker in workers:
                self._object("started", worker=worker.name, pid=worker.pid)
            return
        *most, last = [f"{worker.name} (pid {worker.pid})" for worker in workers]
        self._prose(
            f"{', '.join(most)} and {last} are processes that share a till. Only the one "
            "that has its lock may touch it. The lock is had on a lease, a right that "
            f"ends by itself: coordkit renews it for as long as its holder lives, and "
            f"{ttl:g} s after the last renewal it is over."
        )

    def act(self, number: int, title: str) -> None:
        """Begin an act."""
        if number == 1:
            self._began = now()
        self._act = number
        self.recording.acts.append(Act(number, title, now() - self._began))
        if self._as_json:
            self._object("act", title=title)
        else:
            data("")
            data(click.style(f"Act {number}: {title}", bold=True))

    def event(
        self,
        at: float,
        who: Child,
        event: str,
        line: str,
        *,
        token: int | None = None,
        **facts: object,
    ) -> None:
        """Tell what happened to whom, and when by the clock that all processes share."""
        since = max(0.0, at - self._began)
        self.recording.events.append(
            Happened(since, who.name, event, line, token, facts)
        )
        if self._as_json:
            more = facts if token is None else {"token": token, **facts}
            seconds = round(since, 3)
            self._object(event, at=seconds, worker=who.name, pid=who.pid, **more)
            return
        style = _STYLES.get(event)
        told = line if token is None else f"{line:{_LINE}}"
        told = click.style(told, **style) if style else told  # type: ignore[arg-type]  # mypy: no TypedDict
        tail = "" if token is None else f"  token {token}"
        data(f"{since:6.2f} s  {click.style(f'{who.name:5}', bold=True)} {told}{tail}")

    def moral(self, text: str) -> None:
        """Say what an act has shown; only people are told."""
        self.recording.morals[self._act] = text
        if not self._as_json:
            self._prose(text, indent="  ")

    def end(self, text: str, *, ok: bool) -> None:
        """Say how it ended."""
        self.recording.ended_at = now() - self._began
        self.recording.ending = text
        if self._as_json:
            seconds = round(self.recording.ended_at, 3)
            self._object("end", ok=ok, at=seconds, **({} if ok else {"why": text}))
        elif ok:
            data("")
            self._prose(text)

    def _object(self, event: str, **facts: object) -> None:
        act = {"act": self._act} if self._act else {}
        data(json_line({"event": event, **act, **facts}))

    def _prose(self, text: str, indent: str = "") -> None:
        data(
            textwrap.fill(
                printable(text), _WIDTH, initial_indent=indent, subsequent_indent=indent
            )
        )
