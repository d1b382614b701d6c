"""Certificates and keys in the proxy's hands: which ones there are, and the contexts that are made of them.

Only this module knows the package ``certs``, and it is imported only where TLS is configured.
"""

import asyncio
import ssl
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from certs import contexts, files, responder
from certs.authority import Authority
from certs.cache import LeafCache
from certs.errors import CertError
from certs.flavour import SOUND, Flavour
from certs.mint import Leaf
from certs.shaped import ShapedHandshake, Terms
from proxy.config import ListenerConfig, UpstreamConfig
from proxy.logs import Log
from proxy.net.identity import Credentials, IdentityError, Keeper
from proxy.net.pool import AUTO, HTTP1, HTTP2, TCP
from proxy.net.tls import Handshake
from rules.actions import ShapeHandshake

# Contexts weigh some 20 KiB each.  One that was dropped is made again in a millisecond or two;
# the sessions that it gave are then not resumed.
MOST: Final = 512

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_OFFERS: Final = {
    "auto": ("h2", "http/1.1"),
    "http": ("h2", "http/1.1"),
    "http1": ("http/1.1",),
    "http2": ("h2",),
    "tcp": (),
}
# By what is to be spoken to an upstream.
_WANTED: Final = {AUTO: ("h2", "http/1.1"), HTTP1: ("http/1.1",), HTTP2: ("h2",), TCP: ()}


class Identities:
    """What the whole proxy has of certificates: the local authority, and the files that were given."""

    def __init__(self, folder: str, log: Log, url: str = "") -> None:
        """Open the authority in a folder, "": one in memory.  Raises CertError.

        ``url``: where clients can ask whether a certificate was revoked ("": nowhere).
        """
        self.authority = Authority.open(Path(folder) if folder else None)
        if url:
            self.authority.crl_url, self.authority.ocsp_url = responder.urls(url)
        self.leaves = LeafCache(self.authority)
        self.log = log
        self._followed: list[Followed] = []

    def listener(self, config: ListenerConfig) -> Keeper:
        """Make what a listener shakes hands with.  Raises CertError."""
        made = ListenerKeeper(self, config)
        self._followed.append(made)
        return made

    def upstream(self, config: UpstreamConfig) -> Credentials:
        """Make what an upstream is spoken to with.  Raises CertError."""
        made = UpstreamCredentials(config)
        self._followed.append(made)
        return made

    def look(self) -> None:
        """Read again what has changed in files; what cannot be read stays as it was, and is logged."""
        try:
            if self.authority.reload():
                self.leaves.clear()
                text = "certs: another authority is in force"
                self.log.event("info", "certificates_reloaded", message=text)
        except CertError as error:
            text = f"certs: {error}; what was read before stays in force"
            self.log.event("error", "certificates_refused", message=text)
        for one in self._followed:
            try:
                if one.renew():
                    text = f"{one.what}: new files are in force"
                    self.log.event("info", "certificates_reloaded", message=text)
            except (CertError, OSError) as error:
                text = f"{one.what}: {error}; what was read before stays in force"
                self.log.event("error", "certificates_refused", message=text)

    def tell(self, method: str, path: str, body: bytes) -> responder.Response | None:
        """Answer who asks for the CRL, by OCSP or for the root; None for other paths."""
        return responder.respond(self.authority, method, path, body)

    def close(self) -> None:
        """End the thread that mints."""
        self.leaves.close()


class Followed:
    """Files that are followed while they change."""

    what: str = ""

    def __init__(self, paths: list[str]) -> None:
        self._paths = [Path(path) for path in paths if path]
        self._seen = files.look(*self._paths)

    def load(self) -> None:
        """Read the files.  Raises CertError."""
        raise NotImplementedError

    def renew(self) -> bool:
        """Read the files again if they changed; whether they did.  Raises CertError, once for each change."""
        seen = files.look(*self._paths)
        if seen == self._seen:
            return False
        self._seen = seen
        self.load()
        return True


