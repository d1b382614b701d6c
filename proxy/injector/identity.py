"""What the injector shows to API servers: a certificate from files, or one that it keeps itself.

The context that is listened with shows nothing of its own: at each handshake it hands over to the newest one,
so that a new certificate needs no new listener and no connection is cut.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from certs import contexts, files, generations
from certs.errors import CertError
from certs.generations import Generation
from proxy.injector.cluster import Cluster, ClusterError, Conflict, NotThere, Secret
from proxy.logs import Log
from proxy.metrics.injecting import InjectorCells

KEY: Final = "generations.json"  # in the Secret: what all replicas share
BUNDLE: Final = "ca.crt"  # there too, for people
LOOK_AT_FILES: Final = 2.0  # seconds
LOOK: Final = 30.0  # seconds between two looks at Secret and webhook, at most ...
_LOOKS: Final = 40  # ... and so many in a certificate's life, at least
_AGAIN: Final = 2.0  # seconds until a look that failed is repeated, at first ...
_LATEST: Final = 30.0  # ... and at last

_INTERNAL_ERROR: Final = 80  # the alert of a server that has no certificate yet (RFC 8446, 6.2)


class Identity(Protocol):
    """What shows a certificate."""

    context: ssl.SSLContext

    @property
    def ready(self) -> bool:
        """Whether there is something to show."""

    async def start(self) -> None:
        """Begin to keep it; raises CertError where that is hopeless."""

    async def close(self) -> None:
        """Stop keeping it."""


class Shown:
    """A context that hands each handshake over to the one in ``current``."""

    def __init__(self) -> None:
        self.current: ssl.SSLContext | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A resumed session would show no certificate, and outlive it.
        self.context.options |= ssl.OP_NO_TICKET
        self.context.num_tickets = 0
        self.context.set_ciphers(contexts.CIPHERS)
        self.context.sni_callback = self._hand_over

    def _hand_over(self, tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if self.current is None:
            return _INTERNAL_ERROR
        tls.context = self.current
        return None


class FileIdentity:
    """A certificate that somebody else renews, such as cert-manager: read again when its files change."""

    def __init__(self, certificate: Path, key: Path, log: Log, cells: InjectorCells) -> None:
        self._paths = (certificate, key)
        self._log = log
        self._cells = cells
        self._shown = Shown()
        self.context = self._shown.context
        self._seen: object = None
        self._looker: asyncio.TimerHandle | None = None

    @property
    def ready(self) -> bool:
        """Whether the files could be read once."""
        return self._shown.current is not None

    async def start(self) -> None:
        """Read the files; raises CertError."""
        self._seen = files.look(*self._paths)
        self._read()
        self._later()

    async def close(self) -> None:
        """Look no more."""
        if self._looker is not None:
            self._looker.cancel()

    def _later(self) -> None:
        self._looker = asyncio.get_running_loop().call_later(LOOK_AT_FILES, self._again)

    def _again(self) -> None:
        self._later()  # first: what goes wrong in one look must not end them
        self.look()

    def look(self) -> None:
        """Read the files where they have changed; what cannot be used leaves the old ones in force."""
        seen = files.look(*self._paths)
        if seen != self._seen:
            self._seen = seen
            try:
                self._read()
                self._log.event("info", "certificate", message="the certificate was read again")
            except (CertError, OSError) as error:
                self._log.event("error", "certificate", message=f"the old certificate stays: {error}")

    def _read(self) -> None:
        found = files.read_identity(*self._paths)
        self._shown.current = contexts.server_context(found.chain_pem, found.key_pem)
        self._cells.certificate_end = found.not_after


class KeptIdentity:
    """Certificates that the replicas make themselves, and share by a Secret (``certs.generations``).

    Each look reads the Secret, makes what is missing or due, and sees to it that the webhooks trust it.  Two
    replicas that do so at once find out by the Secret's version, and the second one takes what the first has
    made.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        service: str,
        secret: str,
        webhook: str,
        log: Log,
        cells: InjectorCells,
        life: float = generations.LIFE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = f"{service}.{namespace}.svc"
        self._secret = secret
        self._webhook = webhook
        self._log = log
        self._cells = cells
        self._life = life
        self._clock = clock
        self._shown = Shown()
        self.context = self._shown.context
        self._serving: Generation | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether a certificate is shown."""
        return self._shown.current is not None

    async def start(self) -> None:
        """Begin to look."""
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Look no more."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping

    async def _keep(self) -> None:
        failed = 0
        while True:
            try:
                wait = await self.look()
                failed = 0
            except Conflict:
                wait = 0.0  # the other replica was first: read what it has made
            except Exception as error:  # also an answer of no known form: this must outlive any look
                known = isinstance(error, ClusterError | CertError)
                why = error if known else f"{type(error).__name__}: {error}"
                self._log.event("error", "certificate", message=f"cannot keep the certificate: {why}")
                wait = min(_LATEST, _AGAIN * 2**failed)
                failed = min(failed + 1, 8)
            await asyncio.sleep(wait)

    async def look(self) -> float:
        """Do what is due; gives the seconds until the next look.  Raises ClusterError and CertError."""
        kept = await self._advance()
        try:
            if await self._cluster.trust(self._webhook, generations.bundle(kept)):
                self._log.event("info", "certificate", message=f"{self._webhook} trusts {len(kept)} roots")
        except ClusterError:
            if self._serving is None:  # nobody asks yet, but probes do
                self._show(generations.serving(kept, self._clock()))
            raise
        now = self._clock()
        self._show(generations.serving(kept, now))
        dues = [one.begin - now for one in kept if one.begin > now]
        return max(0.05, min([LOOK, self._life / _LOOKS, *dues]))

    async def _advance(self) -> list[Generation]:
        """Read the generations, and write those that are due.  Raises Conflict where another was first."""
        found = await self._read()
        before = self._generations(found)
        now = self._clock()
        made = await asyncio.to_thread(generations.advance, before, self._name, now, self._life)
        if made is None:
            return before
        data = {KEY: generations.dump(made), BUNDLE: generations.bundle(made)}
        await self._cluster.put_secret(self._namespace, self._secret, data, found.version)
        if made[-1].made == now:
            self._cells.certificates += 1
            self._log.event("info", "certificate", message=f"a new certificate for {self._name} was made")
        return made

    async def _read(self) -> Secret:
        try:
            return await self._cluster.secret(self._namespace, self._secret)
        except NotThere:
            return Secret({}, "")

    def _generations(self, found: Secret) -> list[Generation]:
        """Give what the Secret has; what is damaged is made anew, as if there were nothing."""
        if KEY not in found.data:
            return []
        try:
            return generations.load(found.data[KEY])
        except CertError as error:
            self._log.event("error", "certificate", message=f"secret {self._secret} is made anew: {error}")
            return []

    def _show(self, wanted: Generation) -> None:
        if self._serving is not None and self._serving.chain == wanted.chain:
            return
        self._shown.current = contexts.server_context(wanted.chain.encode(), wanted.key.encode())
        self._serving = wanted
        self._cells.certificate_end = wanted.end
        self._log.event(
            "info", "certificate", message=f"the certificate for {self._name} is shown from now on"
        )
