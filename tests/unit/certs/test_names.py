"""Any text is a name that certificates can carry, or is refused; never anything else."""

import ipaddress
import string

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import CertError
from certs.names import COMMON_NAME, canonical, general_name, subject

LABELS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=63).filter(
    lambda label: not label.isdecimal()
)


@given(st.text(max_size=300) | st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")))
def test_what_comes_out_is_its_own_canonical_form(text: str) -> None:
    try:
        name = canonical(text)
    except CertError:
        return
    assert canonical(name) == name
    assert name.isascii()
    general_name(name)
    assert len(subject(name).rdns) in (0, 1)


@given(st.lists(LABELS, min_size=1, max_size=4))
def test_host_names_are_lower_case_without_the_last_dot(labels: list[str]) -> None:
    text = ".".join(labels)
    if len(text) > 253:
        return
    assert canonical(text + ".") == canonical(text) == text.lower()


@given(st.ip_addresses())
def test_addresses_are_addresses(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for text in (str(address), f"[{address}]", address.exploded.upper()):
        assert general_name(canonical(text)) == x509.IPAddress(address)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bücher.Example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),  # IDNA 2008; 2003 made it fass.example
        ("_grpc._tcp.shop", "_grpc._tcp.shop"),
        ("spiffe://shop.example/pay", "spiffe://shop.example/pay"),
    ],
)
def test_other_scripts_services_and_workloads(text: str, name: str) -> None:
    assert canonical(text) == name


def test_a_long_name_has_no_common_name_or_its_end() -> None:
    long = "a" * 40 + "." + "b" * 40
    assert len(subject(long).rdns) == 0
    (attribute,) = subject(long, insist=True)
    assert str(attribute.value) == long[-COMMON_NAME:]
