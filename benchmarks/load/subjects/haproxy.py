"""HAProxy: each condition an ACL with an answer, an abort by its own random numbers."""

from pathlib import Path

from benchmarks.load import certificate
from benchmarks.load.places import program
from benchmarks.load.rulesets import TIER_HEADER, Condition, PathFault, RuleSet
from benchmarks.load.subjects.base import Command, Subject, first_line
from benchmarks.load.upstream import HTTP1, HTTPS, Upstream

CONFIG = """\
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout client 1h
    timeout server 1h
    timeout connect 5s
    timeout http-keep-alive 1h
    timeout http-request 10s
    option forwardfor
    http-reuse always
frontend web
    bind 127.0.0.1:{port} backlog 4096{tls}
{rules}
    default_backend upstream
backend upstream
    server one 127.0.0.1:{upstream} maxconn 1024
"""


def acl(condition: Condition) -> str:
    """Give the condition in HAProxy's words."""
    if condition.kind == "path":
        return f"path_beg {condition.value}"
    if condition.kind == "host":
        return f"hdr(host) {condition.value}"
    return f"hdr({TIER_HEADER}) {condition.value}"


def lines(rules: RuleSet) -> str:
    """Give one ACL and its use for each condition and abort."""
    made: list[str] = []
    for number, condition in enumerate(rules.conditions):
        made.append(f"    acl rule{number} {acl(condition)}")
        made.append(f"    http-request return status 503 if rule{number}")
    for number, fault in enumerate(rules.faults):
        made.append(f"    acl fault{number} path_beg {fault.prefix}")
        made.append(f"    http-request return status 503 if fault{number} {{ rand(100) lt {fault.percent} }}")
    return "\n".join(made)


def config(port: int, upstream: int, rules: RuleSet, certificate: str = "") -> str:
    """Give the whole configuration; ``certificate``: of a listener over TLS."""
    tls = f" ssl crt {certificate} alpn http/1.1" if certificate else ""
    return CONFIG.format(port=port, upstream=upstream, rules=lines(rules), tls=tls)


def _is_delay(fault: PathFault) -> bool:
    return fault.kind == "delay"


class HAProxy(Subject):
    """One thread, one process, as Debian's package has it."""

    name = "HAProxy"
    protocols = (HTTP1, HTTPS)

    def missing(self) -> str:
        return "" if program("haproxy") else "not installed (Debian: apt-get install haproxy)"

    def version(self) -> str:
        return first_line(program("haproxy"), "-v")

    def skips(self, rules: RuleSet) -> str:
        return "no delays" if any(map(_is_delay, rules.faults)) else ""

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        written = work / "haproxy.cfg"
        shown = str(certificate.make(work)) if upstream.tls else ""
        written.write_text(config(port, upstream.port, rules, shown))
        return Command([program("haproxy"), "-db", "-f", str(written)])
