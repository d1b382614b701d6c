"""Generations of certificates: what is made when, shown when, trusted how long."""

import datetime
import ssl
import time

import pytest
from cryptography import x509

from certs import generations
from certs.errors import CertError
from certs.generations import Generation

NAME = "hook.example.svc"
NOW = float(int(time.time()))
LIFE = 9000.0


def leaf(one: Generation) -> x509.Certificate:
    return x509.load_pem_x509_certificates(one.chain.encode())[0]


def test_the_first_is_shown_at_once() -> None:
    made = generations.advance([], NAME, NOW, LIFE)
    assert made is not None
    (first,) = made
    assert (first.made, first.begin, first.renew, first.end) == (NOW, NOW, NOW + 6000, NOW + 9000)
    assert generations.serving(made, NOW) is first
    assert generations.advance(made, NAME, NOW + 5999, LIFE) is None


def test_at_two_thirds_of_its_life_another_is_made_and_both_are_trusted() -> None:
    first = generations.advance([], NAME, NOW, LIFE)
    assert first is not None
    both = generations.advance(first, NAME, NOW + 6000, LIFE)
    assert both is not None
    assert [one.made for one in both] == [NOW, NOW + 6000]
    assert generations.bundle(both) == both[0].root + both[1].root
    assert both[0].root != both[1].root
    settled = NOW + 6000 + generations.settling(LIFE)
    assert generations.serving(both, settled - 1) is both[0]
    assert generations.serving(both, settled) is both[1]
    assert generations.advance(both, NAME, NOW + 8999, LIFE) is None
    after = generations.advance(both, NAME, NOW + 9000, LIFE)
    assert after == [both[1]]


def test_what_has_expired_while_nobody_looked_is_made_anew_and_shown_at_once() -> None:
    first = generations.advance([], NAME, NOW, LIFE)
    assert first is not None
    late = generations.advance(first, NAME, NOW + 20_000, LIFE)
    assert late is not None
    assert [one.begin for one in late] == [NOW + 20_000]


def test_another_name_makes_another_certificate() -> None:
    first = generations.advance([], NAME, NOW, LIFE)
    assert first is not None
    other = generations.advance(first, "other.example.svc", NOW, LIFE)
    assert other is not None
    assert [one.name for one in other] == ["other.example.svc"]


def test_settling_is_ten_minutes_at_most() -> None:
    assert generations.settling(generations.LIFE) == 600
    assert generations.settling(100) == 10


def test_the_leaf_is_for_the_name_and_lives_as_long_as_asked() -> None:
    made = generations.make(NAME, NOW, LIFE)
    found = leaf(made)
    assert found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == [NAME]
    assert found.not_valid_after_utc == datetime.datetime.fromtimestamp(NOW + LIFE, datetime.UTC)
    assert made.end == NOW + LIFE


def test_no_key_but_the_leaf_s_is_kept() -> None:
    """Whoever reads the Secret cannot sign for others."""
    made = generations.make(NAME, NOW, LIFE)
    text = generations.dump([made])
    assert text.count("PRIVATE KEY-----") == 2  # one key: its begin and its end


def test_what_was_written_is_read_again() -> None:
    made = [generations.make(NAME, NOW, LIFE), generations.make(NAME, NOW + 1, LIFE, begin=NOW + 5)]
    read = generations.load(generations.dump(made))
    assert [vars_of(one) for one in read] == [vars_of(one) for one in made]
    context = ssl.create_default_context(cadata=generations.bundle(read))
    assert context.cert_store_stats()["x509_ca"] == 2


def vars_of(one: Generation) -> list[object]:
    return [getattr(one, name) for name in Generation.__slots__]


@pytest.mark.parametrize("text", ["", "{}x", "5", "[5]", "[{}]", '[{"name": 5}]', "[" * 100_000])
def test_what_is_damaged_is_said(text: str) -> None:
    with pytest.raises(CertError, match="no generations of certificates"):
        generations.load(text)


def test_a_life_of_nothing_is_refused() -> None:
    with pytest.raises(CertError, match="lives for 1 s at least"):
        generations.make(NAME, NOW, 0.5)
