"""`misrule ready`, and times on the command line."""

import socket

import pytest

from tests.unit.proxy.test_cli import run


@pytest.fixture
def nobody() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_nobody_is_not_ready(nobody: str) -> None:
    code, out, err = run("ready", "--admin", nobody)
    assert (code, out) == (1, "")
    assert "connection refused" in err.lower()


@pytest.mark.parametrize("command", [("ready", "--wait"), ("drain", "--after")])
@pytest.mark.parametrize("given", ["5", "soon", "-1s", ""])
def test_times_have_units(command: tuple[str, str], given: str) -> None:
    code, _, err = run(*command, given)
    assert code == 2
    assert command[1] in err
    assert "a duration such as 100ms, 1.5s, 10m or 1h" in err
