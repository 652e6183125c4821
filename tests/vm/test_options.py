# SPDX-License-Identifier: GPL-2.0-or-later
"""Socket options that servers set and read (nginx, Apache, HAProxy, PostgreSQL, Redis, Node.js, Java, Go): over TLS
each gives what it gives over TCP."""
import ctypes
import errno
import mmap
import socket
import struct

import lib
from lib import LIBC, as_on_tcp, equal, outcome, test

SOCKET, TCP, IP, IPV6 = socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6
PEEK_OFF, ZEROCOPY_RECEIVE = 42, 35
NOT_SUPPORTED = errno.errorcode[errno.EOPNOTSUPP]  # which Python may call ENOTSUP
# No segment is larger than half of the peer's largest window, which on loopback is the smallest bound: with an MSS that
# the peer named, what is read does not grow when its window does.
MSS = 1400
LINGER, TIME = struct.pack("ii", 1, 5), struct.pack("qq", 3, 0)
# Level, option, value: set, and read back.  Numbers of those that Python has no name for are Linux's.
SET = [(SOCKET, option, value) for option, value in (
    (socket.SO_KEEPALIVE, 1), (socket.SO_REUSEADDR, 1), (socket.SO_REUSEPORT, 1), (socket.SO_LINGER, LINGER),
    (socket.SO_RCVBUF, 65536), (socket.SO_SNDBUF, 65536), (socket.SO_RCVTIMEO, TIME), (socket.SO_SNDTIMEO, TIME),
    (socket.SO_RCVLOWAT, 1), (socket.SO_SNDLOWAT, 1), (socket.SO_PRIORITY, 3), (socket.SO_MARK, 9),
    (socket.SO_OOBINLINE, 1), (socket.SO_DONTROUTE, 0), (socket.SO_BROADCAST, 1),
    (socket.SO_BINDTODEVICE, b"lo"), (29, 1), (37, 1),  # SO_TIMESTAMP, SO_TIMESTAMPING
    (40, 1), (41, 1), (44, 1), (46, 10), (47, 1000000),  # SO_WIFI_STATUS to SO_MAX_PACING_RATE
    (49, 0), (60, 1), (69, 1), (70, 8),  # SO_INCOMING_CPU, SO_ZEROCOPY, SO_PREFER_BUSY_POLL, SO_BUSY_POLL_BUDGET
)] + [(TCP, option, value) for option, value in (
    (socket.TCP_NODELAY, 1), (socket.TCP_CORK, 1), (socket.TCP_CORK, 0), (socket.TCP_KEEPIDLE, 30),
    (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4), (socket.TCP_SYNCNT, 3), (socket.TCP_LINGER2, 10),
    (socket.TCP_DEFER_ACCEPT, 2), (socket.TCP_WINDOW_CLAMP, 60000), (socket.TCP_QUICKACK, 1),
    (socket.TCP_CONGESTION, b"reno"), (socket.TCP_USER_TIMEOUT, 7000), (socket.TCP_FASTOPEN, 16),
    (socket.TCP_MAXSEG, 1000), (socket.TCP_NOTSENT_LOWAT, 30000),
    (16, 1), (17, 1), (27, 1), (28, 1), (29, 1), (30, 0), (36, 1), (37, 100),  # THIN_* to TX_DELAY
)] + [(IP, option, value) for option, value in (
    (socket.IP_TOS, 16), (socket.IP_TTL, 60), (socket.IP_TRANSPARENT, 1), (10, 1), (11, 1), (15, 1),
    # IP_MTU_DISCOVER, IP_RECVERR, IP_FREEBIND; next IP_BIND_ADDRESS_NO_PORT, IP_PKTINFO, IP_MINTTL
    (24, 1), (8, 1), (21, 1),
)]
# Level, option, length: read alone.
GET = [(SOCKET, option, 4) for option in (
    socket.SO_ERROR, socket.SO_TYPE, socket.SO_PROTOCOL, socket.SO_DOMAIN, socket.SO_ACCEPTCONN, 56, 58, 73)] + [
    (SOCKET, socket.SO_PEERCRED, 12), (SOCKET, socket.SO_PEERSEC, 100), (SOCKET, 59, 64),  # SO_PEERGROUPS
    (SOCKET, 28, 128),  # SO_PEERNAME
    (TCP, socket.TCP_INFO, 8), (IP, 80, 16), (IP, 14, 4), (IP, 4, 40),  # SO_ORIGINAL_DST, IP_MTU, IP_OPTIONS
]
# What they say differs from one connection to the next: SO_PEERNAME, SO_INCOMING_CPU, the window, TCP_QUICKACK
VARIES = ((SOCKET, 28), (SOCKET, 49), (TCP, socket.TCP_WINDOW_CLAMP), (TCP, socket.TCP_QUICKACK))


