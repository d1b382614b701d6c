"""Real TLS clients behind one call: what does each say about a server's certificate and handshake?

``ask`` takes many targets, as starting Java or Go for each would take half a second.  Connections go to
``Target.host``; ``Target.name`` is asked for (SNI) and verified.  A client that the machine has not got makes
its test step aside.

``Outcome.code`` is what a program would look at: the client's own code where it has one, else its words
without what varies (names, dates).  ``Outcome.kind`` puts it into one vocabulary, that of ``KINDS``.
"""

import json
import re
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

from tests.support.need import need

FOLDER = Path(__file__).parent / "tls"
TIMEOUT = 20.0

# What clients' words mean; the first that is found counts.
KINDS: dict[str, str] = {
    "alert": r"(?i)\balert|remote error: tls|\b(tlsv1|sslv3)[ _]",  # first: alerts speak of certificates too
    "expired": r"certificate has expired(?! or)|CERT_HAS_EXPIRED|NotAfter|InvalidError\(1\) is after",
    "not_yet_valid": r"(?<!or is )not yet valid|CERT_NOT_YET_VALID|NotBefore|InvalidError\(1\) is before",
    "revoked": r"certificate revoked|CERT_REVOKED|certificate status is revoked|revocation reason",
    "weak_key": r"key too (weak|small)|EE_KEY_TOO_SMALL|key size|algorithm constraints",
    "weak_digest": r"md too weak|algorithm too weak|CA_MD_TOO_WEAK|insecure algorithm|SHA1",
    "constraint": r"subtree violation|not permitted by any constraint|PERMITTED_VIOLATION|name constraints",
    "purpose": r"certificate purpose|INVALID_PURPOSE|incompatible key usage|[Ee]xtended key usage",
    "name": r"[Hh]ostname mismatch|ALTNAME_INVALID|HostnameError|No name matching|alternative DNS name|"
    r"certificate subject name|IP address mismatch|Hostname Verification|No subject alternative",
    "self_signed": r"(?i)DEPTH_ZERO_SELF_SIGNED|self.signed certificate(?! in)",
    "untrusted": r"(?i)SELF_SIGNED_CERT_IN_CHAIN|self.signed certificate in",
    "unknown_issuer": r"(?i)local issuer|UNABLE_TO_VERIFY_LEAF|UnknownAuthority|valid certification path",
    "timeout": r"(?i)timed? ?out|deadline",
    "refused": r"(?i)refused|Couldn't connect|\bConnectException",
    "reset": r"(?si)\A(?!.*before secure TLS).*(reset by peer|ECONNRESET|connection reset|errno=104)",
    "closed": r"(?i)\bEOF\b|closed|socket hang up|before secure TLS|terminated|SSL_ERROR_SYSCALL",
}


@dataclass(frozen=True)
class Target:
    """Where to connect, and the name to ask for and to verify."""

    port: int
    name: str
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Outcome:
    """What a client said; ``kind`` and ``code`` are "" where all went well, ``words`` are its own."""

    code: str
    words: str

    @property
    def ok(self) -> bool:
        """Whether the client was content."""
        return not self.code

    @property
    def kind(self) -> str:
        """The meaning of what it said, "other" for what is not in ``KINDS``."""
        if self.ok:
            return ""
        said = f"{self.code}\n{self.words}"
        return next((kind for kind, pattern in KINDS.items() if re.search(pattern, said)), "other")


OK = Outcome("", "")
Ask = Callable[[Sequence[Target], Path, float], list[Outcome]]


def failed(words: str, code: str = "") -> Outcome:
    """Make an outcome of a client's words."""
    words = " ".join(words.split())
    return Outcome(code or steady(words) or "no words", words)


