from __future__ import annotations

import traceback
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from coordkit._io.urls import Address, parse

#: letters that no message of ours contains
RARE = "ŹŮĦŦŊ"
RAW = st.text(alphabet=RARE + "/#?@:,;%&=+[]! ", min_size=1, max_size=12)


def refusal(url: object) -> str:
    with pytest.raises(ValueError) as caught:
        parse(url)  # type: ignore[arg-type]  # the wrong type is one of the cases
    assert type(caught.value) is ValueError, "not the error of another library"
    return str(caught.value)


# -- what is accepted --------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "hosts", "db", "tls"),
    [
        ("redis://example.org", (("example.org", 6379),), 0, False),
        ("redis://example.org:", (("example.org", 6379),), 0, False),
        ("redis://example.org/", (("example.org", 6379),), 0, False),
        ("redis://my_host:1/15", (("my_host", 1),), 15, False),
        ("rediss://127.0.0.1:65535/1", (("127.0.0.1", 65535),), 1, True),
        ("valkey://h:7000/2", (("h", 7000),), 2, False),
        ("valkeys://h", (("h", 6379),), 0, True),
        ("REDIS://H:7000", (("H", 7000),), 0, False),
        ("redis://h?db=4", (("h", 6379),), 4, False),
        ("redis://h/4?db=4", (("h", 6379),), 4, False),
        ("redis://[::1]", (("::1", 6379),), 0, False),
        ("redis://[2001:db8:0::1]:7000/1", (("2001:db8::1", 7000),), 1, False),
        ("redis://[fe80::1%25eth0]:7000", (("fe80::1%eth0", 7000),), 0, False),
    ],
)
def test_one_server(
    url: str, hosts: tuple[tuple[str, int], ...], db: int, tls: bool
) -> None:
    assert parse(url) == Address("tcp", hosts, db=db, tls=tls)


@pytest.mark.parametrize(
    ("url", "path", "db"),
    [
        ("unix:///run/redis.sock", "/run/redis.sock", 0),
        ("UNIX:///run/redis.sock?db=3", "/run/redis.sock", 3),
        ("unix:///run/my%20redis/%C5%B9.sock", "/run/my redis/Ź.sock", 0),
        ("unix:///run/user@host.sock", "/run/user@host.sock", 0),
    ],
)
def test_one_server_by_its_socket(url: str, path: str, db: int) -> None:
    assert parse(url) == Address("unix", path=path, db=db)


@pytest.mark.parametrize(
    "url",
    [
        "unix://shop:s3@/run/r.sock",
        "unix:///run/r.sock?username=shop&password=s3",
        "unix://shop@/run/r.sock?password=s3",
    ],
)
def test_a_socket_with_a_login(url: str) -> None:
    address = parse(url)
    assert (address.username, address.password) == ("shop", "s3")
    assert address.path == "/run/r.sock"


def test_sentinels() -> None:
    address = parse(
        "rediss+sentinel://shop:s3@one,two:1,[::1],[::2]:2/my%2Fmaster/5"
        "?sentinel_username=watch&sentinel_password=s4+%2B"
    )
    assert address == Address(
        "sentinel",
        (("one", 26379), ("two", 1), ("::1", 26379), ("::2", 2)),
        service="my/master",
        db=5,
        tls=True,
        username="shop",
        password="s3",
        options={"sentinel_username": "watch", "sentinel_password": "s4 +"},
    )
    assert parse("redis+sentinel://h/main").db == 0
    assert parse("redis+sentinel://h/main/").db == 0
    assert parse("valkey+sentinel://h/main?db=2").db == 2


def test_a_cluster() -> None:
    hosts = (("one", 6379), ("two", 7001))
    assert parse("redis+cluster://one,two:7001") == Address("cluster", hosts)
    assert parse("valkeys+cluster://one,two:7001/0").tls


