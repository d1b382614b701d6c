"""``misrule certs``: the local authority, its certificates, and a look at what servers show."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from certs import storage
from certs.errors import CertError
from certs.flavour import KINDS, Flavour
from proxy.cli.exits import FAILURE, OK, Failed, Misused
from proxy.cli.output import emit_json, paint, say, table
from proxy.cli.remote import json_option

if TYPE_CHECKING:
    from certs.authority import Authority
    from certs.inspection import Endpoint
    from certs.mint import Leaf

STDOUT: Final = "-"

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Group(click.Group):
    """Says what is wrong with certificates as other commands do: one line, exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command of the group."""
        try:
            return super().invoke(ctx)
        except CertError as error:
            raise Failed(str(error)) from None


def default_directory() -> Path:
    """Say where the authority is when nobody says otherwise (XDG base directories)."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(home) / "misrule" / "certs"


def directory_option(command: _Command) -> _Command:
    """Add --dir; the command gets ``directory: Path``."""
    option = click.option(
        "--dir",
        "directory",
        envvar="MISRULE_CERTS_DIR",
        default=default_directory,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Directory of the authority (default: ~/.local/share/misrule/certs).",
    )
    return option(command)


@click.group(cls=_Group)
def certs() -> None:
    """Keep the local authority, mint certificates, look at what a server shows."""


@certs.command()
@click.option("--rotate", is_flag=True, help="Make a new root in its place; clients must be given it anew.")
@click.option("--export", metavar="FILE", help="Write the root's certificate (PEM); - is standard output.")
@directory_option
@json_option
def ca(directory: Path, rotate: bool, export: str | None, as_json: bool) -> None:
    """Show the local authority; where there is none it is made."""
    from certs.authority import FILE, Authority

    made = rotate or not (directory / FILE).exists()
    authority = Authority.create(directory, replace=True) if rotate else Authority.open(directory)
    if export == STDOUT:
        click.echo(authority.root_pem.decode(), nl=False)
        return
    if export:
        _write(Path(export), authority.root_pem)
    if as_json:
        emit_json(_described(authority, made))
        return
    if made:
        say(f"a new authority is in {directory}", "good")
    _show_authority(_described(authority, made))
    if export:
        say(f"its certificate is in {export}")


def _described(authority: "Authority", made: bool) -> dict[str, Any]:
    from certs.words import describe

    now = time.time()
    return {
        "directory": str(authority.directory),
        "made": made,
        "root": describe(authority.root.certificate, now),
        "issuing": describe(authority.issuing.certificate, now),
        "revoked": len(authority.revoked()),
    }


def _show_authority(described: dict[str, Any]) -> None:
    rows = [
        (what, found["subject"], found["not_after"][:10], f"{found['days_left']:.0f}", found["key"])
        for what, found in (("root", described["root"]), ("issuing", described["issuing"]))
    ]
    table(("", "subject", "until", "days left", "key"), rows)
    say(f"SHA-256 of the root: {described['root']['sha256']}")
    say(f"revoked certificates: {described['revoked']}")


@certs.command()
@click.argument("name")
@click.option(
    "--flavour", type=click.Choice(KINDS), help="The one thing that is wrong with it (default: nothing)."
)
@click.option("--expires-in", metavar="TIME", help="With --flavour expires_in: 1h, 90s …")
@click.option(
    "--key", type=click.Choice(["ecdsa", "rsa"]), default="ecdsa", show_default=True, help="Its key."
)
@click.option("--client", is_flag=True, help="For a client that shows it to a server (mTLS).")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    metavar="DIR",
    help="Where to write it (default: here).",
)
@directory_option
@json_option
def mint(
    name: str,
    flavour: str | None,
    expires_in: str | None,
    key: Any,
    client: bool,
    out: Path,
    directory: Path,
    as_json: bool,
) -> None:
    """Mint a certificate for NAME: a host, *.domain or an IP address; with --client also a URI.

    Writes NAME.pem (the certificate and what a server sends behind it) and NAME-key.pem. The flavour
    revoked also writes NAME.ocsp, the response to staple, and NAME.crl (both DER).
    """
    from certs.authority import Authority
    from certs.mint import mint as mint_leaf

    authority = Authority.open(directory)
    wanted = Flavour(flavour or "", _seconds(flavour, expires_in))
    leaf = mint_leaf(authority, name, wanted, key, usage="client" if client else "server")
    files = _files(leaf, authority)
    stem = leaf.name.replace("*", "_").replace("://", "-").replace("/", "-").replace(":", "-")
    written = {what: str(out / f"{stem}{end}") for what, (end, _, _) in files.items()}
    storage.make_directory(out, storage.PUBLIC_DIRECTORY)
    for what, (_, data, private) in files.items():
        _write(Path(written[what]), data, private)
    if as_json:
        emit_json({"name": leaf.name, "flavour": wanted.kind, "serial": f"{leaf.serial:x}", **written})
        return
    for what, path in written.items():
        say(f"{what:<12}{path}")


def _seconds(flavour: str | None, expires_in: str | None) -> float:
    from rules.params import YEAR, BadValue, Duration

    if flavour != "expires_in":
        if expires_in is not None:
            raise Misused("--expires-in belongs to --flavour expires_in")
        return 0.0
    if expires_in is None:
        raise Misused("--flavour expires_in needs --expires-in, such as --expires-in 1h")
    try:
        return Duration(0.001, YEAR).parse(expires_in)
    except BadValue as error:
        raise Misused(f"--expires-in: {error}") from None


