"""How a lock is wanted: what `lock run` and `lock acquire` have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from .._duration import DURATION
from .._exit import Exit, Failure
from .._output import printable
from ._told import told

if TYPE_CHECKING:
    from coordkit import Lease, Lock, Session

#: As the library has it.
MOST_SLOTS = 100_000


class Want(NamedTuple):
    """Which lock, and how long to wait for it.  Times in seconds."""

    nonblock: bool
    wait: float | None
    busy_code: int
    shared: bool
    slots: int | None
    reason: str | None

    def lock(
        self, session: Session, name: str, ttl: float, hold_at_least: float = 0.0
    ) -> Lock:
        """Return the lock; 64 if its options do not go together."""
        try:
            return session.lock(
                name,
                ttl=ttl,
                shared=self.shared,
                slots=self.slots,
                hold_at_least=hold_at_least,
                meta={"reason": self.reason} if self.reason else None,
            )
        except ValueError as error:
            raise click.UsageError(printable(str(error))) from None

    def take(self, lock: Lock) -> Lease | None:
        """Take the lock; None when others keep it as long as we wait."""
        from coordkit import LockTimeout

        if self.nonblock or self.wait == 0:
            return lock.try_acquire()
        try:
            return lock.acquire(self.wait)
        except ValueError as error:
            raise click.UsageError(printable(str(error))) from None
        except LockTimeout:
            return None

    def busy(self, lock: Lock) -> NoReturn:
        """Say who has it instead."""
        info = lock.info()
        who = told(info) if info is not None else f"{lock.name} was not free in time"
        raise Failure(who, self.busy_code)


_OPTIONS = (
    click.option("-n", "--nonblock", is_flag=True, help="Do not wait."),
    click.option(
        "-w", "--wait", type=DURATION, metavar="DUR", help="Wait no longer than this."
    ),
    click.option(
        "-E",
        "--conflict-exit-code",
        "busy_code",
        type=click.IntRange(0, 255),
        default=int(Exit.NOT_ACQUIRED),
        metavar="N",
        help="The exit code when others keep the lock.  [default: 75]",
    ),
    click.option(
        "--shared",
        is_flag=True,
        help="Hold it together with others who want it shared, but with nobody else.",
    ),
    click.option(
        "--slots",
        type=click.IntRange(1, MOST_SLOTS),
        metavar="N",
        help="Hold it together with N - 1 others at most; all have to say the same N.",
    ),
    click.option(
        "--reason", metavar="TEXT", help="Why, for those who ask who holds it."
    ),
)


def want_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options; *function* gets them as ``want``."""

    @wraps(function)
    def gathered(*args: Any, **options: Any) -> Any:
        want = Want(**{name: options.pop(name) for name in Want._fields})
        _check(want)
        return function(*args, want=want, **options)

    command: Callable[..., Any] = gathered
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _check(want: Want) -> None:
    excluding = {
        "--nonblock and --wait": want.nonblock and want.wait is not None,
        "--shared and --slots": want.shared and want.slots is not None,
    }
    for pair, given in excluding.items():
        if given:
            raise click.UsageError(f"{pair} exclude each other")