def steady(words: str) -> str:
    """Take out of an error's words what differs from run to run."""
    for pattern, put in (
        (r" \(_ssl\.c:\d+\)", ""),
        (r"\b(\d{1,3}\.){3}\d{1,3}:\d+", "ADDRESS"),
        (r"\b[\w.-]*\.(example|invalid|test)\b", "NAME"),
        (r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d+ [\d:]+ [A-Z]+ \d{4}", "DATE"),
        (r"\d{4}-\d\d-\d\dT[\d:]+Z", "DATE"),
        (r"\b[0-9A-F]{8,}:", ""),
    ):
        words = re.sub(pattern, put, words)
    return words


def _each(one: Callable[[Target, Path, float], Outcome]) -> Ask:
    return lambda targets, ca, patience: [one(target, ca, patience) for target in targets]


def _is_address(name: str) -> bool:
    return bool(re.fullmatch(r"[0-9.]+|.*:.*", name))


def run(
    command: Sequence[str], data: str = "", patience: float = 120.0, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a client to its end, or until we are out of patience: exit code 124, as that of ``timeout``."""
    try:
        return subprocess.run(
            command, input=data, capture_output=True, text=True, errors="replace", timeout=patience, **more
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "error: timed out")


# ---- one client after the other --------------------------------------------------------------------------


def s_client(target: Target, ca: Path, patience: float = TIMEOUT, *more: str) -> Outcome:
    """Ask with ``openssl s_client``, which verifies the name only when told to; ``code`` is its number."""
    command = [need("openssl"), "s_client", "-connect", f"{target.host}:{target.port}", "-CAfile", str(ca)]
    if _is_address(target.name):
        command += ["-noservername", "-verify_ip", target.name]
    else:
        command += ["-servername", target.name, "-verify_hostname", target.name]
    done = run([*command, "-verify_return_error", *more], patience=patience)
    said = done.stdout + done.stderr
    found = re.search(r"verify error:num=(\d+):(.*)", said)
    if found is not None:
        return failed(found[2], f"{found[1]} {found[2]}")
    if done.returncode == 0 and "Verification: OK" in said:
        return OK
    errors = [line for line in said.splitlines() if re.search("error|errno=", line)]
    return failed(errors[0] if errors else said[-200:])


def curl(target: Target, ca: Path, patience: float = TIMEOUT, *more: str) -> Outcome:
    """Ask with curl; ``code`` is its exit code and the reason that it gives."""
    to = f"{target.name}:{target.port}:{target.host}"
    name = f"[{target.name}]" if ":" in target.name else target.name
    command = [
        need("curl"),
        "-sS",
        "--http1.1",
        "-o",
        "/dev/null",
        "--cacert",
        str(ca),
        "--noproxy",
        "*",
        "-m",
        str(patience),
    ]
    done = run([*command, "--resolve", to, *more, f"https://{name}:{target.port}/"])
    if done.returncode == 0:
        return OK
    words = done.stderr.splitlines()[0] if done.stderr else ""
    return failed(words, steady(words.removeprefix("curl: ")))


def python_ssl(target: Target, ca: Path, patience: float = TIMEOUT) -> Outcome:
    """Ask with Python's ssl as `create_default_context` sets it up."""
    context = ssl.create_default_context(cafile=str(ca))
    try:
        with (
            socket.create_connection((target.host, target.port), patience) as sock,
            context.wrap_socket(sock, server_hostname=target.name) as tls,
        ):
            tls.sendall(f"GET / HTTP/1.1\r\nhost: {target.name}\r\nconnection: close\r\n\r\n".encode())
            tls.recv(1)
    except ssl.SSLCertVerificationError as error:
        return failed(str(error), steady(f"{error.verify_code} {error.verify_message}"))
    except OSError as error:
        return failed(f"{type(error).__name__}: {error}")
    return OK


def _httpx(target: Target, ca: Path, patience: float = TIMEOUT) -> Outcome:
    context = ssl.create_default_context(cafile=str(ca))
    name = target.name.strip("[]")
    try:
        with httpx.Client(verify=context, trust_env=False, timeout=patience) as client:
            url = f"https://{target.host}:{target.port}/"
            client.get(url, headers={"host": name}, extensions={"sni_hostname": name})
    except httpx.HTTPError as error:
        return failed(f"{type(error).__name__}: {error}")
    return OK


def _grpc(target: Target, ca: Path, patience: float = TIMEOUT) -> Outcome:
    options = [("grpc.ssl_target_name_override", target.name), ("grpc.enable_http_proxy", 0)]
    credentials = grpc.ssl_channel_credentials(ca.read_bytes())
    with grpc.secure_channel(f"{target.host}:{target.port}", credentials, options) as channel:
        try:
            channel.unary_unary("/shop.Cart/Add", bytes, bytes)(b"", timeout=patience)
        except grpc.RpcError as error:
            words = error.details() or ""
            if error.code() is grpc.StatusCode.UNAVAILABLE and "connect" in words:
                return failed(
                    words, steady(re.split(r"last error: |OPENSSL_internal:|ipv[46]:\S+: ", words)[-1])
                )
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return failed(f"deadline: {words}")
    return OK  # whatever the call came to: there was a handshake


# ---- all targets in one process ----------------------------------------------------------------------------


def _json(targets: Sequence[Target], ca: Path, patience: float) -> str:
    listed = [{"host": t.host, "port": t.port, "name": t.name} for t in targets]
    return json.dumps({"ca": ca.read_text(), "targets": listed, "timeout": patience})


def _spoken(done: subprocess.CompletedProcess[str]) -> list[Outcome]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return [OK if one["ok"] else failed(one["words"], one["code"]) for one in found]


def _node(targets: Sequence[Target], ca: Path, patience: float) -> list[Outcome]:
    return _spoken(
        run([need("node"), "--no-warnings", str(FOLDER / "client.mjs")], _json(targets, ca, patience))
    )


def _go(targets: Sequence[Target], ca: Path, patience: float) -> list[Outcome]:
    go = need("go")
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/client"
        built = run([go, "build", "-o", program, "."], cwd=FOLDER / "go")
        assert built.returncode == 0, built.stderr
        found = _spoken(run([program], _json(targets, ca, patience)))
    return [one if one.ok else failed(one.words, _go_code(one)) for one in found]


def _go_code(one: Outcome) -> str:
    """Tell what is over from what has not begun: to Go both are "Expired"."""
    when = re.search(r"is (after|before)", one.words)
    return f"{one.code} {when[0]}" if when else one.code


def _java(targets: Sequence[Target], ca: Path, patience: float) -> list[Outcome]:
    java = need("java")
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as hosts:
        hosts.writelines(f"{target.host} {target.name}\n" for target in targets)
        hosts.flush()
        options = [f"-Djdk.net.hosts.file={hosts.name}", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        asked = [f"{target.name}:{target.port}" for target in targets]
        done = run([java, *options, str(FOLDER / "TlsClient.java"), str(ca), str(patience), *asked])
    lines = done.stdout.splitlines()
    assert len(lines) == len(targets), done.stdout + done.stderr
    return [OK if line == "ok" else failed(line, _java_code(line)) for line in lines]


def _java_code(line: str) -> str:
    """Take the root of the causes: the layers above only repeat it."""
    return steady(line.rpartition(" / ")[2])


CLIENTS: dict[str, Ask] = {
    "s_client": _each(s_client),
    "curl": _each(curl),
    "ssl": _each(python_ssl),
    "httpx": _each(_httpx),
    "grpcio": _each(_grpc),
    "node": _node,
    "java": _java,
    "go": _go,
}


def ask(client: str, targets: Sequence[Target], ca: Path, patience: float = TIMEOUT) -> list[Outcome]:
    """Ask each target with a client that trusts the roots in ``ca`` (PEM) and no others.

    ``patience`` is in seconds, for each target.
    """
    return CLIENTS[client](targets, ca, patience)
