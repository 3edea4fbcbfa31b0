"""Known wrong variants of the election; see `mutants`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

from coordkit._core import election, lease, observe, terms
from coordkit._core.claim import Claim
from coordkit._core.observe import Suspended
from coordkit._core.ops import Request, Rest, Tell
from coordkit._core.terms import ElectionEvent, Seen, Telling
from sim.mutants import Mutant as _Mutant
from sim.mutants import edited
from sim.races import RACES

Mutant = partial(_Mutant, episodes=RACES)


@contextmanager
def _relied_on_to_the_end() -> Iterator[None]:
    claim: Any = election.Office.claim

    def whole(*args: Any) -> Claim:
        asked: Claim = replace(claim(*args), belief=1.0)
        return asked

    with mock.patch.object(election.Office, "claim", whole):
        yield


@contextmanager
def _max_term_forgotten() -> Iterator[None]:
    made: Any = lease.Lease.__init__

    def endless(self: Any, *args: Any, **given: Any) -> None:
        made(self, *args, **(given | {"max_term": None}))

    with mock.patch.object(lease.Lease, "__init__", endless):
        yield


@contextmanager
def _told_from_the_beginning() -> Iterator[None]:
    news = Telling.news

    def anew(self: Telling, seen: Seen) -> Iterator[ElectionEvent]:
        yield from news(self, seen)
        self.since = "-"

    with mock.patch.object(Telling, "news", anew):
        yield


@contextmanager
def _gaps_untold() -> Iterator[None]:
    news = Telling.news

    def silent(self: Telling, seen: Seen) -> Iterator[ElectionEvent]:
        for event in news(self, seen):
            if not isinstance(event, terms.Missed):
                yield event

    with mock.patch.object(Telling, "news", silent):
        yield


@contextmanager
def _losses_unseen() -> Iterator[None]:
    def none(self: Telling, at: float) -> Iterator[ElectionEvent]:
        self._leads = None
        yield from ()

    with mock.patch.object(Telling, "_lost", none):
        yield


@contextmanager
def _silence_untold() -> Iterator[None]:
    def kept_back(event: Any) -> Request:
        return Rest(0.0) if isinstance(event, Suspended) else Tell(event)

    with mock.patch.object(observe, "Tell", kept_back):
        yield


TURN = (
    "or history and now_us - start < tonumber(redis.call('ZSCORE', queue, head) or 0)"
)
MUTANTS = [
    Mutant(
        "a term that is not raised",
        "orderly",
        lambda: edited(
            "lock_acquire",
            (
                "local last = redis.call('SET', fence, token, 'PX', 86400000, 'GET')",
                (
                    "local last token = redis.call('GET', fence) or token "
                    "redis.call('SET', fence, token, 'PX', 86400000)"
                ),
            ),
        ),
    ),
    Mutant(
        "terms that are counted",
        "data loss",
        lambda: edited(
            "lock_acquire",
            ("local token = string.format('%.0f', now_us)", "local token = '1'"),
            ("tonumber(last) >= now_us", "true"),
        ),
    ),
    Mutant(
        "a history without its terms",
        "rough",
        lambda: edited("lock_acquire", ("'term', token", "'term', '0'")),
    ),
    Mutant(
        "a pause that is not heeded",
        "paused",
        lambda: edited(
            "lock_acquire",
            ("if not held[1] and readers", "if (held[1] or '') == '' and readers"),
        ),
    ),
    Mutant(
        "the delay forgotten",
        "delayed",
        lambda: (
            edited(
                "lock_acquire", ("'PEXPIRE', lock, ttl + delay", "'PEXPIRE', lock, ttl")
            )
            | edited(
                "lock_renew", ("'PEXPIRE', lock, ttl + delay", "'PEXPIRE', lock, ttl")
            )
        ),
    ),
    Mutant(
        "priority ignored in the queue",
        "orderly",
        lambda: edited(
            "lock_acquire",
            ("'NX', now_us - start, rid", "'NX', now_us, rid"),
        ),
    ),
    Mutant(
        "a newcomer goes before who waits",
        "orderly",
        lambda: edited("lock_acquire", (TURN, "or history")),
    ),
    Mutant(
        "a newcomer never goes first",
        "orderly",
        lambda: edited("lock_acquire", (TURN, "")),
    ),
    Mutant(
        "equals are preempted",
        "rough",
        lambda: edited(
            "lock_acquire",
            (
                "tonumber(held[5]) < tonumber(ARGV[9])",
                "tonumber(held[5]) <= tonumber(ARGV[9])",
            ),
        ),
    ),
    Mutant(
        "whoever waits preempts",
        "rough",
        lambda: edited(
            "lock_acquire", ("if ARGV[10] == '1' and held[5]", "if held[5]")
        ),
    ),
    Mutant(
        "an election that is not told",
        "rough",
        lambda: edited("lock_acquire", ("if history then elected(token) end", "")),
    ),
    Mutant(
        "an election that is not published",
        "orderly",
        lambda: edited("lock_acquire", ("redis.call('PUBLISH', ARGV[12], token)", "")),
    ),
    Mutant(
        "a resignation that is not told",
        "rough",
        lambda: edited(
            "lock_release",
            ("pcall(resigned, led[1], led[2], led[3] or ARGV[7])", ""),
        ),
    ),
    Mutant(
        "who resigns wakes nobody",
        "orderly",
        lambda: edited("lock_release", ("if not led[4] then hand_over() end", "")),
    ),
    Mutant(
        "who resigns in a pause is followed",
        "paused",
        lambda: edited(
            "lock_release", ("elseif led and led[4] then", "elseif false then")
        ),
    ),
    Mutant(
        "a pause that ends with the leader's lease",
        "paused",
        lambda: edited("election_pause", ("redis.call('PERSIST', lock)", "")),
    ),
    Mutant(
        "a pause that was asked for again is made again",
        "paused",
        lambda: edited(
            "election_pause", ("if redis.call('EXISTS', tomb) == 1", "if false")
        ),
    ),
    Mutant(
        "a pause may come late",
        "paused",
        lambda: edited("election_pause", ("if now > by then return {'late'} end", "")),
    ),
    Mutant(
        "who resumes forgets the delay",
        "delayed",
        lambda: edited("election_resume", ("tonumber(held[2] or now) - now", "0")),
    ),
    Mutant(
        "any pause is resumed",
        "paused",
        lambda: edited("election_resume", ("if held[1] ~= ARGV[1]", "if not held[1]")),
    ),
    Mutant(
        "a campaign that was asked for again ends a pause",
        "paused",
        lambda: edited(
            "lock_acquire",
            ("if left >= 0 and left < ttl + delay then", "if true then"),
        ),
    ),
    Mutant(
        "a campaign that was asked for again outlives its lock",
        "paused",
        lambda: edited(
            "lock_acquire",
            ("if left >= 0 and left < ttl + delay then", "if not held[4] then"),
        ),
    ),
    Mutant(
        "the heir is not put first",
        "orderly",
        lambda: edited(
            "election_transfer",
            (
                "redis.call('ZADD', queue, math.min(-4000000000000000, first - 1), heir)",
                "",
            ),
        ),
    ),
    Mutant("a term is relied on to its end", "rough", patch=_relied_on_to_the_end),
    Mutant("a term is never over", "limited", patch=_max_term_forgotten),
    Mutant("all is told anew each time", "rough", patch=_told_from_the_beginning),
    Mutant("what was missed is not told", "data loss", patch=_gaps_untold),
    Mutant("who lost it is not seen", "rough", patch=_losses_unseen),
    Mutant("who was cut off is not told", "rough", patch=_silence_untold),
    Mutant(
        "observers do not look again when they hear again",
        "orderly",
        world=(("reconnect_wakes", False),),
    ),
]
