"""Phase ``request_head``: a head becomes an exchange, its route is found, its faults are chosen."""

from typing import Final

from proxy import errors, forwarding
from proxy.exchange import ClientSide, Exchange, Holder
from proxy.listener import ONLY_TCP, Listener, Target
from proxy.path import end, resolve
from proxy.performer import Then
from proxy.wire.h1_head import Head
from proxy.worker import Live, Releasable, Worker
from rules import phases
from rules.facts import GRPC, HTTP1, HTTP2, TCP, WEBSOCKET, ClientCertificate, Facts
from rules.index import Index


class _Go(Then):
    """Send the request on, after the faults of this phase."""

    def carry_on(self, ex: Exchange) -> None:
        resolve.enter(ex)


_GO: Final = _Go()


class Intake(Holder):
    """Where the requests of one client connection come in, whatever its protocol."""

    def __init__(self, worker: Worker, listener: Listener) -> None:
        live = worker.live
        self.worker: Worker = worker
        self.listener: Listener = listener
        self.live: Live = live
        self.index: Index = live.snapshot.index_for(listener.name)
        self.opened_turn: int = live.snapshot.turn
        self.opened_version: int = live.snapshot.version
        self.source: str = ""  # the client's address as text
        self.forward: bytes = b""  # header lines that every request of this connection gets
        self.tls: bool = False  # the client speaks TLS
        self.sni: bytes | None = None
        self.certificate: ClientCertificate | None = None  # that the client has shown
        self.shown: bytes | None = None  # what upstreams are told of it; None: nothing
        # What this client speaks, a bit of rules.facts.
        self.protocol: int = TCP if listener.protocol == ONLY_TCP else HTTP1
        self.dialled: str = ""  # the address that a captured client has dialled
        self.chosen: Target | None = None  # where this connection goes, where that is known before any byte
        self.requests: int = 0
        self.held: bool = False  # faults of the connection keep it from being read
        self.behind: bool = False  # what is read now was sent while they did
        self.greetings: list[Releasable] = []  # these do so
        self.proofs: list[bytes] | None = None  # of such faults, for the first answer

    def came_from(self, source: str) -> None:
        """Note who the client is."""
        self.source = source
        self._note()

    def speaks(self, protocol: int) -> None:
        """Note which protocol the client has turned out to speak."""
        self.protocol = protocol
        self._note()

    def asked_for(self, server_name: bytes) -> None:
        """Note that the client speaks TLS, and the name in its ClientHello (b"": none)."""
        self.tls = True
        self.sni = server_name or None
        self._note()

    def showed(self, certificate: ClientCertificate | None, told: bytes | None) -> None:
        """Note the certificate that the client has shown, and what upstreams are told of it."""
        self.certificate = certificate
        self.shown = told
        self._note()

    def _note(self) -> None:
        """Write the lines that all requests of this connection get."""
        scheme = forwarding.HTTPS if self.tls else forwarding.HTTP
        self.forward = forwarding.lines_for(self.source, self.protocol == HTTP2, scheme, self.shown or b"")

    def describe(self) -> dict[str, str]:
        """Give what only some connections have to be described by."""
        return {"dialled": self.dialled} if self.dialled else {}

    def renew(self) -> None:
        """Take up the rules that are in force now."""
        live = self.worker.live
        self.live = live
        self.index = live.snapshot.index_for(self.listener.name)

    def choose(self, head: Head) -> None:
        """Choose where the whole connection goes, before anything of it was read."""
        self.chosen = self.listener.route(head)

    def begin(self, client: ClientSide, head: Head) -> Exchange:
        """Make the exchange of a request and find its route."""
        worker = self.worker
        listener = self.listener
        route = self.chosen
        if route is None:
            route = listener.only
        if route is None:
            route = listener.route(head)
        cells = listener.nowhere if route is None else route.cells
        ex = Exchange(worker, client, head, worker.clock(), cells, self.source)
        self.requests += 1
        cells.active += 1
        if self.proofs is not None:
            ex.proofs = self.proofs
            self.proofs = None
        ex.forward = self.forward
        if self.tls:
            ex.scheme = forwarding.HTTPS
            ex.certificate = self.shown
        ex.trusted_hops = listener.trusted_hops
        forwarding.identify(ex, head)
        if route is not None:
            ex.target = route.upstream
        return ex

    def plan(self, ex: Exchange) -> bool:
        """Ask the rules that may match which fire, with which faults; True: there is a plan."""
        live = self.live
        if not live.faulting or ex.target is None:
            return False
        head = ex.head
        candidates = self.index.candidates(head.host, head.path, head.fields)
        if candidates is None:
            return False
        facts = self.facts(ex)
        plan = live.snapshot.plan(candidates, facts, self.opened_turn)
        if plan is None:
            return False
        ex.facts = facts
        ex.plan = plan
        end.log_shadows(ex, plan, 0)
        return True

    def enter(self, ex: Exchange) -> None:
        """Let the exchange go its way, through the faults of this phase if there is a plan."""
        if ex.target is None:
            end.fail(ex, errors.NO_ROUTE)
        elif ex.plan is None:
            resolve.choose(ex)
        else:
            end.perform(ex, phases.REQUEST_HEAD, _GO, ex.started)

    def facts(self, ex: Exchange) -> Facts:
        """Gather what rules may ask about this request."""
        ex.holder = self
        head = ex.head
        protocols = self.protocol
        if head.grpc:
            protocols |= GRPC
        elif head.upgrade.lower() == b"websocket":
            protocols |= WEBSOCKET
        source = forwarding.true_source(self.source, head, self.listener.trusted_hops)
        facts = Facts(self.listener.name, source, protocols)
        self._add_tls(facts)
        if ex.target is not None:
            facts.upstream = ex.target.name
            facts.names = ex.target.names
        facts.method = head.method
        facts.host = head.host
        facts.path = head.path
        facts.query = head.query
        if head.fields is not None:
            facts.headers = head.fields
        return facts

    def connection_facts(self) -> Facts:
        """Gather what rules may ask about the connection alone."""
        facts = Facts(self.listener.name, self.source, self.protocol)
        self._add_tls(facts)
        if self.chosen is not None:
            facts.upstream = self.chosen.upstream.name
        return facts

    def _add_tls(self, facts: Facts) -> None:
        facts.tls = self.tls
        facts.sni = self.sni
        facts.client_certificate = self.certificate
