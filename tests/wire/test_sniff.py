"""What a client speaks, by its first bytes; in whatever pieces they come, the answer is the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.sniff import HTTP, MORE, OTHER, TLS, recognise

KNOWN = [
    (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", HTTP),
    (b"\r\nGET / HTTP/1.0\n\n", HTTP),
    (b"M-SEARCH * HTTP/1.1\r\n", HTTP),
    (b"GET /a b\xc3\xa4 HTTP/1.1\r\n", HTTP),  # a bad target is for the reader of HTTP to refuse
    (b"GET / HTTP/3.7\r\n", HTTP),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP),
    (b"GET /?to=http://a/ HTTP/1.1\r\n", HTTP),
    (b"OPTIONS * HTTP/1.1\r\n", HTTP),
    (b"CONNECT shop.example:443 HTTP/1.1\r\nhost: shop.example:443\r\n\r\n", OTHER),  # to a forward proxy
    (b"GET http://shop.example/ HTTP/1.1\r\n", OTHER),
    (b"\x16\x03\x01\x02\x00\x01", TLS),
    (b"\x16\x02\x01", OTHER),
    (b"get foo\r\n", OTHER),  # memcached
    (b"GET /\r\n", OTHER),  # HTTP/0.9, which nobody speaks
    (b"*1\r\n$4\r\nPING\r\n", OTHER),  # Redis
    (b"PING\r\n", OTHER),
    (b"\0\0\0\x08\x04\xd2\x16\x2f", OTHER),  # PostgreSQL
    (b"\x10\x10\0\x04MQTT", OTHER),
    (b"AMQP\0\0\x09\x01", OTHER),
    (b"SSH-2.0-OpenSSH_9.2\r\n", OTHER),
    (b"EHLO client.example\r\n", OTHER),
    (b"\x80\x2e\x01\x03\x01", OTHER),  # the ClientHello of SSL 2
]


@pytest.mark.parametrize(("data", "spoken"), KNOWN)
def test_protocols_are_told_apart(data: bytes, spoken: int) -> None:
    assert recognise(data) == spoken


@pytest.mark.parametrize(("data", "spoken"), KNOWN)
def test_what_is_incomplete_is_never_taken_for_something_else(data: bytes, spoken: int) -> None:
    seen = [recognise(data[:size]) for size in range(1, len(data) + 1)]
    first = next(size for size, answer in enumerate(seen) if answer != MORE)
    assert set(seen[:first]) <= {MORE}
    assert set(seen[first:]) == {spoken}


def test_a_line_without_an_end_is_http_for_which_it_is_too_long() -> None:
    assert recognise(b"GET /" + b"a" * 32_000) == MORE
    assert recognise(b"GET /" + b"a" * 33_000) == HTTP
    assert recognise(b"a" * 65) == OTHER


@given(st.binary(min_size=1, max_size=60), st.binary(min_size=1, max_size=60))
def test_more_bytes_change_no_verdict(data: bytes, more: bytes) -> None:
    verdict = recognise(data)
    if verdict != MORE:
        assert recognise(data + more) == verdict
