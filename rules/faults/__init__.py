"""One file per kind of fault; this table is the only place that lists them."""

from typing import Final

from rules.fault import Fault
from rules.faults.abort import AbortFault
from rules.faults.breaker import BreakerFault
from rules.faults.close import CloseFault
from rules.faults.connect import ConnectFault
from rules.faults.corrupt import CorruptFault
from rules.faults.delay import DelayFault
from rules.faults.dns import DnsFault
from rules.faults.drip import DripFault
from rules.faults.duplicate import DuplicateFault
from rules.faults.grpc import GrpcFault
from rules.faults.http2 import Http2Fault
from rules.faults.limit import LimitFault
from rules.faults.loss import LossFault
from rules.faults.reset import ResetFault
from rules.faults.rewrite import RewriteFault
from rules.faults.stall import StallFault
from rules.faults.throttle import ThrottleFault
from rules.faults.tls import TlsFault
from rules.faults.truncate import TruncateFault

FAULTS: Final[dict[str, type[Fault]]] = {
    "delay": DelayFault,
    "abort": AbortFault,
    "reset": ResetFault,
    "close": CloseFault,
    "stall": StallFault,
    "grpc": GrpcFault,
    "http2": Http2Fault,
    "tls": TlsFault,
    "throttle": ThrottleFault,
    "drip": DripFault,
    "loss": LossFault,
    "truncate": TruncateFault,
    "corrupt": CorruptFault,
    "rewrite": RewriteFault,
    "duplicate": DuplicateFault,
    "breaker": BreakerFault,
    "limit": LimitFault,
    "dns": DnsFault,
    "connect": ConnectFault,
}

# Kinds that the rule language has and this version does not: their error says so.
LATER: Final[tuple[str, ...]] = ()