def test_every_option_has_its_type() -> None:
    options = parse(
        "rediss://h/1?max_connections=5&client_name=shop-1&protocol=3"
        "&ssl_ca_certs=/etc/my%20ca.pem&ssl_certfile=c&ssl_keyfile=k"
        "&ssl_cert_reqs=optional&ssl_check_hostname=False"
    ).options
    assert options == {
        "max_connections": 5,
        "client_name": "shop-1",
        "ssl_ca_certs": "/etc/my ca.pem",
        "ssl_certfile": "c",
        "ssl_keyfile": "k",
        "ssl_cert_reqs": "optional",
        "ssl_check_hostname": False,
    }


@pytest.mark.parametrize(
    ("userinfo", "username", "password"),
    [
        ("", None, None),
        (":", None, None),
        ("shop", "shop", None),
        ("shop:", "shop", None),
        (":s3", None, "s3"),
        ("shop:s3:4", "shop", "s3:4"),
        ("%C5%B9:%2F%23%3F%40%25%3A", "Ź", "/#?@%:"),
        ("shop:100%", "shop", "100%"),
        ("shop:a b+c", "shop", "a b+c"),
    ],
)
def test_a_login(userinfo: str, username: str | None, password: str | None) -> None:
    address = parse(f"redis://{userinfo}@h/1")
    assert (address.username, address.password) == (username, password)
    assert address.hosts == (("h", 6379),)


# -- passwords as they are ---------------------------------------------------------


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "a@b", "/", "#?/", "a@@b"])
@pytest.mark.parametrize("place", ["h:7000/2", "h:7000/2?client_name=x"])
def test_a_password_may_hold_what_ends_it_elsewhere(password: str, place: str) -> None:
    address = parse(f"redis://shop:{password}@{place}")
    assert (address.username, address.password) == ("shop", password)
    assert (address.hosts, address.db) == ((("h", 7000),), 2)


@pytest.mark.parametrize(
    "url",
    [
        # both readings make sense
        "redis://h:1/0?client_name=a@b",
        "redis://u:1/2?client_name=a@h:6379/0",
        # more than one @ behind the first / ? #
        "redis://shop:a/b@c@h:7000/2",
        "redis://shop:a@b/c@h:7000/2",
        # the @ of the option would make `b` the host that gets the password
        "redis://shop:s3@h/nine?client_name=a@b",
    ],
)
def test_where_a_password_ends_is_never_guessed(url: str) -> None:
    assert "write / ? # @ % in a user name or password as %2F" in refusal(url)


def test_an_at_sign_in_an_option_is_no_password() -> None:
    address = parse("redis://shop:s3@h/1?client_name=a@b")
    assert (address.password, address.options["client_name"]) == ("s3", "a@b")


FORMS = st.sampled_from(
    [
        "redis://shop:{}@h:7000/2",
        "redis://:{}@h",
        "redis://{}@h/1",
        "redis://shop:{}@h/notanumber",
        "redis://shop:{}@h:notaport",
        "redis://shop:{}@h/1?foo=bar",
        "redis://shop:{}@h/1?socket_timeout=1",
        "redis://shop:{}@h/1#x",
        "redis://shop:{}@",
        "redis://shop:{}",
        "redis:/shop:{}@h",
        "shop:{}@h:6379",
        "{}",
        "foo://shop:{}@h/1",
        "sentinel://shop:{}@h:1;sentinel://h:2",
        "sentinel://:{}",
        "unix://shop:{}@/run/r.sock",
        "unix://shop:{}@run",
        "redis+sentinel://shop:{}@h1,h2/main/0",
        "redis+sentinel://shop:{}@h1,h2",
        "redis+sentinel://h1,h2/main?sentinel_password={}",
        "redis+cluster://shop:{}@h1,h2/7",
    ]
)


@given(form=FORMS, password=RAW)
@example(form="redis://shop:{}@h:7000/2", password="Ź@Ů/Ħ")
@example(form="sentinel://shop:{}@h:1;sentinel://h:2", password="Ź;Ů")
def test_a_password_works_or_is_refused_but_is_never_told(
    form: str, password: str
) -> None:
    # Without a host nobody can tell what is part of the password, and what follows it.
    assume(not (form.endswith(":{}") and set(password) & set("@/?#")))
    try:
        address = parse(form.format(password))
    except ValueError as error:
        told = "".join(traceback.format_exception(type(error), error, None))
        chained = [error.__cause__, error.__context__]
        assert chained == [None, None], "another error may hold the text"
    else:
        told = f"{address} {address!r}".replace(quote(address.username or "", ""), "")
    assert not set(told) & set(RARE)
    assert quote("Ź")[:3] not in told


