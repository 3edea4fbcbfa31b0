"""`coordkit lock run`: a command that runs while it holds a lock, and not a moment longer."""

from __future__ import annotations

import click

from .._duration import DURATION
from .._exit import Exit
from .._options import common
from .._run import How, Runner, give_back, guarded, run_options
from .._settings import Settings
from ._name import NAME
from ._want import Want, want_options


@click.command(cls=Runner)
@common()
@want_options
@click.option(
    "--skip-ok", is_flag=True, help="Exit with 0 when others keep the lock, silently."
)
@click.option(
    "--hold-at-least",
    type=DURATION,
    default=0.0,
    metavar="DUR",
    help="Keep the lock taken until so long after it was taken, however short the command "
    "was.",
)
@click.argument("name", type=NAME, help="The lock.")
@run_options()
@click.pass_obj
def run(
    settings: Settings,
    name: str,
    want: Want,
    how: How,
    skip_ok: bool,
    hold_at_least: float,
) -> None:
    """
    Run COMMAND while holding the lock NAME, and pass its exit code on.

    It runs in a process group of its own, and nothing in there outlives the lease: not
    when the lease is lost, not when Redis is silent, not even when this program is
    killed or frozen. Its environment tells it COORDKIT_FENCING_TOKEN, for whatever it
    writes to to check.
    """
    if hold_at_least and (want.shared or want.slots):
        raise click.UsageError(
            "--hold-at-least is for a lock that is held alone: not with --shared, --slots"
        )
    if how.explain:
        _explain(settings, name, how)
        return
    namespace = settings.namespace.value
    with guarded(settings, how, name=name, namespace=namespace) as (guard, session):
        lock = want.lock(session, name, how.ttl, hold_at_least)
        with guard.interruptible():
            lease = want.take(lock)
        if lease is None:
            guard.events.tell("busy", cause="busy")
            if skip_ok:
                raise click.exceptions.Exit(Exit.OK)
            want.busy(lock)
        guard.events.tell("acquired", token=lease.token, identity=session.identity)
        outcome = guard.run(
            lease,
            {
                "COORDKIT_LOCK": name,
                "COORDKIT_IDENTITY": session.identity,
                "COORDKIT_NAMESPACE": namespace,
            },
        )
        give_back(guard, lease, lease.release)
        raise click.exceptions.Exit(outcome.code)


def _explain(settings: Settings, name: str, how: How) -> None:
    from coordkit._core.keys import lock_keys

    from .._explain import explain

    keys = lock_keys(settings.namespace.value, name)
    kinds = (
        "lock",
        "queue",
        "alive",
        "waiters",
        "holders",
        "records",
        "fence",
        "index",
    )
    explain(settings, how, name, {kind: getattr(keys, kind) for kind in kinds})
