"""nghttpx: HTTP/2 in clear text on both sides; routes by host and path, no faults, no rules."""

from pathlib import Path

from benchmarks.load.places import program
from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects.base import Command, Subject, first_line
from benchmarks.load.upstream import GRPC, HTTP2, Upstream


def arguments(port: int, upstream: int) -> list[str]:
    """Give its arguments; the file of its defaults is not read."""
    return [
        *("--conf=/dev/null", f"--frontend=127.0.0.1,{port};no-tls"),
        *(f"--backend=127.0.0.1,{upstream};;proto=h2", "--workers=1", "--single-process"),
        *("--add-x-forwarded-for", "--no-ocsp", "--log-level=ERROR"),
    ]


class Nghttpx(Subject):
    """One worker thread, as Debian's package has it."""

    name = "nghttpx"
    has_rules = False
    protocols = (HTTP2, GRPC)

    def missing(self) -> str:
        return "" if program("nghttpx") else "not installed (Debian: apt-get install nghttp2-proxy)"

    def version(self) -> str:
        return first_line(program("nghttpx"), "--version")

    def skips(self, rules: RuleSet) -> str:
        return "no faults" if rules.faults else ""

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        return Command([program("nghttpx"), *arguments(port, upstream.port)])