@given(
    form=st.sampled_from(["redis://{}:{}@h:7000/2", "unix://{}:{}@/run/r.sock"]),
    username=st.text(min_size=1).filter(lambda text: text.isprintable()),
    password=st.text(min_size=1),
)
def test_what_is_percent_encoded_comes_back(
    form: str, username: str, password: str
) -> None:
    try:
        written = form.format(quote(username, safe=""), quote(password, safe=""))
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be written
    address = parse(written)
    assert (address.username, address.password) == (username, password)
    masked = parse(str(address))
    assert masked.username == username
    assert masked.password == "***"


# -- what an address shows ---------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://shop:s3@h", "redis://shop:***@h:6379/0"),
        ("valkeys://:s3@h/7", "rediss://:***@h:6379/7"),
        ("redis://shop@[::1]:1", "redis://shop@[::1]:1/0"),
        ("redis://%1B[2Jx:s3@h", "redis://%1B%5B2Jx:***@h:6379/0"),
        ("unix:///run/r.sock", "unix:///run/r.sock"),
        ("unix://shop:s3@/run/r%20.sock?db=2", "unix://shop:***@/run/r%20.sock?db=2"),
        (
            "redis+sentinel://:s3@a,[::1]:7/m%2Fn/1?sentinel_password=s4",
            "redis+sentinel://:***@a:26379,[::1]:7/m%2Fn/1",
        ),
        ("rediss+cluster://a:7,b", "rediss+cluster://a:7,b:6379"),
    ],
)
def test_an_address_shows_no_secret(url: str, shown: str) -> None:
    address = parse(url)
    assert str(address) == f"{address}" == shown
    assert repr(address) == f"Address({shown!r})"
    assert str(parse(shown)) == shown


def test_addresses_are_values() -> None:
    one, two = parse("redis://h/1?client_name=a"), parse("redis://h/1?client_name=a")
    assert one == two != parse("redis://h/1?client_name=b")
    assert len({one, two}) == 1
    with pytest.raises(TypeError):
        one.options["client_name"] = "b"  # type: ignore[index]  # that is the case


