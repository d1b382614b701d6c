"""DNS messages (RFC 1035, EDNS: RFC 6891): what is asked, and answers as rules want them."""

from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

HEADER: Final = 12  # bytes of a message's header
LABEL: Final = 63  # bytes of a label at most; what is beyond is a pointer (RFC 1035, section 4.1.4)
PAYLOAD: Final = 1232  # what we take over UDP ourselves: fits any path unfragmented (dnsflagday.net, 2020)
OLD_PAYLOAD: Final = 512  # what a client takes that does not speak EDNS (RFC 1035, section 4.2.1)
TTL: Final = 60  # of addresses that a rule says without a TTL

_RESPONSE: Final = 0x80  # QR, in the third byte
_OPCODE: Final = 0x78
_RECURSION_DESIRED: Final = 0x01

RCODES: Final[dict[str, dns.rcode.Rcode]] = {
    "nxdomain": dns.rcode.NXDOMAIN,
    "servfail": dns.rcode.SERVFAIL,
    "refused": dns.rcode.REFUSED,
    "nodata": dns.rcode.NOERROR,
}


class BadQuery(Exception):
    """What came is no question; ``reply`` is what its sender is told, None: nothing."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__("not a DNS query")
        self.reply = reply


class Query:
    """One question: ``name`` in lower case and without the last dot, ``kind`` such as AAAA."""

    def __init__(self, packet: bytes, message: dns.message.Message) -> None:
        self.packet = packet
        self.message = message
        question = message.question[0]
        self.name = question.name.to_text(omit_final_dot=True).lower()
        self.kind = dns.rdatatype.to_text(question.rdtype)
        self.payload = max(OLD_PAYLOAD, message.payload) if message.edns >= 0 else OLD_PAYLOAD

    def answered_by(self, packet: bytes) -> bool:
        """Tell whether a packet answers this question and no other (RFC 5452, section 9.1)."""
        if len(packet) < HEADER or packet[:2] != self.packet[:2] or not packet[2] & _RESPONSE:
            return False
        if packet[4:6] == b"\0\0":
            return True  # some servers leave it out where they fail
        end = question_end(self.packet)
        return packet[HEADER:end].lower() == self.packet[HEADER:end].lower()


def read(packet: bytes) -> Query:
    """Read a question; raises BadQuery."""
    if len(packet) < HEADER or packet[2] & _RESPONSE:
        raise BadQuery(None)  # to answer an answer would begin a loop
    if packet[2] & _OPCODE:
        raise BadQuery(_bare(packet, dns.rcode.NOTIMP))
    try:
        message = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError, IndexError, OverflowError):
        raise BadQuery(_bare(packet, dns.rcode.FORMERR)) from None
    if len(message.question) != 1 or not question_end(packet):
        raise BadQuery(_bare(packet, dns.rcode.FORMERR))
    if message.edns > 0:
        raise BadQuery(_reply(message, dns.rcode.BADVERS).to_wire())
    return Query(packet, message)


def question_end(packet: bytes) -> int:
    """Give where the one question ends, 0 where its name points elsewhere: there is nothing to point at."""
    at = HEADER
    while packet[at]:
        if packet[at] > LABEL:
            return 0
        at += packet[at] + 1
    return at + 5


def rcode_of(packet: bytes) -> str:
    """Name what an answer says, for labels and logs."""
    code = packet[3] & 0x0F
    return dns.rcode.to_text(dns.rcode.Rcode(code)).lower() if code <= dns.rcode.REFUSED else "other"


def is_truncated(packet: bytes) -> bool:
    """Tell whether the answer continues over TCP only."""
    return bool(packet[2] & 0x02)


def failed(query: Query, word: str) -> bytes:
    """Answer with a failure of ``RCODES``."""
    return _reply(query.message, RCODES[word]).to_wire()


def truncated(query: Query) -> bytes:
    """Answer that the answer does not fit: ask again over TCP."""
    reply = _reply(query.message, dns.rcode.NOERROR)
    reply.flags |= dns.flags.TC
    return reply.to_wire()


def asks_address(query: Query) -> bool:
    """Tell whether it asks for addresses of a name."""
    return query.kind in ("A", "AAAA") and query.message.question[0].rdclass == dns.rdataclass.IN


def told(query: Query, addresses: list[str], ttl: int) -> bytes:
    """Answer with those of the addresses that are of the family asked for; ttl -1: a minute."""
    reply = _reply(query.message, dns.rcode.NOERROR)
    fitting = [one for one in addresses if (":" in one) == (query.kind == "AAAA")]
    if fitting:
        name = query.message.question[0].name
        reply.answer.append(
            dns.rrset.from_text(name, TTL if ttl < 0 else ttl, dns.rdataclass.IN, query.kind, *fitting)
        )
    return reply.to_wire(max_size=65535)


def changed(query: Query, packet: bytes, ttl: int, partial: bool) -> bytes | None:
    """Give the answer with this TTL on each record (-1: as they are), or half of the records asked for.

    It is always the same half, however the resolver turns their order: the first in RFC 4034's (section 6.3).

    None: nothing of it would change, as there are no records, or only one.
    """
    try:
        answer = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError, IndexError, OverflowError):
        return None
    acted = False
    for section in (answer.answer, answer.authority, answer.additional):
        for records in section:
            if ttl >= 0:
                records.ttl = ttl
                acted = True
            if partial and section is answer.answer and dns.rdatatype.to_text(records.rdtype) == query.kind:
                for one in sorted(records)[(len(records) + 1) // 2 :]:
                    records.remove(one)  # type: ignore[no-untyped-call]
                    acted = True
    return answer.to_wire(max_size=65535) if acted else None


def fit(query: Query, packet: bytes) -> bytes:
    """Make an answer of at most what the client takes over UDP: a longer one says that it is truncated."""
    return packet if len(packet) <= query.payload else truncated(query)


def _reply(message: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(message, recursion_available=True, our_payload=PAYLOAD)
    reply.set_rcode(code)
    return reply


def _bare(packet: bytes, code: dns.rcode.Rcode) -> bytes:
    """Answer what cannot be read: its number and its opcode, and no question."""
    flags = packet[2] & (_OPCODE | _RECURSION_DESIRED) | _RESPONSE
    return packet[:2] + bytes([flags, int(code)]) + bytes(8)