def value_of(sock, level, option, length):
    value = outcome(sock.getsockopt, level, option, length)
    return len(value) if (level, option) in VARIES and isinstance(value, bytes) else value


def options(sock):
    got = []
    for level, option, value in SET:
        length = 8 if value in (LINGER, TIME) else 16
        before = value_of(sock, level, option, length)
        got.append((level, option, before, outcome(sock.setsockopt, level, option, value),
                    value_of(sock, level, option, length), outcome(sock.setsockopt, level, option, b"")))
    return got + [(level, option, value_of(sock, level, option, length)) for level, option, length in GET]


def names(got):
    return {f"{item[0]}/{item[1]}": item[2:] for item in got}


@as_on_tcp("socket options of an accepted connection", core=True, mss=MSS)
def connection(pair):
    return names(options(pair.conn))


@as_on_tcp("socket options of a listening socket, and of a connection that comes after", mss=MSS)
def listening(pair):
    got = options(pair.listener)
    with pair.another_client() as client:
        client.write(b"x")  # TCP_DEFER_ACCEPT
        with pair.listener.accept()[0] as conn:
            conn.setblocking(True)
            equal(conn.recv(1), b"x", "what the client sent")
            values = [(f"after {level}", option, value_of(conn, level, option, 16)) for level, option, _ in SET]
            values += [(f"after {level}", option, value_of(conn, level, option, length))
                       for level, option, length in GET]
            client.close_notify()
    pair.client.close_notify()
    return names(got + values)


@test("SOL_TLS is unknown and TCP_ULP refused on a connection: no keys, no other protocol below the application",
      core=True)
def no_keys():
    for version, _ in lib.BOTH:
        pair = lib.Pair(version)
        refused = "ENOPROTOOPT"
        for option in range(1, 8):
            equal(outcome(pair.conn.getsockopt, lib.SOL_TLS, option, 100), NOT_SUPPORTED,
                  f"getsockopt SOL_TLS {option}")
            equal(outcome(pair.conn.setsockopt, lib.SOL_TLS, option, bytes(40)), refused, f"setsockopt SOL_TLS {option}")
        equal(outcome(pair.conn.getsockopt, TCP, lib.TCP_ULP, 16), refused, "getsockopt TCP_ULP")
        equal(outcome(pair.conn.setsockopt, TCP, lib.TCP_ULP, b"tls"), refused, "setsockopt TCP_ULP")
        equal(outcome(pair.conn.getsockopt, TCP, ZEROCOPY_RECEIVE, 64), refused, "getsockopt TCP_ZEROCOPY_RECEIVE")
        equal(outcome(pair.listener.setsockopt, TCP, lib.TCP_ULP, b"tls"), "ENOTCONN", "of the listening socket")
        equal(outcome(pair.conn.setsockopt, SOCKET, PEEK_OFF, 5), NOT_SUPPORTED, "setsockopt SO_PEEK_OFF")
        equal(outcome(mmap.mmap, pair.conn.fileno(), 4096, mmap.MAP_SHARED, mmap.PROT_READ), "ENODEV", "mmap()")
        equal(outcome(pair.conn.shutdown, 3), "EINVAL", "shutdown() of nothing")
        equal(outcome(pair.listener.shutdown, 3), "EINVAL", "shutdown() of nothing, listening")
        lib.TlsClient(pair.port, version).sock.close()
        pair.client.write(b"goes on")
        equal(pair.conn.recv(10), b"goes on")
        pair.close()


@test("getpeername() and getsockname() of IPv4, IPv6 and IPv4 on an IPv6 socket", core=True)
def addresses():
    for host, family, shown in (("127.0.0.1", socket.AF_INET, "127.0.0.1"), ("::1", socket.AF_INET6, "::1"),
                                ("127.0.0.1", socket.AF_INET6, "::ffff:127.0.0.1")):
        port = lib.new_port()
        lib.enable(port)
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=family == socket.AF_INET6)
        lib.defer(listener.close)
        with lib.TlsClient(port, host=host) as client:
            conn, peer = listener.accept()
            with conn:
                equal((peer, conn.getsockname()[:2]), (conn.getpeername(), (shown, port)), "names")
                equal(peer[:2], (shown, client.sock.getsockname()[1]), "peer")


