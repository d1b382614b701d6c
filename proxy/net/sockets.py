"""What the loop's transports do not offer: true resets, unsent bytes, the state of a silent peer.

Numbers are Linux's (``linux/sockios.h``, ``linux/tcp.h``); elsewhere the questions answer "unknown".
"""

import asyncio
import os
import socket
import stat
import struct
import sys
from fcntl import ioctl
from typing import Any, Final

_PROBES: Final = 3  # lost answers after which a peer counts as gone
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_SIOCOUTQ: Final = 0x5411
_LINUX: Final = sys.platform == "linux"

# linux/netfilter_ipv4.h and netfilter_ipv6/ip6_tables.h: one number, at two levels, for two structures.
_SO_ORIGINAL_DST: Final = 80
_SOL_IP: Final = 0
_SOL_IPV6: Final = 41
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")

# Of the enum in linux/tcp_states.h: states in which the peer has sent a FIN or the connection is gone.
_GONE_STATES: Final = frozenset({7, 8, 9, 11})  # CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING
_RESET_STATES: Final = frozenset({7})  # CLOSE: no FIN of ours has been answered, for none was sent


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP address (no host: all interfaces), also a port that was in use a moment ago."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound


def bind_both(port: int) -> socket.socket:
    """Bind all addresses of both families; of IPv4 alone where the kernel has no IPv6."""
    try:
        bound = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return bind("0.0.0.0", port)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("::", port))
    except OSError:
        bound.close()
        raise
    return bound


def original_destination(sock: Any) -> tuple[str, int] | None:
    """Give the address that a redirected client has dialled; None: there is no such thing.

    A connection that was not redirected has none, or its own local address (where connections are tracked).
    A client of IPv4 on a socket of both families is asked for at the level of IPv4.
    """
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        if sock.family == socket.AF_INET or "." in sock.getsockname()[0]:
            found = sock.getsockopt(_SOL_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size)
            port, packed = _SOCKADDR_IN.unpack(found)
            return socket.inet_ntop(socket.AF_INET, packed), port
        found = sock.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
        port, packed = _SOCKADDR_IN6.unpack(found)
        return socket.inet_ntop(socket.AF_INET6, packed), port
    except (OSError, struct.error):
        return None


def address_text(host: str, port: int) -> str:
    """Write an address as a configuration has it: brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ours(host: str) -> bool:
    """Tell whether an IP address is one of this machine's: only to those can one bind."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def keep_alive(sock: Any, seconds: float) -> None:
    """Have the kernel ask a peer that was silent for ``seconds`` whether it is there; no answer ends it.

    What a listening socket accepts inherits this (Linux).
    """
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if _LINUX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(seconds))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds) // _PROBES))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def remove_stale(path: str) -> None:
    """Remove a Unix socket that a killed proxy left; one that still answers is in use."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path) != 0:
            os.unlink(path)


def raw(transport: asyncio.BaseTransport) -> Any:
    """Give the socket behind a transport, or None."""
    return transport.get_extra_info("socket")


def reset(transport: asyncio.WriteTransport) -> None:
    """End the connection with a true RST (SO_LINGER 0); what is unsent is lost."""
    sock = raw(transport)
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        except OSError:
            pass  # closed already: there is nobody to reset
    transport.abort()


def unsent(transport: asyncio.WriteTransport) -> int:
    """Count the bytes that the peer has not acknowledged yet: ours and the kernel's; 0 where unknown."""
    waiting = transport.get_write_buffer_size()
    sock = raw(transport)
    if sock is None or not _LINUX or sock.family == socket.AF_UNIX:
        return waiting
    answer = bytearray(4)
    try:
        ioctl(sock.fileno(), _SIOCOUTQ, answer)
    except (OSError, ValueError):
        return 0
    return waiting + int.from_bytes(answer, sys.byteorder)


def peer_gone(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the peer closed or reset a connection that nobody reads from (TCP_INFO's state)."""
    return _in_state(transport, _GONE_STATES)


def peer_reset(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the peer has reset a connection that nobody reads from."""
    return _in_state(transport, _RESET_STATES)


def _in_state(transport: asyncio.BaseTransport, states: frozenset[int]) -> bool:
    sock = raw(transport)
    if sock is None or not _LINUX or sock.family == socket.AF_UNIX:
        return False
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (OSError, ValueError):
        return True
    return len(info) == 1 and info[0] in states


def name_of(peer: Any) -> str:
    """Give the IP address of a peer name as text; "" for Unix sockets."""
    if isinstance(peer, tuple) and peer:
        host = str(peer[0])
        if host.startswith("::ffff:") and "." in host:
            return host[7:]  # an IPv4 client on a dual-stack listener
        return host.partition("%")[0]
    return ""


def address_of(bound: socket.socket) -> str:
    """Write the address that a socket is bound to as ``host:port``."""
    return address_text(*bound.getsockname()[:2])
