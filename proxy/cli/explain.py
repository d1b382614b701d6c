"""``misrule explain``: why a request is hit by a rule, or why not."""

import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import click

from proxy.cli.exits import FAILURE, Failed
from proxy.cli.output import emit_json, table
from proxy.cli.problems import show_problems
from proxy.cli.remote import Admin, admin_options, json_option
from rules.facts import PROTOCOLS, Facts
from rules.http_params import GrpcStatus
from rules.params import BadValue

OUTCOMES: Final = {
    "fires": "fires",
    "shadow": "would fire (shadow)",
    "no_match": "no match",
    "not_sampled": "not sampled",
    "on_connection": "on connections",
    "needs_response": "depends on the answer",
    "passed_over": "passed over",
    "disabled": "disabled",
}


@click.command()
@click.argument("url")
@click.option("-X", "--request", "method", default="GET", show_default=True, metavar="METHOD", help="Method.")
@click.option("-H", "--header", "lines", multiple=True, metavar="LINE", help="Header, as in 'x-user: 7'.")
@click.option("--rules", "paths", multiple=True, metavar="PATH", help="Ask these rules, not a running proxy.")
@click.option("--listener", default="", metavar="NAME", help="Where the request comes in.")
@click.option("--upstream", default="", metavar="NAME", help="Where its route leads.")
@click.option("--source", default="127.0.0.1", show_default=True, metavar="IP", help="The client's address.")
@click.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(list(PROTOCOLS)), help="Default: http1."
)
@click.option("--sni", default="", metavar="NAME", help="The name in the TLS handshake.")
@click.option(
    "--status", type=click.IntRange(100, 999), help="The answer's status, for rules that look at it."
)
@click.option(
    "--response-header", "answer_lines", multiple=True, metavar="LINE", help="A header of the answer."
)
@click.option(
    "--grpc-status", default="", metavar="STATUS", help="The answer's gRPC status, as in NOT_FOUND."
)
@admin_options
@json_option
def explain(paths: Sequence[str], admin: Admin, as_json: bool, **asked: Any) -> None:
    """Say for each rule whether a request to URL is hit, and if not, at which part it is missed.

    The request is given as to curl. Nothing is sent, drawn or counted. A running proxy is asked
    (--admin), or, with --rules, only these files.
    """
    request = build_request(**asked)
    entries = _from_files(paths, request) if paths else _from_proxy(admin, request)
    if as_json:
        emit_json(entries)
        return
    rows = [
        (entry["rule"], OUTCOMES.get(entry["outcome"], entry["outcome"]), why(entry)) for entry in entries
    ]
    if rows:
        table(("rule", "outcome", "why"), rows, f"{request['method']} {request['host']}{request['path']}")
    else:
        click.echo("there are no rules", err=True)


def build_request(
    url: str,
    method: str,
    lines: Sequence[str],
    listener: str,
    upstream: str,
    source: str,
    protocols: Sequence[str],
    sni: str,
    status: int | None,
    answer_lines: Sequence[str],
    grpc_status: str = "",
) -> dict[str, Any]:
    """Put together what ``POST /v1/explain`` takes."""
    parts = urlsplit(url if "://" in url or url.startswith("/") else f"http://{url}")
    headers = read_headers(lines)
    path = parts.path or "/"
    request: dict[str, Any] = {
        "method": method,
        "path": f"{path}?{parts.query}" if parts.query else path,
        "host": _host(headers["host"][0] if "host" in headers else parts.netloc),
        "headers": headers,
        "listener": listener,
        "upstream": upstream,
        "source": _address(source),
        "protocol": list(protocols) or ["http1"],
        "sni": sni,
    }
    if status is not None or answer_lines or grpc_status:
        request["response"] = {
            "status": status or 200,
            "headers": read_headers(answer_lines),
            "grpc_status": _status(grpc_status),
        }
    return request


def _address(text: str) -> str:
    """Read an IP address; empty is that of clients at a unix socket."""
    try:
        return text and str(ip_address(text))
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no IP address such as 10.0.0.7", param_hint="'--source'"
        ) from None


