import pytest

from certs.errors import CertError
from certs.flavour import KINDS, Flavour


def test_flavours_are_values() -> None:
    assert Flavour("expired") == Flavour("expired")
    assert len({Flavour(), Flavour("expired"), Flavour("expires_in", 1.0), Flavour("expires_in", 1.0)}) == 3


def test_the_weak_ones_need_level_0() -> None:
    kinds = [kind for kind in KINDS if kind != "expires_in"]
    assert [kind for kind in kinds if Flavour(kind).weak] == ["weak_key", "sha1"]


@pytest.mark.parametrize(
    ("kind", "seconds", "words"),
    [
        ("stale", 0.0, 'no certificate flavour "stale"; there are expired, not_yet_valid'),
        ("expires_in", 0.0, "expires_in takes a time of more than 0 seconds, not 0"),
        ("expires_in", -1.0, "more than 0 seconds"),
        ("expires_in", float("nan"), "more than 0 seconds"),
        ("expired", 5.0, "only the flavour expires_in takes seconds"),
        ("", 5.0, "only the flavour expires_in takes seconds"),
    ],
)
def test_what_is_none_is_refused(kind: str, seconds: float, words: str) -> None:
    with pytest.raises(CertError, match=words):
        Flavour(kind, seconds)
