"""Certificates of the user while they change: what is whole comes into force, what is not is told once."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.mint import mint
from proxy.config import Config, parse
from proxy.events import Events
from proxy.identities import Identities, ListenerKeeper
from proxy.logs import Log

CONFIG = """
version: 1
listeners:
  - {name: web, address: "127.0.0.1:0", tls: %s, routes: [{upstream: a}]}
upstreams: {a: {address: "127.0.0.1:1"}}
"""


class Stage:
    """A listener with a certificate in files, and its log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maker = Authority.create(None)
        self.put("one.example")
        tls = json.dumps({"certificate": f"{folder}/tls.crt", "key": f"{folder}/tls.key"})
        config: Config = parse((CONFIG % tls).encode(), "misrule.yaml")
        self._sink = io.StringIO()
        self.log = Log(stream=self._sink, events=Events())
        self.identities = Identities("", self.log)
        keeper = self.identities.listener(config.listeners[0])
        assert isinstance(keeper, ListenerKeeper)
        self.keeper = keeper

    def put(self, name: str, *, key: bool = True) -> bytes:
        """Put a certificate in place, and its key unless it comes later; gives the key."""
        leaf = mint(self.maker, name)
        (self.folder / "tls.crt").write_bytes(leaf.chain_pem)
        if key:
            (self.folder / "tls.key").write_bytes(leaf.key_pem)
        return leaf.key_pem

    def said(self) -> str:
        """Give the log."""
        assert self.log.flush(10)
        return self._sink.getvalue()

    def shown(self) -> tuple[str, ...]:
        """Give the names of the certificate in force."""
        assert self.keeper._own is not None
        return self.keeper._own.names


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.identities.close()
    made.log.close()


def test_nothing_happens_while_nothing_changes(stage: Stage) -> None:
    own = stage.keeper._own
    stage.identities.look()
    assert stage.keeper._own is own
    assert stage.said() == ""


def test_a_new_pair_comes_into_force(stage: Stage) -> None:
    stage.put("two.example")
    stage.identities.look()
    assert stage.shown() == ("two.example",)
    assert "listener web: new files are in force" in stage.said()


def test_half_a_pair_keeps_the_old_one_until_it_is_whole(stage: Stage) -> None:
    key = stage.put("two.example", key=False)
    stage.identities.look()
    stage.identities.look()
    assert stage.shown() == ("one.example",)
    assert stage.said().count("does not belong to the certificate") == 1
    (stage.folder / "tls.key").write_bytes(key)
    stage.identities.look()
    assert stage.shown() == ("two.example",)


def test_files_that_went_keep_the_old_pair(stage: Stage) -> None:
    (stage.folder / "tls.crt").unlink()
    stage.identities.look()
    assert stage.shown() == ("one.example",)
    assert "no such file" in stage.said()
