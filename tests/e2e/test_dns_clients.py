"""Real clients of the DNS listener: each failure gives each the error of the real one, as the docs say."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.support.dns_server import NODATA, REFUSED, SERVFAIL, SILENCE, TRUNCATED, Resolver, Zone
from tests.support.need import need, need_own_resolvers
from tests.support.proxy import Proxy, Rule, rule

PROXY = "127.0.0.77"
REAL = "127.0.0.78"
WHOLE = {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}
WRONG = {"A": ["203.0.113.1"], "AAAA": ["2001:db8:bad::1"]}

# Each row of the table: the fault, and a zone in which the same happens by itself.
FAULTS: dict[str, Rule] = {
    "nxdomain": {"dns": "nxdomain"},
    "nodata": {"dns": "nodata"},
    "servfail": {"dns": "servfail"},
    "refused": {"dns": "refused"},
    "timeout": {"dns": "timeout"},
    "truncated": {"dns": "truncated"},
    "partial": {"dns": "partial"},
    "address": {"dns": {"address": ["203.0.113.1", "2001:db8:bad::1"]}},
}
HAPPENS: Zone = {
    "nodata.test": NODATA,
    "servfail.test": SERVFAIL,
    "refused.test": REFUSED,
    "timeout.test": SILENCE,
    "truncated.test": {**WHOLE, TRUNCATED: []},
    "address.test": WRONG,
    "partial.test": {"A": ["192.0.2.1", "192.0.2.2"]},
}

DIG = """
for name in "$@"; do
  said=$(dig +time=1 +tries=1 "$name.test" A)
  status=$(printf '%s' "$said" | sed -n 's/.*status: \\([A-Z]*\\),.*/\\1/p')
  records=$(printf '%s' "$said" | sed -n 's/^[^;].*\\tA\\t//p' | sort | paste -sd " ")
  echo "$name ${records:-${status:-timed out}}"
done
"""
GLIBC = """
import socket, sys
names = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
for name in sys.argv[1:]:
    try:
        found = socket.getaddrinfo(name + ".test", 80, type=socket.SOCK_STREAM)
        print(name, *sorted({address[0] for *_, address in found}))
    except socket.gaierror as error:
        print(name, names[error.errno])
"""
CARES = """
import asyncio, socket, sys
import aiodns, pycares
async def main():
    asking = aiodns.DNSResolver(timeout=1.0, tries=1)
    for name in sys.argv[1:]:
        try:
            found = await asking.getaddrinfo(name + ".test", type=socket.SOCK_STREAM)
            print(name, *sorted({node.addr[0].decode() for node in found.nodes}))
        except aiodns.error.DNSError as error:
            print(name, pycares.errno.errorcode[error.args[0]])
asyncio.run(main())
"""
NODE = """
const { Resolver } = require('node:dns').promises;
const asking = new Resolver({ timeout: 1000, tries: 1 });
(async () => {
  for (const name of process.argv.slice(1)) {
    try { console.log(name, (await asking.resolve4(name + '.test')).sort().join(' ')); }
    catch (error) { console.log(name, error.code); }
  }
})();
"""
LOOKUP = """
const dns = require('node:dns').promises;
(async () => {
  for (const name of process.argv.slice(1)) {
    try {
      const found = await dns.lookup(name + '.test', { all: true });
      console.log(name, found.map((one) => one.address).sort().join(' '));
    } catch (error) { console.log(name, error.code); }
  }
})();
"""
CLIENTS: dict[str, tuple[str, list[str]]] = {
    "`dig`": ("dig", ["sh", "-c", DIG, "sh"]),
    "glibc `getaddrinfo`": (sys.executable, [sys.executable, "-c", GLIBC]),
    "c-ares `ares_getaddrinfo`": (sys.executable, [sys.executable, "-c", CARES]),
    "Node `dns.resolve4`": ("node", ["node", "-e", NODE]),
    "Node `dns.lookup`": ("node", ["node", "-e", LOOKUP]),
}


def table() -> dict[str, dict[str, str]]:
    """The table of the docs: by client, then by fault."""
    page = (ROOT / "docs" / "dns.md").read_text().partition("### What real clients make of it")[2]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    head, body = rows[0], rows[2:]
    return {
        client: {row[0].strip("`"): row[head.index(client)].strip("`") for row in body} for client in CLIENTS
    }


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Files for /etc/resolv.conf: the listener, whose rules make faults, and a resolver that has them."""
    need_own_resolvers()
    folder = tmp_path_factory.mktemp("clients")
    rules = [
        rule(name, fault, match={"listener": ["dns"], "dns": {"name": f"{name}.test"}})
        for name, fault in FAULTS.items()
    ]
    files = {}
    for name, address in (("rule", PROXY), ("itself", REAL)):
        file = folder / name
        file.write_text(f"nameserver {address}\noptions timeout:1 attempts:1\n")
        files[name] = str(file)
    zone: Zone = {f"{name}.test": WHOLE for name in FAULTS}
    zone["partial.test"] = {"A": [f"192.0.2.{n}" for n in range(1, 5)]}
    with Resolver(zone) as well, Resolver(HAPPENS, host=REAL, port=53):
        proxy = _proxy(folder, well)
        proxy.put(*rules)
        yield files
        proxy.stop()


def _proxy(folder: Path, resolver: Resolver) -> Proxy:
    return Proxy(
        folder,
        config={
            "dns": {"listen": f"{PROXY}:53", "resolvers": [resolver.address]},
            "listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "app"}]}],
            "upstreams": {"app": {"address": "127.0.0.1:9"}},
        },
    )


@pytest.mark.parametrize("place", ["itself", "rule"])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_meets_the_error_of_the_real_failure(
    places: dict[str, str], client: str, place: str
) -> None:
    tool, command = CLIENTS[client]
    need(tool)
    inside = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", inside, "sh", places[place], *command, *FAULTS],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = dict(line.partition(" ")[::2] for line in ran.stdout.splitlines())
    assert said == table()[client], json.dumps(said)
