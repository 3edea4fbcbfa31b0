"""Known wrong variants of counters, fences and ids; see `mutants`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from coordkit._core import counter, fence, lanes
from coordkit._core.asking import ask, insist
from coordkit._core.counter import CounterInfo, Tally
from coordkit._core.ids import Blocks
from coordkit._core.lanes import Lane, Lanes
from coordkit._core.ops import Call, Op, Reply
from coordkit.errors import Unreachable
from sim.counts import EPISODES
from sim.mutants import Mutant as _Mutant
from sim.mutants import edited

Mutant = partial(_Mutant, episodes=EPISODES)

MEMO_OF_COUNTERS = "if last and tonumber(last) == seq then"
LATE = "if last and tonumber(last) > seq then"


@contextmanager
def _new_request_each_time(module: Any) -> Iterator[None]:
    """Each retry is another request: its own number, as a client without a rid has it."""
    count = iter(range(10**6, 10**9))

    def afresh(call: Call, patience: float | None = None) -> Op[Reply]:
        asking = insist(call, patience)
        request: Any = next(asking)
        while True:
            if isinstance(request, Call):
                request = request._replace(args=(next(count), *request.args[1:]))
            try:
                answer = yield request
            except Unreachable as error:
                request = asking.throw(error)
            else:
                try:
                    request = asking.send(answer)
                except StopIteration as stop:
                    reply: Reply = stop.value
                    return reply

    with mock.patch.object(module, "insist", afresh):
        yield


@contextmanager
def _forgetful() -> Iterator[None]:
    with mock.patch.object(lanes, "REMEMBERED_MS", 50):
        yield


@contextmanager
def _torn() -> Iterator[None]:
    """Read one shard after the other, each at its own instant."""
    info = Tally.info

    def torn(self: Tally) -> Op[CounterInfo]:
        whole = yield from info(self)
        value = 0
        for shard in range(whole.shards):
            key = self._shard(shard).counter
            reply = yield from ask(Call("counter_get", (key,), (), 0.4))
            value += int(reply.value[0] or 0)
        return CounterInfo(whole.name, value, whole.shards, whole.seen)

    with mock.patch.object(Tally, "info", torn):
        yield


@contextmanager
def _one_lane_for_all() -> Iterator[None]:
    """A lane is given to others before its request has ended."""
    take = Lanes.take

    def shared(self: Lanes) -> Lane:
        lane = take(self)
        self.give(lane)
        return lane

    with mock.patch.object(Lanes, "take", shared):
        yield


@contextmanager
def _id_of_the_session() -> Iterator[None]:
    """The id that a caller has chosen means something else to each session."""

    def own(name: str, rid: str) -> Lane:
        return lanes.chosen(name, f"{rid} {next(count)}")

    count = iter(range(10**9))
    with mock.patch.object(counter, "chosen", own):
        yield


@contextmanager
def _ids_from_the_middle() -> Iterator[None]:
    take = Blocks.take

    def off_by_one(self: Blocks, last: int) -> Op[range]:
        taken = yield from take(self, last)
        return range(taken[0] - 1, taken[-1] + 1)

    with mock.patch.object(Blocks, "take", off_by_one):
        yield


def _without(script: str, *lines: str) -> dict[str, str]:
    """Return *script* with these conditions never true."""
    return edited(script, *((line, f"if false and {line[3:]}") for line in lines))


def _tokens(scripts: Sequence[str], sign: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for script in scripts:
        shown = "ARGV[1]" if script == "fence_check" else "token"
        old = f"tonumber({shown}) < tonumber(seen)"
        found |= edited(script, (old, old.replace("<", sign)))
    return found


COUNTERS = ("counter_add", "counter_set")
FENCES = ("fence_check", "fence_write", "fence_append")

MUTANTS = [
    Mutant(
        "add: a retry without a rid",
        "rough",
        patch=partial(_new_request_each_time, counter),
    ),
    Mutant(
        "fence: a retry without a rid",
        "rough",
        patch=partial(_new_request_each_time, fence),
    ),
    Mutant("memo forgotten too early", "rough", patch=_forgetful),
    Mutant(
        "add: the memo is not looked at",
        "rough",
        lambda: _without("counter_add", MEMO_OF_COUNTERS),
    ),
    Mutant(
        "append: the memo is not looked at",
        "rough",
        lambda: _without("fence_append", "if before and tonumber(before) == seq then"),
    ),
    Mutant(
        "write: the memo is not looked at",
        "rough",
        lambda: _without("fence_write", "if last and tonumber(last) == seq then"),
    ),
    Mutant(
        "set: the memo is not looked at",
        "rough",
        lambda: _without("counter_set", MEMO_OF_COUNTERS),
    ),
    Mutant(
        "add: a straggler is not too late",
        "twice",
        lambda: _without("counter_add", LATE),
    ),
    Mutant(
        "add: a refusal is not remembered",
        "rough",
        lambda: edited(
            "counter_add", ("if #KEYS > 3 or (", "if answers[1] == 'added' and (")
        ),
    ),
    Mutant(
        "cas: a refusal is not remembered",
        "twice",
        lambda: edited(
            "fence_write",
            (
                "redis.call('SET', memo,",
                "if verdict == 'done' then redis.call('SET', memo,",
            ),
            ("'PX', ARGV[2])\nreturn", "'PX', ARGV[2]) end\nreturn"),
        ),
    ),
    Mutant("a lane for several requests at once", "orderly", patch=_one_lane_for_all),
    Mutant("a chosen id of the session only", "rough", patch=_id_of_the_session),
    Mutant(
        "add: the sum of doubles is stored",
        "orderly",
        lambda: edited(
            "counter_add",
            (
                "local now = redis.call('HINCRBY', counter, 'value', amount)",
                (
                    "local now = before + amount "
                    "redis.call('HSET', counter, 'value', string.format('%.0f', now))"
                ),
            ),
        ),
    ),
    Mutant(
        "add: the answer is a double",
        "orderly",
        lambda: edited("counter_add", ("math.abs(now) < 9007199254740992", "true")),
    ),
    Mutant(
        "add: bounds are not looked at",
        "orderly",
        lambda: _without("counter_add", "if less(before"),
    ),
    Mutant(
        "add: bounds are compared as text",
        "orderly",
        lambda: edited(
            "counter_add",
            ("return a ~= b and (a < b) ~= negative", "return a < b"),
            ("if #a ~= #b then return (#a < #b) ~= negative end", ""),
        ),
    ),
    Mutant(
        "counters: tokens compared the wrong way",
        "orderly",
        lambda: _tokens(COUNTERS, ">"),
    ),
    Mutant(
        "counters: a token admitted only once",
        "orderly",
        lambda: _tokens(COUNTERS, "<="),
    ),
    Mutant(
        "fences: tokens compared the wrong way", "orderly", lambda: _tokens(FENCES, ">")
    ),
    Mutant(
        "fences: a token admitted only once", "orderly", lambda: _tokens(FENCES, "<=")
    ),
    Mutant(
        "add: the token is not remembered",
        "orderly",
        lambda: _without("counter_add", "if token ~= '' and seen ~= token then"),
    ),
    Mutant(
        "delete: the token is forgotten",
        "orderly",
        lambda: edited(
            "counter_set",
            ("redis.call('HDEL', counter, 'value')", "redis.call('DEL', counter)"),
            (
                "if token ~= '' then redis.call('HSET'",
                "if token == '' then redis.call('HSET'",
            ),
        ),
    ),
    Mutant("a sharded value read torn", "orderly", patch=_torn),
    Mutant("ids: blocks overlap by one", "orderly", patch=_ids_from_the_middle),
    Mutant(
        "ids: a block is not taken off",
        "orderly",
        lambda: edited(
            "ids_take",
            ("redis.call('SET', KEYS[1], string.format('%.0f', ends))", ""),
        ),
    ),
]
