"""Nodes: what they may be, and how they are stored."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordkit._core.ring_node import (
    Node,
    check_node,
    node_record,
    nodes_of,
    once,
    stored_node,
    weights_of,
)

WHOLE = Node("10.0.0.1:6379", 2.5, "eu-1b", 100, {"addr": "é\n"})


def test_one_or_several() -> None:
    assert nodes_of("a") == (Node("a", 1.0),)
    assert nodes_of("a", weight=2, zone="z", capacity=3, meta={"k": 1}) == (
        Node("a", 2.0, "z", 3, {"k": 1}),
    )
    assert nodes_of({"a": 1, "b": 0.5}) == (Node("a", 1.0), Node("b", 0.5))
    assert nodes_of(node for node in [WHOLE]) == (WHOLE,)


@pytest.mark.parametrize(
    ("weight", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (1e-7, ValueError),
        (1e7, ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_a_weight_is_a_number_above_nothing(
    weight: Any, error: type[Exception]
) -> None:
    for attempt in (
        lambda: nodes_of("a", weight=weight),
        lambda: nodes_of({"a": weight}),
        lambda: weights_of({"a": weight}, None),
    ):
        with pytest.raises(error, match="'a'") as refused:
            attempt()
        assert repr(weight) in str(refused.value)


@pytest.mark.parametrize(
    ("node", "error", "says"),
    [
        (Node(""), ValueError, "node '' is 0 bytes long"),
        (Node("x" * 201), ValueError, "201 bytes long; allowed are 1 to 200"),
        (Node("é" * 101), ValueError, "202 bytes long"),
        (Node("a\nb"), ValueError, "node 'a.nb' contains the control character"),
        (Node(7), TypeError, "a node is a str, not int"),  # type: ignore[arg-type]
        (Node("a", zone="\x00"), ValueError, "zone"),
        (Node("a", zone=7), TypeError, "a zone is a str"),  # type: ignore[arg-type]
        (Node("a", capacity=0), ValueError, "capacity=0 of 'a' is not between 1"),
        (Node("a", capacity=1.5), TypeError, "is an int"),  # type: ignore[arg-type]
        (Node("a", capacity=True), TypeError, "is an int, not bool"),
        (Node("a", meta={"x": {1}}), ValueError, "cannot be stored as JSON"),
        (Node("a", meta={"x": "y" * 5000}), ValueError, "allowed are 4096"),
        (7, TypeError, "a node is a name or a Node, not int: 7"),
    ],
)
def test_what_no_node_is(node: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        check_node(node)


def test_names_may_be_anything_that_is_printed() -> None:
    for name in ("a:b:c", "{}", "*?[", "日本", "a b", "-x", "x" * 200):
        assert check_node(Node(name)).name == name


@pytest.mark.parametrize(
    ("names", "says"), [([], "at least one"), (["a", "b", "a"], "'a' is named twice")]
)
def test_each_is_named_once(names: list[str], says: str) -> None:
    for attempt in (lambda: once(names), lambda: nodes_of(map(Node, names))):
        with pytest.raises(ValueError, match=says):
            attempt()


@pytest.mark.parametrize(
    "given", ["a", ["a"], Node("a"), [Node("a")], {"a": 1.0}], ids=repr
)
def test_a_node_is_given_by_name_or_in_full(given: Any) -> None:
    assert nodes_of(given) == (Node("a"),)


@pytest.mark.parametrize("given", [{"a": 1.0}, ["a"], Node("a")])
@pytest.mark.parametrize(
    "option", [{"weight": 2.0}, {"zone": "a"}, {"capacity": 3}, {"meta": {"a": 1}}]
)
def test_what_is_for_a_single_node_is_refused_for_several(
    given: Any, option: Any
) -> None:
    with pytest.raises(ValueError, match="give Node objects"):
        nodes_of(given, **option)


def test_weights_for_one_or_for_several() -> None:
    assert weights_of("a", 2) == {"a": 2.0}
    assert weights_of({"a": 1, "b": 2}, None) == {"a": 1.0, "b": 2.0}
    with pytest.raises(TypeError, match="which weight should 'a' have"):
        weights_of("a", None)
    with pytest.raises(TypeError, match="a mapping has them all"):
        weights_of({"a": 1}, 2.0)
    with pytest.raises(ValueError, match="at least one"):
        weights_of({}, None)


def test_a_record_is_read_back() -> None:
    assert node_record(WHOLE) == '2.5\neu-1b\n100\nactive\n{"addr":"\\u00e9\\n"}'
    for node in (WHOLE, Node("a"), replace(WHOLE, state="leaving")):
        assert stored_node(node.name, node_record(node)) == node


@given(st.floats(1e-6, 1e6))
def test_a_weight_is_stored_to_the_last_digit(weight: float) -> None:
    assert stored_node("a", node_record(Node("a", weight))).weight == weight


@pytest.mark.parametrize(
    "record",
    [
        "",
        "1.0",
        "1.0\n\n\nactive",
        "x\n\n\nactive\n{}",
        "0\n\n\nactive\n{}",
        "nan\n\n\nactive\n{}",
        "1.0\n\n\nasleep\n{}",
        "1.0\n\nx\nactive\n{}",
        "1.0\n\n\nactive\n{",
    ],
)
def test_a_record_of_somebody_else_is_no_node(record: str) -> None:
    with pytest.raises(ValueError):
        stored_node("a", record)


def test_who_leaves_pulls_nothing() -> None:
    assert Node("a", 2.0).pull == 2.0
    assert Node("a", 2.0, state="leaving").pull == 0.0
