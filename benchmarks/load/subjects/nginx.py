"""nginx as a proxy: conditions as locations and maps; it has no faults of its own."""

from pathlib import Path

from benchmarks.load import certificate
from benchmarks.load.places import program
from benchmarks.load.rulesets import TIER_HEADER, RuleSet
from benchmarks.load.subjects.base import Command, Subject, first_line
from benchmarks.load.upstream import HTTP1, HTTPS, Upstream, temporary_paths

# Buffers of responses are large enough for the 64 KiB one, uploads are passed on as they come: the defaults
# would write both to files.
CONFIG = """\
daemon off;
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_max_body_size 16m;
    map_hash_max_size 65536;
    map_hash_bucket_size 128;
{temporary}
    upstream one {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
    map $http_host $host_rule {{
        default 0;
{hosts}
    }}
    map $http_{tier} $tier_rule {{
        default 0;
{tiers}
    }}
    proxy_http_version 1.1;
    proxy_set_header connection "";
    proxy_set_header host $http_host;
    proxy_set_header x-forwarded-for $proxy_add_x_forwarded_for;
    proxy_set_header x-forwarded-proto $scheme;
    proxy_request_buffering off;
    proxy_buffers 16 16k;
    proxy_buffer_size 16k;
    proxy_busy_buffers_size 64k;
    proxy_max_temp_file_size 0;
    server {{
        listen 127.0.0.1:{port} backlog=4096{tls};
        if ($host_rule) {{ return 503; }}
        if ($tier_rule) {{ return 503; }}
{paths}
        location / {{ proxy_pass http://one; }}
    }}
}}
"""


def config(work: Path, port: int, upstream: int, rules: RuleSet, certificate: str = "") -> str:
    """Give the whole configuration; ``certificate``: of a listener over TLS."""
    tls = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}" if certificate else ""
    tls += "; ssl_protocols TLSv1.3" if certificate else ""  # 1.2 is the newest that it speaks by default
    of_kind = {
        kind: [condition.value for condition in rules.conditions if condition.kind == kind]
        for kind in ("path", "host", "tier")
    }
    return CONFIG.format(
        work=work,
        tls=tls,
        port=port,
        upstream=upstream,
        temporary=temporary_paths(work, "nginx"),
        tier=TIER_HEADER.replace("-", "_"),
        hosts="\n".join(f"        {value} 1;" for value in of_kind["host"]),
        tiers="\n".join(f"        {value} 1;" for value in of_kind["tier"]),
        paths="\n".join(f"        location {value} {{ return 503; }}" for value in of_kind["path"]),
    )


class Nginx(Subject):
    """One worker behind its master, as Debian's package has it."""

    name = "nginx"
    protocols = (HTTP1, HTTPS)

    def missing(self) -> str:
        return "" if program("nginx") else "not installed (Debian: apt-get install nginx-light)"

    def version(self) -> str:
        return first_line(program("nginx"), "-v")

    def skips(self, rules: RuleSet) -> str:
        return "no faults" if rules.faults else ""

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        written = work / "nginx.conf"
        shown = str(certificate.make(work)) if upstream.tls else ""
        written.write_text(config(work, port, upstream.port, rules, shown))
        return Command([program("nginx"), "-e", str(work / "log"), "-p", str(work), "-c", str(written)])
