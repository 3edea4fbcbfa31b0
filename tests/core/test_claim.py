"""The options of a lock: what they may be, and what they mean together."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest

from coordkit._core.claim import LARGEST_META, MOST_SLOTS, meta_text
from coordkit._core.keys import lock_keys
from coordkit._core.lock import acquire_call, release_call
from core.props import RID, a_claim, options

K = lock_keys("ns", "jobs")


# -- what may be asked for -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ttl": 0}, "ttl=0 is not between 0.05 and 604800 s"),
        ({"ttl": math.nan}, "ttl=nan is not"),
        ({"waiter_ttl": 0.09}, "waiter_ttl=0.09 is not between 0.1 and 60 s"),
        ({"waiter_ttl": 61}, "waiter_ttl=61 is not"),
        ({"max_hold": 0.049}, "max_hold=0.049 is not between 0.05 and 604800 s"),
        ({"max_hold": math.inf}, "max_hold=inf is not"),
        ({"hold_at_least": -1}, "hold_at_least=-1 is not between 0 and 604800 s"),
        ({"lock_delay": timedelta(days=8)}, "lock_delay=691200.0 is not between 0 and"),
        ({"slots": 0}, "slots=0 is not between 1 and 100000"),
        ({"slots": -1}, "slots=-1 is not"),
        ({"slots": MOST_SLOTS + 1}, "slots=100001 is not"),
        ({"shared": True, "slots": 2}, "shared=True and slots=2 cannot be combined"),
        (
            {"shared": True, "hold_at_least": 1},
            "they cannot be combined with shared or",
        ),
        (
            {"slots": 2, "hold_at_least": 1},
            "they cannot be combined with shared or slots",
        ),
        (
            {"shared": True, "lock_delay": 1},
            "lock_delay are for a lock that is held alone",
        ),
        ({"slots": 2, "lock_delay": 1}, "lock_delay are for a lock that is held alone"),
        ({"meta": {"x": "y" * 4096}}, "bytes long; allowed are 4096"),
        (
            {"meta": {"x": object()}},
            "meta cannot be stored as JSON: Object of type obj",
        ),
        (
            {"meta": {"x": math.nan}},
            "meta cannot be stored as JSON: Out of range float",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(
    given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError) as refused:
        options(**given)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ttl": True}, "ttl is a number of seconds or a timedelta, not bool: True"),
        ({"ttl": None}, "ttl is a number of seconds or a timedelta, not NoneType"),
        ({"waiter_ttl": "3"}, "waiter_ttl is a number of seconds"),
        ({"max_hold": "3"}, "max_hold is a number of seconds"),
        ({"hold_at_least": None}, "hold_at_least is a number of seconds"),
        ({"lock_delay": False}, "lock_delay is a number of seconds"),
        ({"fair": 1}, "fair is True or False, not 1"),
        ({"shared": "yes"}, "shared is True or False, not 'yes'"),
        ({"slots": True}, "slots is an int, not bool: True"),
        ({"slots": 2.0}, "slots is an int, not float: 2.0"),
        ({"meta": [1]}, "meta is a mapping, not list: [1]"),
        ({"meta": "{}"}, "meta is a mapping, not str: '{}'"),
        ({"name": b"jobs"}, "a name is a str, not bytes: b'jobs'"),
    ],
)
def test_a_wrong_type_is_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as refused:
        options(**given)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"ttl": 0.05, "waiter_ttl": 0.1, "max_hold": 0.05},
        {"ttl": timedelta(days=7), "waiter_ttl": 60, "max_hold": timedelta(days=7)},
        {"hold_at_least": 604_800, "lock_delay": 604_800},
        {"slots": 1},
        {"slots": MOST_SLOTS, "fair": False},
        {"shared": True, "max_hold": 3},
        {"hold_at_least": 1, "lock_delay": 1, "max_hold": 3},
    ],
)
def test_the_limits_themselves_are_allowed(given: dict[str, Any]) -> None:
    options(**given)


@pytest.mark.parametrize(
    ("meta", "stored"),
    [
        (None, "{}"),
        ({}, "{}"),
        ({"a": 1, "b": [None, True]}, '{"a":1,"b":[null,true]}'),
        (OrderedDict(a="\n"), '{"a":"\\n"}'),
        (MappingProxyType({"a": "å\x1b"}), '{"a":"\\u00e5\\u001b"}'),
    ],
)
def test_meta_is_one_line_of_ascii(meta: Any, stored: str) -> None:
    text = meta_text(meta)
    assert text == stored
    assert text.isascii()
    assert text.isprintable()


def test_meta_may_be_4096_bytes_long() -> None:
    longest = {"x": "y" * (LARGEST_META - len('{"x":""}'))}
    assert len(meta_text(longest)) == 4096
    assert json.loads(meta_text(longest)) == longest


def nested(levels: int) -> dict[str, Any]:
    return {"x": nested(levels - 1)} if levels else {}


def test_meta_may_be_16_levels_deep() -> None:
    assert json.loads(meta_text(nested(15))) == nested(15)
    assert meta_text({"x": [nested(13)]})
    deep: list[dict[str, Any]] = [
        nested(16),
        {"x": [nested(14)]},
        {"x": ({}, nested(15))},
    ]
    for deeper in deep:
        with pytest.raises(ValueError, match="meta is nested deeper than 16 levels"):
            meta_text(deeper)


def test_meta_is_as_it_was_when_the_lock_was_made() -> None:
    meta = {"step": 1}
    claim = options(meta=meta).claim("me", 2.0)
    meta["step"] = 2
    assert '{"step":1}' in claim.acquire_args


# -- what it means ---------------------------------------------------------------------


def test_a_claim_for_a_lock_alone() -> None:
    claim = a_claim(ttl=10, lock_delay=1.5, hold_at_least=0.25, meta={"a": 1})
    assert (claim.kind, claim.mode, claim.member) == ("lock", "x", "lock:jobs")
    asked = acquire_call(claim, RID, queue=True)
    assert asked.script == "lock_acquire"
    assert asked.args == (RID, 3000, 10_000, 1500, 1, "me", '{"a":1}', "lock:jobs")
    ended = release_call(claim, RID, 60_000)
    assert ended.script == "lock_release"
    assert ended.args[:3] == (RID, 60_000, 250)
    assert ended.args[-1] == "ck:1:ns:wake:"
    assert asked.keys[-1] == ended.keys[-1] == K.tomb + RID
    assert asked.timeout == ended.timeout == 2.0


@pytest.mark.parametrize(("given", "limit"), [({"shared": True}, 0), ({"slots": 3}, 3)])
def test_a_claim_for_a_shared_lock(given: dict[str, Any], limit: int) -> None:
    claim = a_claim(ttl=10, fair=False, **given)
    assert (claim.kind, claim.mode, claim.limit) == ("share", "s", limit)
    asked = acquire_call(claim, RID, queue=True)
    wake = "ck:1:ns:wake:"
    assert asked.script == "share_acquire"
    own = (10_000, limit, 0, "me", "{}", "lock:jobs", wake)
    assert asked.args == (RID, 3000, *own)
    ended = release_call(claim, RID, 60_000)
    assert ended.script == "share_release"
    assert ended.args == (RID, 60_000, "lock:jobs", wake)
    assert asked.keys[-1] == ended.keys[-1] == K.tomb + RID


@pytest.mark.parametrize(
    ("given", "first", "ms"),
    [
        ({"ttl": 10}, 10.0, 10_000),
        ({"ttl": 10, "max_hold": 20}, 10.0, 10_000),
        ({"ttl": 10, "max_hold": 4}, 4.0, 4000),
        ({"ttl": 1.0001}, 1.0001, 1001),
    ],
)
def test_the_first_lease_is_no_longer_than_max_hold(
    given: dict[str, Any], first: float, ms: int
) -> None:
    claim = a_claim(**given)
    assert claim.first_ttl == first
    assert acquire_call(claim, RID, queue=False).args[2] == ms


@pytest.mark.parametrize(
    ("ttl", "timeout"), [(0.05, 0.01), (5, 1.0), (30, 2.0), (604_800, 2.0)]
)
def test_short_leases_have_short_calls(ttl: float, timeout: float) -> None:
    claim = a_claim(ttl=ttl)
    assert claim.call_timeout == pytest.approx(timeout)
    assert claim.patience == ttl


def test_the_sessions_timeout_bounds_every_call() -> None:
    assert options(ttl=30).claim("me", 0.5).call_timeout == 0.5


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "ttl=30"),
        ({"ttl": 0.25, "fair": False}, "ttl=0.25 unfair"),
        ({"shared": True}, "ttl=30 shared"),
        ({"slots": 5}, "ttl=30 slots=5"),
    ],
)
def test_options_are_shown(given: dict[str, Any], shown: str) -> None:
    assert options(**given).shown() == shown
