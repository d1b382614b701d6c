"""Faults of a handshake over TLS: what they make of it, and where they hold it up or end it."""

from mypy_extensions import mypyc_attr

from proxy.greeting import ConnectionFaults
from proxy.net.connection import Connection
from proxy.path.request_head import Intake
from proxy.worker import Worker
from rules import phases
from rules.actions import (
    CLIENT_HELLO,
    CUT_ALERT,
    CUT_PAUSE,
    CUT_RESET,
    THEN_CONTINUE,
    Action,
    Close,
    CutHandshake,
    ShapeHandshake,
)
from rules.plan import Chosen
from rules.snapshot import Plan


@mypyc_attr(allow_interpreted_subclasses=True)
class Shaken(Connection):
    """A connection in its handshake, as faults see it."""

    def __init__(self, worker: Worker, intake: Intake) -> None:
        self.worker: Worker = worker
        self.intake: Intake = intake
        self.ends_here: bool = True  # False: the handshake is passed on, and cannot be shaped
        self.shape: ShapeHandshake | None = None  # what rules make of the handshake; None: it is sound

    def go_on(self, place: int) -> None:
        """The faults of a place are done with."""
        raise NotImplementedError

    def faults_over(self) -> None:
        """No fault will act any more."""
        raise NotImplementedError

    def alert(self, number: int) -> None:
        """End the connection by an alert."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection by FIN."""
        raise NotImplementedError

    def reset(self) -> None:
        """End the connection by RST."""
        raise NotImplementedError


class HandshakeFaults(ConnectionFaults):
    """The faults of one handshake: most at the ClientHello, some further on."""

    def __init__(self, connection: Shaken, plan: Plan) -> None:
        super().__init__(connection.worker, connection.intake, plan, plan.phases[phases.TLS] or [])
        self.connection: Shaken = connection
        self.place: int = CLIENT_HELLO
        self.cuts: list[CutHandshake] = []  # that act further on ...
        self.cutters: list[Chosen] = []  # ... and whose they are
        self.owed: list[Chosen] = []  # have shaped the handshake; their proof waits for their cut

    def acts_at(self, place: int) -> bool:
        """Tell whether anything is to happen there."""
        for cut in self.cuts:
            if cut.at == place:
                return True
        return False

    def go(self, place: int) -> None:
        """Do what is to happen at a place."""
        self.place = place
        self.step()

    def step(self) -> None:
        if self.place == CLIENT_HELLO:
            super().step()
            return
        for number in range(len(self.cuts)):
            cut = self.cuts[number]
            chosen = self.cutters[number]
            if cut.at == self.place and not chosen.cancelled:
                cut = CutHandshake(-1, cut.how, cut.seconds, cut.alert)  # it acts but once
                self.cuts[number] = cut
                if self._cut(chosen, cut):
                    return
        self.all_done()

    def all_done(self) -> None:
        self.connection.go_on(self.place)

    def perform(self, chosen: Chosen, action: Action) -> bool:
        if not isinstance(action, ShapeHandshake):
            self.act(chosen)
            return False
        cut = action.cut
        if not self.connection.ends_here:
            if cut is not None and cut.at == CLIENT_HELLO:
                return self._cut(chosen, cut)
            chosen.cancel()
            return False
        shaped = self._shape(action)
        if self.connection.shape is None:
            self.connection.shape = ShapeHandshake()  # also what only cuts must be able to send alerts
        if cut is None:
            if shaped:
                self.act(chosen)
            else:
                chosen.cancel()  # others before it have said all that it says
            return False
        if shaped:
            self.owed.append(chosen)
        if cut.at == CLIENT_HELLO:
            return self._cut(chosen, cut)
        self.cuts.append(cut)
        self.cutters.append(chosen)
        return False

    def _shape(self, action: ShapeHandshake) -> bool:
        """Add what was not said before; True: there was something."""
        old = self.connection.shape or ShapeHandshake()
        fresh = action.certificate != "" and old.certificate == ""
        made = ShapeHandshake(
            action.certificate if fresh else old.certificate,
            action.expires_in if fresh else old.expires_in,
            old.max_version or action.max_version,
            old.ciphers or action.ciphers,
            action.alpn if old.alpn is None else old.alpn,
            old.reject_client_certificate or action.reject_client_certificate,
            old.bad_record or action.bad_record,
        )
        if (
            fresh
            or made.max_version != old.max_version
            or made.ciphers != old.ciphers
            or made.alpn != old.alpn
            or made.reject_client_certificate != old.reject_client_certificate
            or made.bad_record != old.bad_record
        ):
            self.connection.shape = made
            return True
        return False

    def _cut(self, chosen: Chosen, cut: CutHandshake) -> bool:
        """Hold the handshake up, or end it; True."""
        if cut.how == CUT_PAUSE:
            self.hold(chosen, cut.seconds, THEN_CONTINUE)
            return True
        if chosen.pending:
            self.act(chosen)
        connection = self.connection
        self.over()
        if cut.how == CUT_RESET:
            connection.reset()
        elif cut.how == CUT_ALERT:
            connection.alert(cut.alert)
        else:
            connection.close()
        return True

    def finish(self, action: Action) -> None:
        self.over()
        if isinstance(action, Close):
            self.connection.close()
        else:
            self.connection.reset()

    def over(self) -> None:
        for chosen in self.owed:
            if chosen.pending:  # the handshake did not come to its cut
                self.act(chosen)
        self.owed = []
        self.plan.release()
        self.connection.faults_over()