class ListenerKeeper(Followed, Keeper):
    """The contexts of one listener, bounded; the one that was used longest ago leaves first."""

    def __init__(self, whole: Identities, config: ListenerConfig) -> None:
        tls = config.tls
        Followed.__init__(self, [tls.certificate, tls.key, tls.client_ca])
        self.what = f"listener {config.name}"
        self._whole = whole
        self._tls = tls
        self._alpn = _OFFERS[config.protocol]
        self._own: files.Identity | None = None
        self._client_ca: bytes | None = None
        self._own_context: ssl.SSLContext | None = None
        self._made: OrderedDict[int, ssl.SSLContext] = OrderedDict()  # by the leaf's serial number
        self._era = 0  # counts the files that were in force
        self.load()

    def load(self) -> None:
        tls = self._tls
        own = None
        if tls.certificate:
            own = files.read_identity(Path(tls.certificate), Path(tls.key) if tls.key else None)
        client_ca = files.read_trusted(Path(tls.client_ca)) if tls.client_ca else None
        context = None if own is None else self._context(own.chain_pem, own.key_pem, client_ca)
        self._own, self._own_context, self._client_ca = own, context, client_ca
        self._made.clear()
        self._era += 1

    def handshake(self, name: str, shape: ShapeHandshake | None) -> Any:
        try:
            return self._sound(name) if shape is None else self._shaped(name, shape)
        except CertError as error:
            raise IdentityError(str(error)) from None

    def _sound(self, name: str) -> Handshake | None:
        if self._own_context is not None:
            return Handshake(self._own_context, True)
        leaf = self._whole.leaves.peek(name)
        if leaf is None or leaf.serial not in self._made:
            return None
        self._made.move_to_end(leaf.serial)
        return Handshake(self._made[leaf.serial], True)

    def _shaped(self, name: str, shape: ShapeHandshake) -> Any:
        """Begin a handshake that rules have a say in."""
        own = self._own
        flavour = _flavour(shape)
        staple = b""
        if own is not None and not shape.certificate:
            chain, key = own.chain_pem, own.key_pem
        else:
            leaf = self._whole.leaves.peek(name, flavour)
            if leaf is None:
                return None
            chain, key, staple = leaf.chain_pem, leaf.key_pem, leaf.ocsp
        tls = self._tls
        alpn = tuple(protocol.encode() for protocol in self._alpn)
        if shape.alpn is not None:
            alpn = (shape.alpn,) if shape.alpn else ()
        return ShapedHandshake(
            Terms(
                chain,
                key,
                staple,
                alpn,
                bool(shape.alpn),
                shape.max_version,
                shape.ciphers,
                flavour.weak,
                self._client_ca or b"",
                tls.client_auth,
                shape.reject_client_certificate,
                shape.bad_record,
                int(_VERSIONS[tls.min_version]),
            )
        )

    async def prepare(self, name: str, shape: ShapeHandshake | None) -> None:
        try:
            leaf = await self._whole.leaves.get(name, SOUND if shape is None else _flavour(shape))
            if shape is None:
                await self._make_ready(leaf)
        except CertError as error:
            raise IdentityError(str(error)) from None

    async def _make_ready(self, leaf: Leaf) -> None:
        """Make a leaf's context, off the loop: it takes as long as minting.  Raises CertError."""
        while self._own_context is None and leaf.serial not in self._made:
            era = self._era
            made = await asyncio.to_thread(self._context, leaf.chain_pem, leaf.key_pem, self._client_ca)
            if era == self._era:  # the files are still those that it was made with
                self._made.setdefault(leaf.serial, made)
        while len(self._made) > MOST:
            self._made.popitem(last=False)

    def _context(self, chain: bytes, key: bytes, client_ca: bytes | None) -> ssl.SSLContext:
        """Make a context that shows a certificate.  Raises CertError."""
        tls = self._tls
        made = contexts.server_context(
            chain,
            key,
            alpn=self._alpn,
            client_ca=client_ca,
            client_auth=tls.client_auth,  # type: ignore[arg-type]
        )
        made.minimum_version = _VERSIONS[tls.min_version]
        return made


def _flavour(shape: ShapeHandshake) -> Flavour:
    """Give the flavour of certificate that a shape asks for."""
    return Flavour(shape.certificate, shape.expires_in) if shape.certificate else SOUND


class UpstreamCredentials(Followed, Credentials):
    """What one upstream is spoken to with."""

    def __init__(self, config: UpstreamConfig) -> None:
        tls = config.tls
        assert tls is not None
        Credentials.__init__(self, tls.server_name)
        Followed.__init__(self, [tls.ca, tls.certificate, tls.key])
        self.what = f"upstream {config.name}"
        self._tls = tls
        self._contexts: dict[int, ssl.SSLContext] = {}
        self.load()

    def load(self) -> None:
        tls = self._tls
        own = None
        if tls.certificate:
            own = files.read_identity(Path(tls.certificate), Path(tls.key) if tls.key else None)
        self._contexts = {
            offer: contexts.client_context(
                verify=tls.verify,
                ca=files.read_trusted(Path(tls.ca)) if tls.ca else None,
                certificate=own.chain_pem if own is not None else None,
                key=own.key_pem if own is not None else None,
                alpn=protocols,
                crl=files.read_crl(Path(tls.crl)) if tls.crl else None,
            )
            for offer, protocols in _WANTED.items()
        }

    def context(self, offer: int) -> ssl.SSLContext:
        return self._contexts[offer]
