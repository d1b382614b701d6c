"""``misrule run``: options, environment and files come to one configuration; what cannot start says why."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import run as run_module
from proxy.cli.run import OPTIONS, variable
from proxy.config import Config, from_options, options
from tests.support.process import Process
from tests.unit.proxy.test_cli import run

CONFIG = """\
version: 1
listeners:
  - {name: web, address: "127.0.0.1:0", routes: [{upstream: default}]}
upstreams: {default: {address: "127.0.0.1:9"}}
rules: [rules.yaml]
admin: {address: "127.0.0.1:0"}
"""
SIMPLE = ("run", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What would have been served; nothing is."""
    seen: list[Config] = []

    def serve(config: Config) -> int:
        seen.append(config)
        return 0

    monkeypatch.setattr(run_module, "serve", serve)
    for name, *_ in OPTIONS:
        monkeypatch.delenv(variable(name), raising=False)
    return seen


def test_options_come_to_a_configuration(served: list[Config]) -> None:
    words = [
        "--rules",
        "a",
        "--rules",
        "b",
        "--admin",
        "127.0.0.1:0",
        "--access",
        "all",
        "--log-level",
        "debug",
    ]
    code, _, _ = run(*SIMPLE, *words, "--log-format", "text", "--upstream", "http://h")
    expected = from_options(
        "127.0.0.1:0", ["http://127.0.0.1:9", "http://h"], ["a", "b"],
        admin="127.0.0.1:0", access="all", log_level="debug", log_format="text",
    )  # fmt: skip
    assert (code, served) == (0, [expected])


def test_every_option_has_a_variable(served: list[Config]) -> None:
    env = {
        "MISRULE_LISTEN": "127.0.0.1:0",
        "MISRULE_UPSTREAM": "http://a:1 http://b:2",
        "MISRULE_RULES": f"a{os.pathsep}b",
        "MISRULE_ADMIN": ":0",
        "MISRULE_ADMIN_TOKEN_FILE": "token",
        "MISRULE_CERTS": "certs",
        "MISRULE_STATE_DIR": "state",
        "MISRULE_ACCESS": "none",
        "MISRULE_LOG_LEVEL": "error",
        "MISRULE_LOG_FORMAT": "text",
    }
    assert {*env, "MISRULE_CONFIG", "MISRULE_CAPTURE"} == {variable(name) for name, *_ in OPTIONS}
    assert run("run", env=env)[0] == 0
    (config,) = served
    assert config.upstreams["default"].addresses == ["a:1", "b:2"]
    assert config.rules == ["a", "b"]
    assert config.admin == options.AdminConfig("0.0.0.0:0", "token")
    assert config.log == options.LogConfig("text", "error", "none")


@pytest.mark.parametrize(
    ("which", "addresses"),
    [
        ("inbound", ["0.0.0.0:15106"]),
        ("outbound", ["0.0.0.0:15101"]),
        ("both", ["0.0.0.0:15106", "0.0.0.0:15101"]),
    ],
)
def test_captured_connections_need_no_file(served: list[Config], which: str, addresses: list[str]) -> None:
    assert run("run", "--capture", which, "--admin", "127.0.0.1:0")[0] == 0
    (config,) = served
    assert [listener.address for listener in config.listeners] == addresses
    assert {listener.capture for listener in config.listeners} == {"redirect"}
    assert list(config.upstreams) == ["original_dst"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--capture", "up"], 'misrule: --capture: expected inbound, outbound or both, got "up"'),
        (
            ["--capture", "both", "--listen", ":1"],
            "misrule run: --listen (MISRULE_LISTEN) and --capture (MISRULE_CAPTURE) exclude each other",
        ),
    ],
)
def test_what_captured_connections_have_no_use_for(served: list[Config], words: list[str], line: str) -> None:
    code, _, err = run("run", *words)
    assert (code, served) == (2, [])
    assert err.startswith(line)


def test_a_token_file_of_the_environment_asks_for_no_admin_endpoint(served: list[Config]) -> None:
    assert run(*SIMPLE, env={"MISRULE_ADMIN_TOKEN_FILE": "token"})[0] == 0
    assert served[0].admin is None
    code, _, err = run(*SIMPLE, "--token-file", "token")
    assert (code, err) == (
        2,
        "misrule: --token-file: there is no admin endpoint to guard; give --admin too\n",
    )