def _files(leaf: "Leaf", authority: "Authority") -> dict[str, tuple[str, bytes, bool]]:
    """Give what is written of a leaf: end of the file's name, content, whether it is secret."""
    files = {
        "certificate": (".pem", leaf.chain_pem, False),
        "key": ("-key.pem", leaf.key_pem, True),
    }
    if leaf.ocsp:
        files["ocsp"] = (".ocsp", leaf.ocsp, False)
        files["crl"] = (".crl", authority.crl(), False)
    return files


def _write(path: Path, data: bytes, private: bool = False) -> None:
    storage.write(path, data, storage.PRIVATE if private else storage.PUBLIC)


@certs.command()
@click.argument("address", metavar="HOST:PORT")
@click.option("--servername", default="", metavar="NAME", help="Ask for this name (default: HOST).")
@click.option(
    "--ca",
    "trusted",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Trust these roots (PEM) and no others.",
)
@click.option(
    "--crl",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A list of revoked certificates (PEM or DER).",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
@directory_option
@json_option
def check(
    address: str,
    servername: str,
    trusted: Path | None,
    crl: Path | None,
    timeout: float,
    directory: Path,
    as_json: bool,
) -> int:
    """Shake hands with HOST:PORT and say what it shows, and what a client would find wrong with it.

    The system's roots are trusted, and the local authority where there is one. The exit code is 1
    where something is wrong.
    """
    from certs.files import read_crl, read_trusted
    from certs.inspection import inspect

    host, port = _host_port(address)
    endpoint = inspect(
        host,
        port,
        name=servername,
        trusted=read_trusted(trusted) if trusted else _own_root(directory),
        system=trusted is None,
        crls=read_crl(crl) if crl else b"",
        timeout=timeout,
    )
    if as_json:
        emit_json(_plain(address, endpoint))
    else:
        _show(_plain(address, endpoint))
    return FAILURE if endpoint.complaints else OK


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Misused(f"{address!r} is not HOST:PORT")
    return host, int(port)


def _own_root(directory: Path) -> bytes:
    from certs.authority import FILE, Authority

    return Authority.load(directory).root_pem if (directory / FILE).exists() else b""


def _plain(address: str, endpoint: "Endpoint") -> dict[str, Any]:
    from certs.words import describe, explain, openssl_words

    now = time.time()
    wrong = [
        {
            "depth": complaint.depth,
            "error": complaint.error,
            "openssl": openssl_words(complaint.error),
            "message": explain(complaint.error, complaint.depth, complaint.certificate, endpoint.name, now),
        }
        for complaint in endpoint.complaints
    ]
    return {
        "address": address,
        "name": endpoint.name,
        "version": endpoint.version,
        "cipher": endpoint.cipher,
        "alpn": endpoint.alpn,
        "ocsp": endpoint.staple,
        "client_certificate": endpoint.wants_client,
        "chain": [describe(certificate, now) for certificate in endpoint.chain],
        "wrong": wrong,
    }


def _show(seen: dict[str, Any]) -> None:
    alpn, ocsp = seen["alpn"] or "none", seen["ocsp"] or "none"
    say(f"{seen['address']} asked for {seen['name']}: {seen['version']}, {seen['cipher']}")
    say(f"ALPN: {alpn}; stapled OCSP response: {ocsp}")
    for name in seen["client_certificate"]:
        say(f"takes client certificates of {name}")
    rows = [
        (
            str(depth),
            found["subject"],
            found["issuer"],
            ", ".join(found["names"]) if depth == 0 else "",
            f"{found['days_left']:.1f}",
            found["key"],
            found["signature"],
        )
        for depth, found in enumerate(seen["chain"])
    ]
    table(("", "subject", "issuer", "for", "days left", "key", "signed with"), rows)
    for wrong in seen["wrong"]:
        mark = paint("wrong:", "error", sys.stdout)
        say(f"{mark} {wrong['message']}")
        say(f"       OpenSSL: error {wrong['error']} at {wrong['depth']}, {wrong['openssl']}", "faint")
    if not seen["wrong"]:
        say("nothing is wrong", "good")


@certs.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to write (default: the authority's directory).",
)
@click.option("--only", is_flag=True, help="Trust the local authority alone, not the public ones too.")
@directory_option
def trust(out: Path | None, only: bool, directory: Path) -> None:
    """Write what makes clients trust the local authority, and say how each takes it.

    A PEM file with the root, a bundle with the public roots and this one, a Java truststore, and a
    file of environment variables to source.
    """
    from certs import trust as forms
    from certs.authority import Authority

    authority = Authority.open(directory)
    out = (out or directory).absolute()
    public = b"" if only else forms.system_roots()
    variables = forms.export(authority.root_pem, out, public)
    if not public and not only:
        click.echo("misrule: this system has no public roots; the bundle has only the local one", err=True)
    readers = {**forms.REPLACING, **forms.ADDING, "JAVA_TOOL_OPTIONS": "Java"}
    table(("variable", "who reads it", "value"), [(n, readers[n], v) for n, v in variables.items()])
    say(f"all of them: . {out / forms.ENVIRONMENT}")
    say("for the whole system:")
    for system, command in forms.INSTRUCTIONS:
        say(f"  {system}: {command.format(root=out / forms.ROOT)}")
