"""Few collections while something large is built, and the usual pace afterwards."""

import gc
import os
import ssl
from collections.abc import Iterator

import pytest

from proxy.memory import WHILE_BUILDING, FewCollections, no_trusted_authorities


@pytest.fixture
def usual() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(600, 7, 8)
    yield 600, 7, 8
    gc.set_threshold(*before)


def test_the_usual_pace_comes_back(usual: tuple[int, int, int]) -> None:
    with FewCollections():
        with FewCollections():
            assert gc.get_threshold() == (WHILE_BUILDING, 7, 8)
        assert gc.get_threshold() == (WHILE_BUILDING, 7, 8)
    assert gc.get_threshold() == usual


def test_it_comes_back_after_an_error_too(usual: tuple[int, int, int]) -> None:
    with pytest.raises(ZeroDivisionError), FewCollections():
        raise ZeroDivisionError
    assert gc.get_threshold() == usual


def test_a_pace_that_is_slower_already_stays() -> None:
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, 7, 8)
    try:
        with FewCollections():
            assert gc.get_threshold() == (1_000_000, 7, 8)
    finally:
        gc.set_threshold(*before)


def test_a_large_thing_is_not_walked_while_it_is_built(usual: tuple[int, int, int]) -> None:
    with FewCollections():
        before = [generation["collections"] for generation in gc.get_stats()]
        built: list[list[int]] = [[number] for number in range(WHILE_BUILDING // 4)]
        assert [generation["collections"] for generation in gc.get_stats()] == before
    assert len(built) == WHILE_BUILDING // 4


@pytest.mark.parametrize("before", [None, "/some/bundle.pem"])
def test_contexts_made_meanwhile_hold_no_authority(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", before)
    with no_trusted_authorities():
        context = ssl.create_default_context()
    assert context.cert_store_stats()["x509"] == 0
    assert os.environ.get("SSL_CERT_FILE") == before
