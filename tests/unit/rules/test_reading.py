"""Readers of what facts hold inside."""

import pytest

from rules import reading
from rules.reading import NO_ADDRESS, Network, address, cookie_value, decode, grpc_names, query_values


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"", b""),
        (b"plain", b"plain"),
        (b"a+b", b"a b"),
        (b"a%20b%2B", b"a b+"),
        (b"%c3%A9", "é".encode()),
        (b"100%", b"100%"),
        (b"%zz%4", b"%zz%4"),
        (b"%+1", b"% 1"),
        (b"%2541", b"%41"),  # once, not twice
    ],
)
def test_decode(raw: bytes, decoded: bytes) -> None:
    assert decode(raw) == decoded


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", []),
        (b"debug=1", [b"1"]),
        (b"a=0&debug=1&debug=2", [b"1", b"2"]),
        (b"debug", [b""]),
        (b"debug=", [b""]),
        (b"debug=a=b", [b"a=b"]),
        (b"de%62ug=%31", [b"1"]),
        (b"Debug=1&debugs=1&xdebug=1", []),
        (b"&&debug=1&", [b"1"]),
    ],
)
def test_query_values(query: bytes, values: list[bytes]) -> None:
    assert query_values(query, b"debug") == values


def test_a_query_of_very_many_parameters_is_read_to_the_bound() -> None:
    padding = [b"x=%d" % at for at in range(reading.MOST_PARAMETERS - 1)]
    assert query_values(b"&".join([*padding, b"debug=1"]), b"debug") == [b"1"]
    assert query_values(b"&".join([*padding, b"y=", b"debug=1"]), b"debug") == []


def test_an_empty_piece_is_no_parameter() -> None:
    assert query_values(b"&&", b"") == []
    assert query_values(b"=x", b"") == [b"x"]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        (None, b""),
        ([], b""),
        ([b"sid=1"], b"1"),
        ([b"a=0; sid=1; b=2"], b"1"),
        ([b"a=0", b"b=1;sid= 2 "], b"2"),
        ([b"sid=1; sid=2"], b"1"),
        ([b"SID=1; xsid=2"], b""),
        ([b"sid"], b""),
        ([b"sid=a=b"], b"a=b"),
    ],
)
def test_cookie_value(fields: list[bytes] | None, value: bytes) -> None:
    assert cookie_value(fields, b"sid") == value


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"/shop.Cart/Add", (b"shop.Cart", b"Add")),
        (b"/shop.Cart", None),
        (b"/shop.Cart/", None),
        (b"//Add", None),
        (b"/a/shop.Cart/Add", None),
        (b"shop.Cart/Add", None),
        (b"", None),
    ],
)
def test_grpc_names(path: bytes, names: tuple[bytes, bytes] | None) -> None:
    assert grpc_names(path) == names


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        (
            "10.0.0.0/8",
            ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            ["11.0.0.0", "9.255.255.255", "::10"],
        ),
        ("192.0.2.1/32", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
        ("10.9.9.9/8", ["10.1.1.1"], ["11.1.1.1"]),  # host bits do not matter
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "2001:db8::1"]),
        ("::1/128", ["::1"], ["::2", "0.0.0.1", "127.0.0.1"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:DB8:ffff::"], ["2001:db9::"]),
        ("::/0", ["::1", "fe80::1%eth0"], ["127.0.0.1", "::ffff:127.0.0.1"]),
        ("::ffff:10.0.0.0/104", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.1.1.1"]),
    ],
)
def test_networks(network: str, inside: list[str], outside: list[str]) -> None:
    read = Network(network)
    assert [text for text in inside + outside if read.holds(address(text))] == inside
    assert not read.holds(NO_ADDRESS)


@pytest.mark.parametrize("text", ["", "unix", "10.0.0.256", "10.0.0.0/8", "::g"])
def test_what_is_no_address(text: str) -> None:
    assert address(text) == NO_ADDRESS


def test_the_memory_of_addresses_is_bounded_and_harmless() -> None:
    expected = address("203.0.113.9")
    for at in range(reading.MOST_ADDRESSES + 10):
        assert address(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}") != NO_ADDRESS
    assert len(reading._addresses) <= reading.MOST_ADDRESSES
    assert address("203.0.113.9") == expected