# -- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, "a Redis URL is a str, not NoneType"),
        (b"redis://h", "a Redis URL is a str, not bytes"),
        ("", "no '://'"),
        ("localhost", "no '://'"),
        ("/run/redis.sock", "unix:///path"),
        ("redis:/localhost", "no '://'"),
        ("localhost:6379", "did you mean redis://localhost:6379/0?"),
        ("[::1]:6379", "did you mean redis://[::1]:6379/0?"),
        (
            "http://h",
            "unknown scheme 'http' of the Redis URL; allowed are unix, redis,",
        ),
        ("redis+unix:///p", "unknown scheme 'redis+unix'"),
        ("redis://h\n", "a control character or a line end"),
        ("redis://h/0#x", "no '#' part"),
        ("redis://\udcff@h", "control character"),
        ("redis://%FF@h", "not UTF-8"),
        # hosts
        ("redis://", "a host is missing"),
        ("redis://:6379", "a host is missing"),
        ("redis://shop:s3@", "a host is missing"),
        ("redis+cluster://a,,b", "a host is missing"),
        ("redis+sentinel:///main", "a host is missing"),
        ("redis://a b", "only letters, digits, - . _"),
        ("redis://a%20b", "only letters, digits, - . _"),
        ("redis://::1", "write IPv6 addresses in brackets"),
        ("redis://2001:db8::1:6379/0", "write IPv6 addresses in brackets"),
        ("redis://[::g]", "not an IPv6 address"),
        ("redis://[]", "not an IPv6 address"),
        ("redis://[::1]6379", "name, name:port or [IPv6]:port"),
        ("redis://h:0", "the port of host 'h' is not a number from 1 to 65535"),
        ("redis://h:65536", "the port of host 'h' is not"),
        ("redis://h:-1", "the port of host 'h' is not"),
        ("redis://h:١", "the port of host 'h' is not"),
        ("redis+cluster://a:1,b:x", "the port of host 'b' is not"),
        ("redis://a,b", "redis+sentinel://h1,h2/SERVICE or to redis+cluster://h1,h2"),
        # paths
        ("redis://h/notanumber", "'notanumber' in the Redis URL is not a database"),
        ("redis://h/1/2", "'1/2' in the Redis URL is not a database"),
        ("redis://h/-1", "'-1' in the Redis URL is not a database"),
        ("redis://h/1?db=2", "two databases: /1 and ?db=2"),
        ("redis+cluster://h/1", "only database 0"),
        ("redis+cluster://h?db=1", "only database 0"),
        ("redis+sentinel://h", "write redis+sentinel://host:26379/SERVICE/0"),
        ("redis+sentinel://h/", "the service is missing"),
        ("redis+sentinel://h/main/x", "'x' in the Redis URL is not a database"),
        ("redis+sentinel://h/main/0/1", "'0/1' in the Redis URL is not a database"),
        ("unix://", "unix:///absolute/path"),
        ("unix:///", "unix:///absolute/path"),
        ("unix://run/redis.sock", "unix:///absolute/path"),
        ("unix:///run/%00.sock", "unix:///absolute/path"),
        # options
        ("redis://h?foo=1", "unknown option 'foo' in the Redis URL; allowed are db,"),
        ("redis://h?DB=1", "unknown option 'DB'"),
        ("redis://h?%1B[2J=1", "unknown option of this name"),
        ("redis://h?db=1&db=1", "option 'db' of the Redis URL is given twice"),
        ("redis://h?db", "option 'db' of the Redis URL takes a whole number"),
        ("redis://h?max_connections=0", "takes a whole number from 1"),
        ("redis://h?max_connections=none", "takes a whole number from 1"),
        ("redis://h?protocol=4", "takes 2 or 3"),
        ("redis://h?client_name=a%20b", "takes printable ASCII without spaces"),
        ("rediss://h?ssl_cert_reqs=maybe", "takes none, optional or required"),
        ("rediss://h?ssl_check_hostname=2", "takes true or false"),
        ("redis://h?ssl_ca_certs=x", "needs TLS: write rediss:// for redis://"),
        ("redis://h?sentinel_password=x", "for redis+sentinel:// only"),
        ("redis://shop@h?username=x", "a user name before the @ and as an option"),
        ("redis://:s3@h?password=x", "a password before the @ and as an option"),
    ],
)
def test_a_refusal_names_what_is_wrong(url: object, told: str) -> None:
    assert told in refusal(url)


@pytest.mark.parametrize(
    "option",
    [
        "socket_timeout=60",
        "socket_connect_timeout=60",
        "socket_keepalive=1",
        "retry_on_timeout=true",
        "retry=3",
        "decode_responses=false",
        "health_check_interval=30",
        "timeout=20",
        "encoding=latin-1",
        "lib_name=x",
    ],
)
def test_what_the_safety_of_leases_depends_on_cannot_be_set(option: str) -> None:
    name = option.partition("=")[0]
    told = refusal(f"redis://h?{option}")
    assert f"option {name!r} of the Redis URL is set by coordkit itself" in told
    assert "allowed are db, username, password, max_connections" in told


@pytest.mark.parametrize(
    ("url", "equivalent"),
    [
        ("sentinel://a:1;sentinel://b:2", "redis+sentinel://a:1,b:2/SERVICE/0"),
        ("sentinel://a:1;b:2", "redis+sentinel://a:1,b:2/SERVICE/0"),
        ("sentinel://:s3@a;sentinel://:s3@b/4", "redis+sentinel://:***@a,b/SERVICE/4"),
        ("SENTINEL://me:s3@a:1/3", "redis+sentinel://USER:***@a:1/SERVICE/3"),
        ("sentinel://[::1]:1", "redis+sentinel://host1:26379,host2:26379/SERVICE/0"),
    ],
)
def test_the_form_of_celery_is_translated(url: str, equivalent: str) -> None:
    assert f" {equivalent}, SERVICE being its option master_name" in refusal(url)
    parse(equivalent)
