"""Makes inputs for an HTTP/2 connection: frames that are good, nearly good, mutated, or no frames at all."""

import struct
from random import Random

from tests.conformance.peer import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    setting,
)

# Blocks of requests and responses, without a table; \x82 and so on are entries of the static table.
_AUTHORITY = b"\x01\x09a.example"
REQUEST = b"\x82\x86\x84" + _AUTHORITY
POST = b"\x83\x86\x84" + _AUTHORITY
RESPONSE = b"\x88"
FIELDS: tuple[bytes, ...] = (
    b"\x00\x01x\x01y",
    b"\x40\x01x\x01y\xbe",  # into the table, and out of it
    b"\x40\x05x-two\x03two",
    b"\x40\x01x\x01z",
    b"\x10\x06secret\x01s",
    b"\x00\x02te\x08trailers",
    b"\x0f\x11\x03a=1",  # cookie
    b"\x00\x01x\x04\xc3\xa9\t?",
    b"\x00\x82\x1c\x64\x82\x1c\x64",  # Huffman coded
)
LENGTHS: tuple[bytes, ...] = (b"\x0f\x0d\x013", b"\x0f\x0d\x010")  # content-length
WRONG_FIELDS: tuple[bytes, ...] = (
    b"\xbe",  # an entry that may not be there
    b"\xbf",
    b"\x0f\x11\x04a=1 ",
    b"\x0f\x0d\x013",
    b"\x00\x01X\x01y",
    b"\x00\x00\x01y",
    b"\x00\x02x \x01y",
    b"\x00\x01x\x02\ny",
    b"\x00\x01x\x02y\0",
    b"\x00\x01x\x02\x01y",
    b"\x00\x0aconnection\x05close",
    b"\x00\x02te\x04gzip",
    b"\x82",  # a pseudo-header after a field, or a second one
    b"\x88",
    b"\x00\x02:x\x01y",
    b"\x26\x09b.example",  # a host
    b"\x0f\x17\x09a.example",  # the same host
    b"\x0f\x0d\x02x1",
    b"\x80",
    b"\xff\xff\xff",
    b"\x20",
    b"\x3f\xff\xff\x03",
    b"\x00\x05x",
    b"\x00\x81\xff\x01y",
)
WRONG_BLOCKS: tuple[bytes, ...] = (
    b"",
    b"\x82\x86",
    b"\x82\x84" + _AUTHORITY,
    b"\x86\x84" + _AUTHORITY,
    b"\x82\x86\x84",
    b"\x42\x07CONNECT" + _AUTHORITY,
    b"\x42\x07OPTIONS\x86\x44\x01*" + _AUTHORITY,
    b"\x82\x86\x04\x00" + _AUTHORITY,
    b"\x82\x86\x04\x01a" + _AUTHORITY,
    b"\x82\x86\x04\x04/a b" + _AUTHORITY,
    b"\x02\x00\x86\x84" + _AUTHORITY,
    b"\x8d",
    b"\x08\x03100",
    b"\x08\x03101",
    b"\x08\x0220",
    b"\x08\x03xyz",
    b"\x88\x88",
    b"\x88" + _AUTHORITY,
)


def word(value: int) -> bytes:
    return struct.pack(">L", value & 0xFFFFFFFF)


