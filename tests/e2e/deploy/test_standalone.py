"""The systemd unit and the compose file: what they say holds of the program, and their tools take them."""

import http.client
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from proxy.cli.run import run
from proxy.config.options import DrainConfig
from tests.support.manifests import DEPLOY
from tests.support.need import need, step_aside
from tests.support.process import Process, free_port
from tests.support.upstreams import Upstream

UNIT = DEPLOY / "systemd" / "misrule.service"
INSTALLED = "/opt/misrule/bin/misrule"
COMPOSE = DEPLOY / "compose"
FILE: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
GRACE = DrainConfig().grace


def setting(name: str) -> str:
    """The one value of a setting of the unit."""
    (value,) = re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text())
    return str(value)


def options(words: list[str]) -> dict[str, str]:
    """Read the options of a ``misrule run`` as the command does; a wrong one raises."""
    context = run.make_context("run", words[1:])
    return {name: value for name, value in context.params.items() if isinstance(value, str)}


def test_the_unit_starts_the_program() -> None:
    command = shlex.split(setting("ExecStart"))
    assert command[:2] == [INSTALLED, "run"]
    given = options(command[1:])
    assert given["config"] == "/etc/misrule/misrule.yaml"
    assert given["state_dir"] == "${STATE_DIRECTORY}"


def test_the_unit_waits_for_a_drain() -> None:
    assert float(setting("TimeoutStopSec").removesuffix("s")) > GRACE
    assert setting("KillSignal") == "SIGTERM"


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``systemd-analyze``; steps aside where it knows no ``security --offline`` (before systemd 250)."""
    command = need("systemd-analyze")
    found = re.match(r"systemd (\d+)", subprocess.run([command, "--version"], **PIPED).stdout)
    if found is None or int(found[1]) < 250:
        step_aside("systemd-analyze is older than 250")
    return subprocess.run([command, *words], **PIPED)


PIPED: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, "check": False}


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "misrule"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, str(program)))
    verified = analyze("verify", "--man=no", str(unit))
    about_it = [line for line in verified.stderr.splitlines() if "misrule" in line]
    assert (verified.returncode, about_it) == (0, [])


def test_systemd_finds_little_open_in_the_unit() -> None:
    rated = analyze("security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT))
    assert rated.returncode == 0, rated.stdout


_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_DURATION = {"type": "string", "pattern": r"^(\d+(h|m|s|ms))+$"}
_SERVICE = {
    "image": {"type": "string"},
    "command": _TEXTS,
    "ports": _TEXTS,
    "volumes": _TEXTS,
    "secrets": _TEXTS,
    "depends_on": _TEXTS,
    "healthcheck": {
        "type": "object",
        "properties": {
            "test": _TEXTS,
            "interval": _DURATION,
            "timeout": _DURATION,
            "retries": {"type": "integer"},
            "start_period": _DURATION,
        },
        "additionalProperties": False,
    },
    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
    "stop_grace_period": _DURATION,
    "user": {"type": "string"},
    "read_only": {"type": "boolean"},
    "cap_drop": _TEXTS,
    "security_opt": _TEXTS,
}
# What we use of the Compose Specification.
_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": _SERVICE,
                "additionalProperties": False,
                "required": ["image"],
            },
        },
        "volumes": {"type": "object", "additionalProperties": {"type": "object", "maxProperties": 0}},
        "secrets": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"file": {"type": "string"}},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def test_the_compose_file_is_one() -> None:
    jsonschema.Draft202012Validator(_SCHEMA).validate(FILE)
    proxy = FILE["services"]["misrule"]
    assert set(proxy["secrets"]) == set(FILE["secrets"])
    assert set(proxy["depends_on"]) < set(FILE["services"])
    assert float(proxy["stop_grace_period"].removesuffix("s")) > GRACE


def test_compose_takes_the_file() -> None:
    command = [need("docker"), "compose"]
    if subprocess.run([*command, "version"], **PIPED).returncode:
        step_aside("docker has no compose")
    taken = subprocess.run([*command, "-f", str(COMPOSE / "compose.yaml"), "config", "-q"], **PIPED)
    assert taken.returncode == 0, taken.stderr


def placed(text: str, places: Mapping[str, str]) -> str:
    """Put what is outside in the place of what a container sees."""
    for inside, outside in places.items():
        text = text.replace(inside, outside)
    return text


def test_the_compose_file_s_proxy_serves_and_is_healthy(
    upstreams: Callable[[str], Upstream], tmp_path: Path
) -> None:
    """Its command and its health check, with its folders elsewhere: what a container would run."""
    shutil.copytree(COMPOSE / "misrule", tmp_path / "misrule")
    (tmp_path / "admin-token").write_text("a" * 64 + "\n")
    admin = free_port()
    places = {
        "/etc/misrule": str(tmp_path / "misrule"),
        "/run/secrets": str(tmp_path),
        "/var/lib/misrule": str(tmp_path / "state"),
        "shop:80": upstreams("nginx").address,
        "0.0.0.0:9905": f"127.0.0.1:{admin}",
        "0.0.0.0:8080": "127.0.0.1:0",
    }
    proxy = FILE["services"]["misrule"]
    config = tmp_path / "misrule" / "misrule.yaml"
    config.write_text(placed(config.read_text(), places))
    misrule = [sys.executable, "-m", "proxy"]
    process = Process([*misrule, *(placed(word, places) for word in proxy["command"])])
    try:
        address = process.wait_line(r"listener web ([\d.:]+)")[1]
        client = http.client.HTTPConnection(address, timeout=20)
        client.request("GET", "/")
        assert client.getresponse().headers["server"].startswith("nginx")
        client.close()
        kind, name, *words = (placed(word, places) for word in proxy["healthcheck"]["test"])
        assert (kind, name) == ("CMD", "misrule")
        checked = [*misrule, *words, "--admin", f"127.0.0.1:{admin}"]
        healthy = subprocess.run(checked, **PIPED)
        assert (healthy.returncode, healthy.stdout) == (0, "ready\n"), healthy.stderr
        assert list((tmp_path / "state").iterdir())
    finally:
        status = process.stop()
    assert status == 0