def test_a_token_file_beside_a_file_guards_its_admin_endpoint(served: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "misrule.yaml"
    file.write_text(CONFIG)
    env = {"MISRULE_ADMIN_TOKEN_FILE": "token"}
    assert run("run", "--config", str(file), env=env)[0] == 0
    assert served[0].admin == options.AdminConfig("127.0.0.1:0", "token")
    file.write_text(CONFIG.replace("admin:", "# admin:"))
    assert run("run", "--config", str(file), env=env)[0] == 0
    assert served[1].admin is None
    code, _, err = run("run", "--config", str(file), "--token-file", "token")
    assert (code, err) == (
        2,
        "misrule: --token-file: there is no admin endpoint to guard; give --admin too\n",
    )


def test_a_file_is_read_and_options_win(served: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "misrule.yaml"
    file.write_text(CONFIG)
    assert run("run", "--config", str(file), "--access", "all", env={"MISRULE_RULES": "other"})[0] == 0
    assert served[0].rules == ["other"]
    assert served[0].log.access == "all"
    assert run("run", env={"MISRULE_CONFIG": str(file)})[0] == 0
    assert served[1].rules == [str(tmp_path / "rules.yaml")]


def test_warnings_of_a_file_do_not_keep_it_from_starting(served: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "misrule.yaml"
    file.write_text(CONFIG.replace("[{upstream: default}]", "[{upstream: default}, {upstream: default}]"))
    code, _, err = run("run", "--config", str(file))
    assert (code, len(served)) == (0, 1)
    assert "warning: listeners[0].routes[1]: this route is never reached" in err


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--listen", ":1"], 2, "misrule run: --listen (MISRULE_LISTEN) and --config exclude each other"),
        (["--upstream", "http://a"], 2, "misrule run: --upstream (MISRULE_UPSTREAM) and --config exclude"),
        (["--access", "some"], 2, 'misrule: --access: expected all, injected or none, got "some"'),
    ],
)
def test_options_that_a_file_rules_out(
    served: list[Config], tmp_path: Path, words: list[str], code: int, line: str
) -> None:
    file = tmp_path / "misrule.yaml"
    file.write_text(CONFIG)
    found, _, err = run("run", "--config", str(file), *words)
    assert (found, served) == (code, [])
    assert err.startswith(line)
    assert len(err.splitlines()) == 1


def test_every_mistake_of_a_file_is_printed(served: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "misrule.yaml"
    file.write_text(CONFIG.replace("127.0.0.1:9", "h").replace("version: 1", "version: 3") + "tls: {}\n")
    code, out, err = run("run", "--config", str(file))
    assert (code, out, served) == (1, "", [])
    assert [line.removeprefix(f"{file}:").partition(":")[0] for line in err.splitlines()] == ["1", "4", "7"]


def start(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the proxy in a process of its own that is to end by itself."""
    command = [sys.executable, "-m", "proxy", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **more)


def failed(found: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of a failure: nothing else is said by a proxy that does not start."""
    assert (found.returncode, found.stdout) == (1, "")
    assert "Traceback" not in found.stderr
    return found.stderr.splitlines()


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (line,) = failed(start("run", "--listen", address, "--upstream", "http://127.0.0.1:9"))
        assert address in line
        assert "in use" in line.lower()
        (line,) = failed(start(*SIMPLE, "--admin", address))
        assert address in line
        assert "in use" in line.lower()


def test_every_mistake_of_the_rules_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nrules:\n  - {name: A, faults: [delay: 100]}\n")
    lines = failed(start(*SIMPLE, "--rules", str(file)))
    assert [line.partition("rules.yaml")[2].partition(": ")[0] for line in lines] == [":3:12", ":3:31"]


def test_every_rules_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    lines = failed(start(*SIMPLE, "--rules", f"{tmp_path}/a", "--rules", f"{tmp_path}/b"))
    assert [line.partition(str(tmp_path))[2].partition(": ")[0] for line in lines] == ["/a", "/b"]


def test_a_token_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (line,) = failed(start(*SIMPLE, "--admin", "127.0.0.1:0", "--token-file", f"{tmp_path}/none"))
    assert f"{tmp_path}/none" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_with_status_0(number: signal.Signals) -> None:
    child = Process([sys.executable, "-m", "proxy", *SIMPLE, "--admin", "127.0.0.1:0"])
    ready = child.wait_line(r"misrule ready: listener web 127\.0\.0\.1:(\d+); admin 127\.0\.0\.1:(\d+)")
    assert int(ready[1]) > 0
    assert int(ready[2]) > 0
    child.signal(number)
    assert child.stop() == 0


def test_a_signal_in_the_last_moments_changes_no_exit_code(tmp_path: Path) -> None:
    """Behind a drain comes a kubelet's SIGTERM; the loop that took signals is over by then."""
    script = """
import signal
from proxy.cli.run import serve
from proxy.config import from_options
code = serve(from_options("127.0.0.1:0", ["http://127.0.0.1:9"]))
signal.raise_signal(signal.SIGTERM)
print("code", code, flush=True)
"""
    process = Process([sys.executable, "-c", script])
    try:
        process.wait_line("misrule ready")
        process.signal(signal.SIGTERM)
        assert process.wait(30) == 0, process.text()
    finally:
        process.stop()
    assert process.log[-1] == "code 0"


def test_a_mistake_in_the_environment_is_named_by_its_variable(served: list[Config]) -> None:
    env = {"MISRULE_LOG_LEVEL": "loud", "MISRULE_LISTEN": "80"}
    code, _, err = run("run", "--upstream", "http://a", "--access", "some", env=env)
    assert (code, served) == (2, [])
    assert sorted(line.split(": ")[1] for line in err.splitlines()) == [
        "--access",
        "MISRULE_LISTEN",
        "MISRULE_LOG_LEVEL",
    ]