class Maker:
    """Makes the frames of one input; it knows roughly which streams there are."""

    def __init__(self, random: Random, from_client: bool) -> None:
        self.random = random
        self.from_client = from_client
        self.next_sid = 1
        self.answered: set[int] = set()
        self.open: list[int] = [] if from_client else [1, 3, 5]

    def block(self, head: bool) -> bytes:
        """Make a header block: mostly a good one."""
        random = self.random
        if random.random() < 0.03:
            return random.choice(WRONG_BLOCKS)
        start = b""
        if head:
            start = random.choice((REQUEST, POST)) if self.from_client else RESPONSE
        picked = [random.choice(FIELDS) for _ in range(random.randrange(4))]
        if head and random.random() < 0.15:
            picked.append(random.choice(LENGTHS))
        if random.random() < 0.05:
            picked.insert(random.randrange(len(picked) + 1), random.choice(WRONG_FIELDS))
        return start + b"".join(picked)

    def sid(self) -> int:
        """Pick a stream: mostly one that is open."""
        if self.open and self.random.random() < 0.96:
            return self.random.choice(self.open)
        return self.random.choice((0, 1, 2, 3, 5, 7, 9, 2**31 - 1))

    def headers(self) -> bytes:
        random = self.random
        fresh = self.from_client and (not self.open or random.random() < 0.7)
        sid = self.sid()
        if fresh:
            sid = self.next_sid
            self.next_sid += random.choice((2, 2, 2, 2, 4))
            self.open.append(sid)
        head = fresh or (not self.from_client and sid not in self.answered)
        self.answered.add(sid)
        coded = self.block(head)
        flags = END_STREAM if random.random() < (0.3 if head else 0.95) else 0
        if flags and sid in self.open:
            self.open.remove(sid)
        if random.random() < 0.1:
            flags |= WITH_PRIORITY
            coded = word(random.choice((0, 0, 99, 2**31, sid))) + b"\x10" + coded
        if random.random() < 0.1:
            size = random.choice((0, 1, 5, 200))
            flags |= PADDED
            coded = bytes((size,)) + coded + bytes(size if random.random() < 0.97 else size // 2)
        if random.random() < 0.15:
            return self.in_parts(flags, sid, coded)
        return frame(HEADERS, flags | END_HEADERS, sid, coded)

    def in_parts(self, flags: int, sid: int, coded: bytes) -> bytes:
        """Cut a block into HEADERS and CONTINUATION."""
        random = self.random
        at = random.randrange(len(coded) + 1)
        rest = coded[at:]
        made = frame(HEADERS, flags, sid, coded[:at])
        if random.random() < 0.3:
            made += frame(CONTINUATION, 0, sid, rest[: len(rest) // 2])
            rest = rest[len(rest) // 2 :]
        other = sid if random.random() < 0.98 else sid + 2
        return made + frame(CONTINUATION, END_HEADERS if random.random() < 0.97 else 0, other, rest)

    def data(self) -> bytes:
        random = self.random
        content = random.choice((b"", b"x", b"abc", b"y" * 100))
        flags = END_STREAM if random.random() < 0.3 else 0
        if random.random() < 0.15:
            size = random.choice((0, 1, 7))
            flags |= PADDED
            content = bytes((size,)) + content + bytes(size if random.random() < 0.95 else 0)
        sid = self.sid()
        if not self.from_client and sid not in self.answered and random.random() < 0.97:
            return self.headers()
        if flags & END_STREAM and sid in self.open:
            self.open.remove(sid)
        return frame(DATA, flags, sid, content)

    def small(self) -> bytes:
        """Make one of the frames that carry no message: one in twenty is wrong."""
        random = self.random
        wrong = random.random() < 0.05
        sid = self.sid()
        which = random.randrange(8)
        if which == 0:
            return frame(PRIORITY, 0, sid, word(sid if wrong else random.choice((0, 99))) + b"\1")
        if which == 1:
            if sid in self.open:
                self.open.remove(sid)
            return frame(RST_STREAM, 0, sid, word(random.choice((0, 8, 99)))[: 3 if wrong else 4])
        if which == 2:
            return frame(PING, random.choice((0, ACK)), int(wrong), bytes(8))
        if which == 3:
            size = random.choice((0, 2**31 - 1)) if wrong else random.choice((1, 1000))
            return frame(WINDOW_UPDATE, 0, random.choice((0, sid)), word(size))
        if which == 4:
            return frame(SETTINGS, 0, 0, self.settings(wrong))
        if which == 5:
            return frame(SETTINGS, ACK, 0, bytes(6) if wrong else b"")
        if which == 6:
            return frame(random.choice((11, 13, 0x33, 0xFF)), random.randrange(256), sid, b"?" * 5)
        debug = word(random.choice((0, 1, 3))) + word(random.choice((0, 99))) + b"bye"
        return frame(GOAWAY, 0, 0, debug[:7] if wrong else debug)

    def settings(self, wrong: bool) -> bytes:
        random = self.random
        good = [(1, 0), (1, 4096), (2, 0), (3, 0), (3, 10), (4, 0), (4, 70000)]
        good += [(5, 20000), (6, 100), (8, 1), (99, 1)]
        bad = [(2, 1), (2, 2), (4, 2**31), (5, 1), (8, 2)]
        picked = [random.choice(good) for _ in range(random.randrange(3))]
        if wrong:
            picked.append(random.choice(bad))
        return b"".join(setting(key, value) for key, value in picked)

    def piece(self) -> bytes:
        """Make the next frame, or what is meant to be one."""
        random = self.random
        share = random.random()
        if share < 0.5 or (share < 0.98 and not self.open):
            made = self.headers()
        elif share < 0.7:
            made = self.data()
        else:
            made = self.small()
        if random.random() < 0.02:
            at = random.randrange(len(made))
            made = made[:at] + bytes((random.randrange(256),)) + made[at + 1 :]
        return made


def pieces(random: Random, from_client: bool) -> list[bytes]:
    """Make one input, frame by frame as far as it has frames."""
    maker = Maker(random, from_client)
    made = [maker.piece() for _ in range(random.randrange(1, 9))]
    if random.random() < 0.03:
        made.append(random.randbytes(random.randrange(1, 40)))
    return made
