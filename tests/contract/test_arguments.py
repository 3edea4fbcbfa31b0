"""Wrong arguments: told with the value and what is allowed, before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from contract.flavours import Api, Asyncio, real
from coordkit import AsyncLock, AsyncSession, Unreachable

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture
def s(api: Api) -> AsyncSession:
    """Return a session whose every question fails: so no question was asked."""
    return api.session(NOWHERE, timeout=0.1)


Make = Callable[..., AsyncLock]


def refused(error: type[Exception], make: Callable[[], object], *told: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert caught.type is error
    for part in told:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


# -- times -------------------------------------------------------------------------

WRONG_TYPES = [(True, "bool: True"), ("5", "str: '5'"), (Decimal(5), "Decimal")]
#: option: the least and the most, as they are told
SPANS = {
    "ttl": ("0.05", "604800"),
    "hold_at_least": ("0", "604800"),
    "max_hold": ("0.05", "604800"),
    "lock_delay": ("0", "604800"),
    "waiter_ttl": ("0.1", "60"),
}
NOT_FINITE = [math.nan, math.inf, -math.inf]
TEN_YEARS = 10 * 365 * 86_400


@pytest.mark.parametrize("option", SPANS)
async def test_times_that_cannot_be(s: AsyncSession, option: str) -> None:
    least, most = SPANS[option]
    wrong: list[Any] = [*NOT_FINITE, -1, -0.001, TEN_YEARS, float(most) + 1]
    wrong += [timedelta(days=3650), timedelta(milliseconds=-1)]
    if least != "0":
        wrong += [0, 0.0, 0.0004, timedelta(), timedelta(milliseconds=49)]
    for value in wrong:
        given: dict[str, Any] = {option: value}
        shown = value.total_seconds() if isinstance(value, timedelta) else value
        refused(
            ValueError,
            lambda given=given: s.lock("it", **given),  # type: ignore[misc]  # its default
            f"{option}={shown!r} is not between {least} and {most} s",
        )


@pytest.mark.parametrize("option", SPANS)
@pytest.mark.parametrize(("value", "told"), WRONG_TYPES)
async def test_times_that_are_no_times(
    s: AsyncSession, option: str, value: Any, told: str
) -> None:
    refused(
        TypeError,
        lambda: s.lock("it", **{option: value}),
        f"{option} is a number of seconds or a timedelta, not {told}",
    )


@pytest.mark.parametrize("option", ["ttl", "waiter_ttl", "lock_delay", "hold_at_least"])
async def test_what_has_no_none(s: AsyncSession, option: str) -> None:
    given: dict[str, Any] = {option: None}
    refused(TypeError, lambda: s.lock("it", **given), option, "not NoneType: None")


async def test_times_at_the_edge(s: AsyncSession) -> None:
    for ttl in (0.05, 1, timedelta(milliseconds=50), timedelta(days=7), 7 * 86_400):
        lock = s.lock("it", ttl=ttl, max_hold=ttl, lock_delay=ttl, hold_at_least=ttl)
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
        assert lock.ttl == seconds
        assert type(lock.ttl) is float
    s.lock("it", waiter_ttl=0.1, hold_at_least=0, lock_delay=timedelta())
    s.lock("it", waiter_ttl=timedelta(minutes=1))


@pytest.mark.parametrize("value", [-1, -0.0001, math.nan, timedelta(seconds=-1)])
async def test_time_outs_that_cannot_be(s: AsyncSession, value: Any) -> None:
    shown = value.total_seconds() if isinstance(value, timedelta) else value
    told = rf"timeout={shown!r} is not between 0 and "
    for wanted in (s.lock("it"), s.lock_all(["a", "b"])):
        with pytest.raises(ValueError, match=told):
            await wanted.acquire(timeout=value)


async def test_an_endless_time_out_is_none(s: AsyncSession) -> None:
    with pytest.raises(ValueError, match="timeout=inf") as told:
        await s.lock("it").acquire(timeout=math.inf)
    assert "and inf" not in str(told.value), "it says that inf is allowed"


@pytest.mark.parametrize(("value", "told"), WRONG_TYPES)
async def test_time_outs_that_are_no_times(
    s: AsyncSession, value: Any, told: str
) -> None:
    with pytest.raises(TypeError, match=f"timeout is a number of seconds.*{told[:4]}"):
        await s.lock("it").acquire(timeout=value)


# -- the other options ---------------------------------------------------------------


async def test_numbers_of_slots(s: AsyncSession) -> None:
    for slots in (0, -1, 100_001):
        refused(
            ValueError,
            lambda slots=slots: s.lock("it", slots=slots),  # type: ignore[misc]  # its default
            f"slots={slots} is not between 1 and 100000",
        )
    for wrong in (True, 1.0, "2"):
        refused(
            TypeError,
            lambda wrong=wrong: s.lock("it", slots=wrong),  # type: ignore[misc]  # its default
            f"slots is an int, not {type(wrong).__name__}: {wrong!r}",
        )
    s.lock("it", slots=1)
    s.lock("it", slots=100_000)


async def test_options_that_exclude_each_other(s: AsyncSession) -> None:
    refused(
        ValueError,
        lambda: s.lock("it", shared=True, slots=2),
        "shared=True and slots=2 cannot be combined",
    )
    for shared in ({"shared": True}, {"slots": 2}):
        for alone in ({"hold_at_least": 1}, {"lock_delay": 1}):
            given: dict[str, Any] = shared | alone
            refused(
                ValueError,
                lambda given=given: s.lock("it", **given),  # type: ignore[misc]  # its default
                "hold_at_least and lock_delay",
                "shared or slots",
            )


@pytest.mark.parametrize("option", ["shared", "fair"])
@pytest.mark.parametrize("value", [1, None, "yes"])
async def test_flags(s: AsyncSession, option: str, value: Any) -> None:
    refused(
        TypeError,
        lambda: s.lock("it", **{option: value}),
        f"{option} is True or False, not {value!r}",
    )


async def test_what_meta_cannot_be(s: AsyncSession) -> None:
    deep: dict[str, Any] = {}
    for _ in range(20):
        deep = {"in": deep}
    endless: dict[str, Any] = {}
    endless["it"] = endless
    for meta, *told in (
        ({"x": "y" * 5000}, "meta is 5008 bytes long; allowed are 4096"),
        ({"x": math.nan}, "meta cannot be stored as JSON"),
        ({"x": math.inf}, "meta cannot be stored as JSON"),
        ({"x": object()}, "meta cannot be stored as JSON", "object"),
        ({"x": b"y"}, "meta cannot be stored as JSON", "bytes"),
        ({b"x": 1}, "meta cannot be stored as JSON"),
        (deep, "meta is nested deeper than 16 levels"),
        (endless, "meta is nested deeper than 16 levels"),
    ):
        given: Any = meta
        refused(ValueError, lambda given=given: s.lock("it", meta=given), *told)  # type: ignore[misc]  # its default
    for wrong in ("text", [1], 5, True):
        given = wrong
        refused(
            TypeError,
            lambda given=given: s.lock("it", meta=given),  # type: ignore[misc]  # its default
            f"meta is a mapping, not {type(wrong).__name__}",
        )
    s.lock("it", meta={"x": "é" * 500})  # counted as it is stored


# -- names ---------------------------------------------------------------------------

NOT_NAMES: list[tuple[str, str]] = [
    ("", "name '' is 0 bytes long; allowed are 1 to 512"),
    ("x" * 513, "is 513 bytes long; allowed are 1 to 512"),
    ("é" * 257, "is 514 bytes long"),
    ("a\nb", r"control character '\n'"),
    ("a\x00b", r"control character '\x00'"),
    ("\x1b[31mred", r"control character '\x1b'"),
    ("a\x7f", r"control character '\x7f'"),
    ("a\x85", r"control character '\x85'"),
    ("a\u2028b", r"control character '\u2028'"),
    ("a\ud800", r"control character '\ud800'"),
]


@pytest.mark.parametrize(("name", "told"), NOT_NAMES)
async def test_names_that_cannot_be(s: AsyncSession, name: str, told: str) -> None:
    makers: list[Callable[[], object]] = [
        lambda: s.lock(name),
        lambda: s.lock_all(["a", name]),
        lambda: s.fence(name),
        lambda: s.counter(name),
        lambda: s.ids(name),
        lambda: s.singleton(name),
    ]
    for make in makers:
        refused(ValueError, make, told)


@pytest.mark.parametrize("name", [None, b"it", 7, ["it"]])
async def test_names_that_are_no_text(s: AsyncSession, name: Any) -> None:
    told = f"a name is a str, not {type(name).__name__}: {name!r}"
    refused(TypeError, lambda: s.lock(name), told)
    refused(TypeError, lambda: s.fence(name), told)
    refused(TypeError, lambda: s.counter(name), told)
    refused(TypeError, lambda: s.ids(name), told)
    refused(TypeError, lambda: s.lock_all([name]), told)


async def test_names_at_the_edge(s: AsyncSession) -> None:
    for name in ("x", "x" * 512, "é" * 256, "}", "{}", " ", "a b", "*?[a]", "\\", "💥"):
        assert s.lock(name).name == name


@pytest.mark.parametrize(
    "namespace", ["", "a b", "a:b", "é", "a\n", "{a}", "*", "x" * 65, "\x1b[31m"]
)
async def test_namespaces_that_cannot_be(api: Api, namespace: str) -> None:
    refused(
        ValueError,
        lambda: api.session(NOWHERE, namespace=namespace),
        f"namespace {namespace!r} is not 1 to 64 characters of A-Z a-z 0-9 . _ -",
    )


async def test_namespaces_that_can_be(api: Api) -> None:
    for namespace in ("x", "A-Z.a_z-0", "x" * 64):
        assert api.session(NOWHERE, namespace=namespace).namespace == namespace
    refused(TypeError, lambda: api.session(NOWHERE, namespace=b"x"), "not bytes: b'x'")
    refused(TypeError, lambda: api.session(NOWHERE, namespace=None), "not NoneType")


# -- sessions ------------------------------------------------------------------------


async def test_options_of_a_session(api: Api) -> None:
    for timeout in (0, -1, 0.009, 2.5, math.nan, math.inf, TEN_YEARS):
        refused(
            ValueError,
            lambda timeout=timeout: api.session(NOWHERE, timeout=timeout),  # type: ignore[misc]  # its default
            f"timeout={timeout!r} is not between 0.01 and 2 s",
        )
    for wrong, told in (*WRONG_TYPES, (None, "NoneType")):
        refused(
            TypeError,
            lambda wrong=wrong: api.session(NOWHERE, timeout=wrong),  # type: ignore[misc]  # its default
            "timeout is a number of seconds or a timedelta",
            told,
        )
    refused(
        ValueError, lambda: api.session(NOWHERE, identity="a\nb"), "identity", r"'\n'"
    )
    refused(ValueError, lambda: api.session(NOWHERE, identity=""), "1 to 512")
    refused(TypeError, lambda: api.session(NOWHERE, identity=5), "not int: 5")
    refused(TypeError, lambda: api.session(None), "pass a URL, a redis.", "NoneType")
    api.session(NOWHERE, timeout=timedelta(seconds=2))
    api.session(NOWHERE, timeout=0.01)


async def test_a_bad_url_shows_no_password(api: Api) -> None:
    secret = "s3cr3t/#?"
    for url in (
        f"redis://:{secret}@127.0.0.1:1/x",
        f"redis://u:{secret}@127.0.0.1:99999/0",
        f"http://u:{secret}@127.0.0.1",
        f"redis://u:{secret}@127.0.0.1:1/0?no_such=option",
    ):
        with pytest.raises(ValueError) as told:
            api.session(url)
        assert "s3cr3t" not in str(told.value)


async def test_tokens_and_values_of_a_fence(s: AsyncSession) -> None:
    fence = s.fence("it")

    async def told(error: type[Exception], token: Any, *parts: str) -> None:
        for ask in (fence.check(token), fence.set("field", "value", token=token)):
            with pytest.raises(error) as caught:
                await ask
            assert all(part in str(caught.value) for part in parts)

    for token in (0, -1, 2**53 + 1, 2**64):
        await told(ValueError, token, f"token {token} is not between 1 and {2**53}")
    for wrong in (True, 1.0, "7", None):
        await told(TypeError, wrong, "a token is an int", repr(wrong))
    with pytest.raises(ValueError, match="65537 bytes long; allowed are 65536"):
        await fence.set("field", b"x" * 65_537, token=7)
    with pytest.raises(ValueError, match="65538 bytes long; allowed are 65536"):
        await fence.set("field", "é" * 32_769, token=7)
    for value in (5, None, [b"x"]):
        given: Any = value
        with pytest.raises(TypeError, match="a value is a str or bytes, not"):
            await fence.set("field", given, token=7)
    for field in ("", "a\nb", "x" * 513):
        with pytest.raises(ValueError, match="field"):
            await fence.set(field, "value", token=7)
        with pytest.raises(ValueError, match="field"):
            await fence.get(field)


async def test_amounts_and_bounds_of_a_counter(s: AsyncSession) -> None:
    counter = s.counter("it")

    async def told(
        error: type[Exception], asked: Coroutine[Any, Any, object], *parts: str
    ) -> None:
        with pytest.raises(error) as caught:
            await asked
        assert caught.type is error
        assert all(part in str(caught.value) for part in parts)
        assert len(str(caught.value)) < 300

    edge = f"is not between {-(2**63)} and {2**63 - 1}"
    for n in (2**63, -(2**63) - 1, 2**64, 10**40, 10**5000):
        await told(ValueError, counter.add(n), "n=", edge)
        await told(ValueError, counter.set(n), "value=", edge)
        await told(ValueError, counter.add(1, at_least=n), "at_least=", edge)
        await told(ValueError, counter.add(1, at_most=n), "at_most=", edge)
        await told(ValueError, s.add_all({"it": n}), "amount for 'it'", edge)
        await told(ValueError, counter.add(1, token=n), "token", "not between 1 and")
    wrong: Any
    for wrong in (1.0, math.nan, math.inf, True, "5", b"5", None, Decimal(5)):
        shown = f"not {type(wrong).__name__}: {wrong!r}"
        await told(TypeError, counter.add(wrong), "n is an int", shown)
        await told(TypeError, counter.set(wrong), "value is an int", shown)
        await told(TypeError, s.add_all({"it": wrong}), "amount for 'it'", shown)
        if wrong is not None:
            await told(TypeError, counter.add(1, at_least=wrong), "at_least is", shown)
            await told(TypeError, counter.add(1, token=wrong), "a token is", shown)
    await told(
        ValueError,
        counter.add(1, at_least=5, at_most=4),
        "at_least=5 is higher than at_most=4",
    )
    for rid in ("", "a\nb", "x" * 513):
        await told(ValueError, counter.add(1, rid=rid), "rid")
    await told(ValueError, s.add_all({}), "amounts is empty")
    wide = s.counter("it", shards=4)
    for asked in (wide.add(1, token=7), wide.add(1, at_most=7), wide.delete(token=7)):
        await told(ValueError, asked, "'it' has 4 shards", "cannot be checked")
    for shards in (0, -1, 257):
        refused(
            ValueError,
            lambda shards=shards: s.counter("it", shards=shards),  # type: ignore[misc]  # its default
            f"shards={shards} is not between 1 and 256",
        )


async def test_blocks_of_ids(s: AsyncSession) -> None:
    for option, most in (("block", 2**32), ("start", 2**53 - 1)):
        wrong: Any
        for wrong in (0, -1, most + 1, 2**64):
            given: dict[str, Any] = {option: wrong}
            refused(
                ValueError,
                lambda given=given: s.ids("it", **given),  # type: ignore[misc]  # its default
                f"{option}={wrong} is not between 1 and {most}",
            )
        for wrong in (None, 1.0, math.nan, True, "5"):
            given = {option: wrong}
            refused(
                TypeError,
                lambda given=given: s.ids("it", **given),  # type: ignore[misc]  # its default
                f"{option} is an int, not",
            )


async def test_nothing_of_this_was_a_matter_of_the_server(
    api: Api, s: AsyncSession
) -> None:
    """Or the tests above would show nothing: here is what a question ends in."""
    with pytest.raises(Unreachable):
        await s.lock("it").try_acquire()
    with pytest.raises(Unreachable):
        await s.fence("it").check(7)
    with pytest.raises(Unreachable):
        await s.counter("it").add(1)
    with pytest.raises(Unreachable):
        await s.add_all({"it": 1})
    with pytest.raises(Unreachable):
        await anext(s.ids("it"))
    assert isinstance(api, Asyncio) or real(s) is not s