# What is of the moment, of the connection or of the processor: of these the length is compared.
OF_THE_MOMENT = {(SOCKET, option) for option in (49, 55, 56, 57)} | {
    (TCP, option) for option in (10, 11, 12, 24, 26, 28)} | {(IPV6, 61), (IP, 52)}
# INCOMING_CPU, MEMINFO, INCOMING_NAPI_ID, COOKIE; WINDOW_CLAMP, INFO, QUICKACK, TIMESTAMP, CC_INFO, SAVED_SYN; PATHMTU;
# PROTOCOL, which is the port
NOT_AS_ON_TCP = {(TCP, lib.TCP_ULP), (TCP, ZEROCOPY_RECEIVE), (SOCKET, PEEK_OFF)}


def raw_value(sock, level, option, size):
    """The bytes, or the name of the error."""
    value, length = ctypes.create_string_buffer(size), ctypes.c_uint32(size)
    if LIBC.getsockopt(sock.fileno(), level, option, value, ctypes.byref(length)):
        return errno.errorcode[ctypes.get_errno()]
    return length.value if (level, option) in OF_THE_MOMENT else value.raw[:length.value]


def every_option(pair):
    lib.echo_to(pair.client, [pair.conn])
    return {f"{end} {level}/{option} in {size}": raw_value(sock, level, option, size)
            for end, sock in (("listening", pair.listener), ("connection", pair.conn))
            for level in (SOCKET, IP, TCP, IPV6, 17, 255, lib.SOL_TLS, 284)  # UDP, RAW, MPTCP: of other sockets
            for option in range(130) if (level, option) not in NOT_AS_ON_TCP
            for size in (256, 2)}


def every_option_of(name, address, host):
    def function(pair):
        return every_option(pair)
    function.__name__ = "every_option_" + name
    as_on_tcp(f"getsockopt() of every number there is, of listening socket and connection, {host} at {address}",
              address=address, host=host, mss=MSS)(function)


every_option_of("4", "127.0.0.1", "127.0.0.1")
every_option_of("6", "::", "::1")
every_option_of("mapped", "::", "127.0.0.1")


SET6 = [(IPV6, option, value) for option, value in (
    (16, 64), (26, 1), (25, 1), (49, 1), (67, 32), (67, 256), (70, 1), (75, 1), (78, 1),
    # UNICAST_HOPS, V6ONLY, RECVERR, RECVPKTINFO, TCLASS, AUTOFLOWLABEL, TRANSPARENT, FREEBIND
)] + [(IP, socket.IP_TOS, 16)]


@as_on_tcp("socket options of IPv6", address="::1", host="::1")
def options_6(pair):
    return [(level, option, outcome(sock.setsockopt, level, option, value), outcome(sock.getsockopt, level, option, 16))
            for sock in (pair.listener, pair.conn) for level, option, value in SET6]


@as_on_tcp("TCP_INFO: state, options, what is lost and what is not acknowledged", core=True, mss=MSS)
def tcp_info(pair):
    lib.echo_to(pair.client, [pair.conn])
    lib.wait_for(lambda: not lib.in_flight(pair.conn), what="all is acknowledged")
    state, _, retransmits, probes, _, enabled, scales, _, *words = struct.unpack(
        "8B24I", pair.conn.getsockopt(TCP, socket.TCP_INFO, 104))
    # of the words: MSS, unacked to fackets, MTU
    return (state, retransmits, probes, enabled, scales, words[2], *words[4:9], words[13])


@as_on_tcp("keepalive: a connection that is idle for many probes stays, and ends by ETIMEDOUT when its peer is gone")
def keepalive(pair):
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
        pair.conn.setsockopt(TCP, option, value)
    pair.conn.setsockopt(SOCKET, socket.SO_KEEPALIVE, 1)
    lib.echo_to(pair.client, [pair.conn])
    acknowledged = lib.net_stat("TCPKeepAlive")
    lib.wait_for(lambda: lib.net_stat("TCPKeepAlive") >= acknowledged + 4, 30, "four probes are sent")
    lib.echo_to(pair.client, [pair.conn])
    lib.run("nft", f"add table ip tlsport-gone; add chain ip tlsport-gone in {{ type filter hook input priority 0; }}; "
            f"add rule ip tlsport-gone in tcp sport {pair.port} drop; "
            f"add rule ip tlsport-gone in tcp dport {pair.port} drop")
    try:
        return outcome(pair.conn.recv, 100)
    finally:
        lib.run("nft", "delete table ip tlsport-gone")