def _status(text: str) -> int:
    """Read a gRPC status, a name or a number; -1 for none."""
    if not text:
        return -1
    try:
        return GrpcStatus().parse(int(text) if text.isdigit() else text)
    except BadValue as bad:
        raise click.BadParameter(str(bad), param_hint="'--grpc-status'") from None


def read_headers(lines: Sequence[str]) -> dict[str, list[str]]:
    """Read header lines as curl takes them; names in lower case."""
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"'{line}' is no header line; write 'name: value'", param_hint="'-H'")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    return headers


def _host(authority: str) -> str:
    """Give the host of an authority: lower case, without user and port (RFC 3986, 3.2)."""
    host = authority.rpartition("@")[2].lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _from_proxy(admin: Admin, request: dict[str, Any]) -> list[dict[str, Any]]:
    asked = {key: value for key, value in request.items() if value not in ("", [], {})}
    value = admin.call("POST", "/v1/explain", asked).value
    if value["stopped"]:
        click.echo("stopped: nothing of this is done until `misrule resume`", err=True)
    entries: list[dict[str, Any]] = value["rules"]
    return entries


def _from_files(paths: Sequence[str], request: dict[str, Any]) -> list[dict[str, Any]]:
    """Compile the rules of files and directories and ask them."""
    from proxy.rulefiles import look, read_files
    from rules.explain import explain as explain_rules
    from rules.parse import parse_rules
    from rules.store import Document, Refusal, Store
    from rules.text import RulesError

    contents = read_files(look(list(paths)))
    problems = list(contents.problems)
    documents = []
    for source, data in contents.documents:
        try:
            documents.append(Document(source, tuple(parse_rules(data, source))))
        except RulesError as error:
            problems += error.problems
    if problems:
        show_problems(problems, sys.stderr)
        raise click.exceptions.Exit(FAILURE)
    change = Store().replace_files(documents, 0.0, "files")
    if isinstance(change, Refusal):
        raise Failed(*change.text.splitlines())
    return explain_rules(change.snapshot, facts_of(request))


def facts_of(request: dict[str, Any]) -> Facts:
    """Give the facts of a request as the proxy would have them."""
    bits = 0
    for name in request["protocol"]:
        bits |= PROTOCOLS[name]
    facts = Facts(request["listener"], request["source"], bits)
    path, _, query = request["path"].partition("?")
    facts.method = request["method"].encode()
    facts.path, facts.query = path.encode(), query.encode()
    facts.host = request["host"].encode()
    facts.upstream = request["upstream"]
    facts.sni = request["sni"].encode() or None
    facts.headers = _bytes(request["headers"])
    if facts.host:
        facts.headers.setdefault(b"host", [facts.host])
    answer = request.get("response")
    if answer is not None:
        facts.response_status = answer["status"]
        facts.response_headers = _bytes(answer["headers"])
        facts.grpc_status = answer["grpc_status"]
    return facts


def _bytes(headers: dict[str, list[str]]) -> dict[bytes, list[bytes]]:
    return {name.encode(): [value.encode() for value in values] for name, values in headers.items()}


def why(entry: dict[str, Any]) -> str:
    """Say in a line what decided."""
    failed = entry.get("failed")
    if failed:
        return f"{failed['part']}: wanted {failed['wanted']}, saw {failed['seen']}"
    if entry["outcome"] == "passed_over":
        return f"{entry['passed_over_by']} is final and fires before"
    parts = list(entry["sample"])
    if entry["outcome"] == "needs_response":
        parts += [_noted(fault) for fault in entry["faults"] if fault["note"]]
    if entry["outcome"] in ("fires", "shadow", "on_connection"):
        parts += [_fault(fault) for fault in entry["faults"]]
    return "; ".join(parts)


def _noted(fault: dict[str, Any]) -> str:
    note = f" ({fault['note']})" if fault["note"] else ""
    return f"{fault['kind']} at {fault['phase']}{note}"


def _fault(fault: dict[str, Any]) -> str:
    what = _noted(fault)
    if fault["cancelled_by"]:
        return f"{what}: cancelled, {fault['cancelled_by']} ends the exchange before"
    if not fault["fires"]:
        return f"{what}: {fault['why_not']}"
    return what if fault["order"] is None else f"{fault['order']}. {what}"  # what a shadow would do has none
