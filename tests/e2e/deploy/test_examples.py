"""The worked examples of docs/standalone.md: each command typed there prints what stands below it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import Postgres
from tests.support.manifests import DEPLOY
from tests.support.need import need
from tests.support.process import free_port
from tests.support.walkthrough import same, steps, walk

PAGE = "docs/standalone.md"


def follow(section: str, example: str, folder: Path, ports: dict[str, int]) -> None:
    """Do what a section says, in a copy of its example's folder."""
    copy = folder / example
    shutil.copytree(DEPLOY / "examples" / example, copy)
    shown = list(steps(PAGE, section))
    assert shown, section
    printed = walk([command for command, _ in shown], copy, {"9905": free_port(), **ports})
    log = copy / "misrule.log"
    seen = [(command, same(output)) for (command, _), output in zip(shown, printed, strict=True)]
    assert seen == [(command, same(output)) for command, output in shown], log.read_text()[-4000:]


def test_in_front_of_an_http_service(tmp_path: Path) -> None:
    need("curl")
    ports = {"8080": free_port(), "3000": free_port()}
    follow("In front of an HTTP service", "http", tmp_path, ports)


def test_in_front_of_a_grpc_service_over_tls(tmp_path: Path) -> None:
    ports = {"8443": free_port(), "50051": free_port()}
    follow("In front of a gRPC service over TLS", "grpc-tls", tmp_path, ports)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    need("psql")
    server = Postgres()
    yield server
    server.stop()


def test_in_front_of_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    ports = {"6432": free_port(), "5432": postgres.port}
    follow("In front of PostgreSQL", "postgres", tmp_path, ports)
