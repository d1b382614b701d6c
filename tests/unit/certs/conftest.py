from pathlib import Path

import pytest

from certs.authority import Authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create(None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "ca"
