"""Key names: what every version must agree on, byte for byte."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from coordkit._core.keys import (
    BUCKETS,
    LONGEST_NAME,
    LockKeys,
    bucket_of,
    check_name,
    check_namespace,
    counter_keys,
    fence_keys,
    ids_key,
    index_keys,
    lasting_keys,
    lock_keys,
    news_channel,
    ring_keys,
    wake_prefix,
)

NAMESPACES = st.text("ABYZabyz019._-", min_size=1, max_size=64)
#: any character that may stand in a name, those that could confuse a key more often
CHARACTERS = st.one_of(
    st.sampled_from("{}:*?[]\\ \"'"),
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")),
)
NAMES = st.text(CHARACTERS, min_size=1).filter(
    lambda name: len(name.encode()) <= LONGEST_NAME
)

#: Each key, taken apart.  The tombstone's name is a rid, which its key is completed with.
KEY = re.compile(
    r"ck:1:(?P<namespace>[A-Za-z0-9._-]{1,64}):\{(?P<bucket>[0-9a-f]{2})\}:"
    r"(?P<kind>[a-z]+)(:(?P<name>.*))?",
    re.DOTALL,
)


class Part(NamedTuple):
    namespace: str
    bucket: int
    kind: str
    name: str | None


def parse(key: str) -> Part:
    found = KEY.fullmatch(key)
    assert found is not None, key
    namespace, bucket, kind, name = found.group("namespace", "bucket", "kind", "name")
    return Part(namespace, int(bucket, 16), kind, name)


def keys_of(namespace: str, name: str) -> dict[str, str]:
    """Every key of a lock, a fence, a counter and ids of that name, by what it is."""
    keys = lock_keys(namespace, name)
    named = {
        field.name: getattr(keys, field.name)
        for field in dataclasses.fields(LockKeys)
        if field.name != "bucket"
    }
    fence, counter = fence_keys(namespace, name), counter_keys(namespace, name)
    return {
        **named,
        "guard": fence.guard,
        "journal": fence.journal,
        "memo": fence.memo,
        "counter": counter.counter,
        "lasting": counter.lasting,
        "ids": ids_key(namespace, name),
    }


# -- golden ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        # from the reference implementation of XXH64, seed 0
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
        ("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
        # pinned
        ("jobs", 0x4A414F9837CE27B0),
        ("ключ", 0xA17D2DD13D89D19C),
        ("}{", 0xF4205B24E3092A44),
        ("a" * 512, 0x7C6428D1B821E1C7),
    ],
)
def test_the_bucket_is_xxh64_modulo_256(name: str, digest: int) -> None:
    assert bucket_of(name) == digest % 256


def test_golden_keys() -> None:
    assert keys_of("default", "jobs") == {
        "lock": "ck:1:default:{b0}:lock:jobs",
        "queue": "ck:1:default:{b0}:queue:jobs",
        "alive": "ck:1:default:{b0}:alive:jobs",
        "waiters": "ck:1:default:{b0}:waiters:jobs",
        "holders": "ck:1:default:{b0}:holders:jobs",
        "records": "ck:1:default:{b0}:records:jobs",
        "tomb": "ck:1:default:{b0}:tomb:",
        "fence": "ck:1:default:{b0}:fence",
        "index": "ck:1:default:{b0}:index",
        "guard": "ck:1:default:{b0}:guard:jobs",
        "journal": "ck:1:default:{b0}:journal:jobs",
        "memo": "ck:1:default:{b0}:memo:",
        "counter": "ck:1:default:{b0}:counter:jobs",
        "lasting": "ck:1:default:{b0}:lasting",
        "ids": "ck:1:default:{b0}:ids:jobs",
    }
    assert lock_keys("default", "jobs").bucket == 0xB0
    assert lock_keys("A.b_c-9", "}{").lock == "ck:1:A.b_c-9:{44}:lock:}{"
    assert wake_prefix("default") == "ck:1:default:wake:"


def test_golden_keys_of_a_ring() -> None:
    assert dataclasses.asdict(ring_keys("default", "jobs")) == {
        "bucket": 0xB0,
        "points": "ck:1:default:{b0}:ring.points:jobs",
        "nodes": "ck:1:default:{b0}:ring.nodes:jobs",
        "meta": "ck:1:default:{b0}:ring.meta:jobs",
        "log": "ck:1:default:{b0}:ring.log:jobs",
        "packed": "ck:1:default:{b0}:ring.packed:jobs",
        "assigned": "ck:1:default:{b0}:ring.assigned:jobs",
        "loads": "ck:1:default:{b0}:ring.loads:jobs",
        "staged": "ck:1:default:{b0}:ring.staged:",
        "tomb": "ck:1:default:{b0}:tomb:",
        "lasting": "ck:1:default:{b0}:lasting",
        "live": {
            "bucket": 0xB0,
            "group": "ck:1:default:{b0}:ring.live:jobs",
            "alive": "ck:1:default:{b0}:ring.live.alive:jobs",
            "log": "ck:1:default:{b0}:ring.live.log:jobs",
            "turn": "ck:1:default:{b0}:ring.live.turn:jobs",
            "tomb": "ck:1:default:{b0}:tomb:",
            "fence": "ck:1:default:{b0}:fence",
            "index": "ck:1:default:{b0}:index",
        },
    }
    assert news_channel("default", "ring", "a:b") == "ck:1:default:news:ring:a:b"


def test_what_lasts_is_listed_beside_what_expires() -> None:
    lasting = lasting_keys("ns")
    assert len(set(lasting)) == BUCKETS
    assert lasting[10] == "ck:1:ns:{0a}:lasting"
    assert not set(lasting) & set(index_keys("ns"))


def test_a_bucket_is_two_hexadecimal_digits() -> None:
    indexes = index_keys("ns")
    assert len(set(indexes)) == len(indexes) == BUCKETS == 256
    assert indexes[0] == "ck:1:ns:{00}:index"
    assert indexes[10] == "ck:1:ns:{0a}:index"
    assert indexes[255] == "ck:1:ns:{ff}:index"


def test_names_spread_over_the_buckets() -> None:
    counts = [0] * BUCKETS
    for n in range(10_000):
        counts[bucket_of(f"job-{n}")] += 1
    assert 15 <= min(counts) <= max(counts) <= 75  # 39 on average; 5 σ is 31


# -- whatever the name ---------------------------------------------------------------


@given(NAMESPACES, NAMES)
@example("ns", "}")
@example("ns", "{}")
@example("ns", "{b0}:lock:jobs")
@example("ns", "a:lock:b")
def test_all_keys_of_a_name_share_a_slot(namespace: str, name: str) -> None:
    keys = keys_of(namespace, name)
    keys["tomb"] += "0123456789abcdef" * 2 + "x"
    keys["memo"] += "0123456789abcdef-0"
    keys["value"] = fence_keys(namespace, name).value + name
    assert counter_keys(namespace, name).memo == fence_keys(namespace, name).memo
    assert len({key_slot(key.encode()) for key in keys.values()}) == 1
    index = index_keys(namespace)[bucket_of(name)]
    assert index == keys["index"]


@given(NAMESPACES, NAMES)
def test_a_key_tells_what_it_is_of(namespace: str, name: str) -> None:
    """So no two of (namespace, kind, name) have the same key."""
    keys = keys_of(namespace, name)
    for kind, key in keys.items():
        of = {
            "fence": None,
            "index": None,
            "lasting": None,
            "tomb": "",
            "memo": "",
        }.get(kind, name)
        assert parse(key) == Part(namespace, bucket_of(name), kind, of)
    assert len(set(keys.values())) == len(keys)


@given(NAMES, NAMES, NAMES, NAMES)
@example("a", "b:c", "a:b", "c")
@example("a%3A", "b", "a:", "b")
def test_a_field_of_a_fence_is_of_that_fence(a: str, b: str, c: str, d: str) -> None:
    one, other = fence_keys("ns", a).value + b, fence_keys("ns", c).value + d
    assert (one == other) is ((a, b) == (c, d))


@given(NAMES)
def test_each_shard_of_a_counter_has_a_bucket_of_its_own(name: str) -> None:
    shards = [counter_keys("ns", name, n) for n in range(BUCKETS)]
    found = [parse(shard.counter) for shard in shards]
    assert {part.name for part in found} == {name}
    assert [part.bucket for part in found] == [
        (bucket_of(name) + n) % BUCKETS for n in range(BUCKETS)
    ]
    for keys in shards[:3]:
        assert key_slot(keys.counter.encode()) == key_slot(keys.memo.encode())
        assert key_slot(keys.counter.encode()) == key_slot(keys.lasting.encode())
    assert [shard.lasting for shard in sorted(shards, key=lambda s: s.lasting)] == list(
        lasting_keys("ns")
    )


@given(NAMES)
def test_any_printable_name_is_a_name(name: str) -> None:
    assert check_name(name) == name


def test_no_key_can_be_taken_for_a_wake_channel() -> None:
    channel = wake_prefix("ns") + "0123456789abcdef"
    assert KEY.fullmatch(channel) is None
    assert all(KEY.fullmatch(key) for key in keys_of("ns", "wake").values())


# -- what may be a name ----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "a",
        " ",
        "}",
        "{}",
        "a{b}c",
        "*?[a-z]\\",
        "a:b:c",
        "två ord",
        "日本",
        "👩‍🚀",  # holds a joiner, which is no control character
        "x" * 512,
        "é" * 256,
    ],
)
def test_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "name '' is 0 bytes long; allowed are 1 to 512"),
        ("x" * 513, f"name '{'x' * 64}…' is 513 bytes long; allowed are 1 to 512"),
        ("é" * 257, "is 514 bytes long"),
        ("a\nb", r"name 'a\nb' contains the control character '\n'"),
        ("a\0", r"contains the control character '\x00'"),
        ("\x1b[31mred", r"contains the control character '\x1b'"),
        ("a\x7f", r"contains the control character '\x7f'"),
        ("a\x85", r"contains the control character '\x85'"),
        ("a\u2028b", r"contains the control character '\u2028'"),
        ("\ud800", r"contains the control character '\ud800'"),
        ("x" * 600 + "\n", f"name '{'x' * 64}' contains"),
    ],
)
def test_no_name(name: str, shown: str) -> None:
    with pytest.raises(ValueError) as refused:
        check_name(name)
    assert shown in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", [None, 7, b"jobs", ["jobs"], True])
def test_a_name_is_a_str(name: Any) -> None:
    with pytest.raises(TypeError) as refused:
        check_name(name)
    kind = type(name).__name__
    assert str(refused.value) == f"a name is a str, not {kind}: {name!r}"


def test_the_refusal_says_what_was_refused() -> None:
    with pytest.raises(ValueError, match="identity '' is 0 bytes long"):
        check_name("", "identity")
    with pytest.raises(TypeError, match="a field is a str, not int: 7"):
        check_name(7, "field")  # type: ignore[arg-type]  # the wrong type is the case


@given(st.characters(categories=("Cc", "Cs", "Zl", "Zp")))
def test_no_control_character_is_let_through(character: str) -> None:
    assert unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
    with pytest.raises(ValueError, match="control character"):
        check_name(f"a{character}b")


@pytest.mark.parametrize("namespace", ["a", "default", "A-Z._9", "x" * 64, "-", "."])
def test_a_namespace(namespace: str) -> None:
    assert check_namespace(namespace) == namespace


@pytest.mark.parametrize(
    "namespace", ["", "x" * 65, "a b", "a:b", "{a}", "ä", "a\n", "a/b", "*"]
)
def test_no_namespace(namespace: str) -> None:
    with pytest.raises(ValueError, match="is not 1 to 64 characters of") as refused:
        check_namespace(namespace)
    assert repr(namespace) in str(refused.value)


@pytest.mark.parametrize("namespace", [None, 7, b"ns"])
def test_a_namespace_is_a_str(namespace: Any) -> None:
    with pytest.raises(TypeError, match="a namespace is a str, not"):
        check_namespace(namespace)
